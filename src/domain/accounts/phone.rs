//! Phone numbers in E.164.

use std::str::FromStr;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};

use super::AccountError;

/// A phone number as `+4915112345678`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Phone(String);

impl Phone {
    /// Parses a number as people write it. Any number of possible length is accepted, even in
    /// ranges not known to be in use: numbering plans change faster than metadata.
    ///
    /// # Errors
    /// [`AccountError::InvalidPhone`]. `region` (ISO 3166) is assumed for numbers without `+`.
    pub fn parse(text: &str, region: &str) -> Result<Self, AccountError> {
        let plain = text.len() <= 40 && !text.chars().any(char::is_control);
        if !plain || (region.is_empty() && !text.trim_start().starts_with('+')) {
            return Err(AccountError::InvalidPhone);
        }
        let region = Region::from_str(region).ok();
        let number =
            PHONE_NUMBER_UTIL.parse(text.trim(), region).map_err(|_| AccountError::InvalidPhone)?;
        if !PHONE_NUMBER_UTIL.is_possible_number(&number) {
            return Err(AccountError::InvalidPhone);
        }
        Ok(Self(PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned()))
    }

    /// The number in E.164.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn phone_number_is_normalized() {
        for text in ["+49 151 1234 5678", "+49 (151) 12345678", " +4915112345678"] {
            assert_eq!(Phone::parse(text, "").unwrap().as_str(), "+4915112345678");
        }
        assert_eq!(Phone::parse("0151 12345678", "DE").unwrap().as_str(), "+4915112345678");
    }

    #[test]
    fn invalid_phone_number_is_rejected() {
        for text in ["", "+", "12345", "+49", "alice", "+491511234567812345678", "+4915\u{0}1"] {
            assert!(Phone::parse(text, "").is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_parses_to_digits_or_error(text in ".{0,60}") {
            if let Ok(phone) = Phone::parse(&text, "DE") {
                prop_assert!(phone.as_str().starts_with('+'));
                prop_assert!(phone.as_str()[1..].bytes().all(|b| b.is_ascii_digit()));
            }
        }
    }
}
