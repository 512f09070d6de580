//! Header extensions of RTP (RFC 8285): read where they lie, written in the one-byte form.

const ONE_BYTE: [u8; 2] = [0xbe, 0xde];
/// The upper twelve bits of the profile of the two-byte form.
const TWO_BYTES: u16 = 0x1000;
const FIXED_HEADER: usize = 12;

/// The elements of a header: local identifier and value.
#[derive(Clone)]
pub(crate) struct HeaderExtensions<'a> {
    rest: &'a [u8],
    long: bool,
}

impl<'a> HeaderExtensions<'a> {
    /// Of a whole header.
    pub(super) fn of(header: &'a [u8]) -> Self {
        let none = Self { rest: &[], long: false };
        let Some(first) = header.first().filter(|first| *first & 0x10 != 0) else { return none };
        let at = FIXED_HEADER + usize::from(first & 0x0f) * 4;
        let (Some(profile), Some(rest)) = (header.get(at..at + 2), header.get(at + 4..)) else {
            return none;
        };
        if profile == ONE_BYTE {
            return Self { rest, long: false };
        }
        let profile = u16::from_be_bytes([profile[0], profile[1]]);
        if profile & 0xfff0 == TWO_BYTES { Self { rest, long: true } } else { none }
    }
}

impl<'a> Iterator for HeaderExtensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            if first == 0 {
                self.rest = rest; // padding
                continue;
            }
            let (id, length, rest) = if self.long {
                let (&length, rest) = rest.split_first()?;
                (first, usize::from(length), rest)
            } else {
                (first >> 4, usize::from(first & 0x0f) + 1, rest)
            };
            if !self.long && id == 15 {
                self.rest = &[]; // reserved: what follows is not to be read
                return None;
            }
            let value = rest.get(..length)?;
            self.rest = &rest[length..];
            return Some((id, value));
        }
    }
}

/// Writes elements of the one-byte form behind a fixed header.
pub(crate) struct HeaderExtensionWriter<'a> {
    packet: &'a mut [u8],
    at: usize,
}

impl<'a> HeaderExtensionWriter<'a> {
    /// Begins behind the fixed header, in a buffer that is long enough.
    pub(crate) fn new(packet: &'a mut [u8]) -> Self {
        Self { packet, at: FIXED_HEADER + 4 }
    }

    /// Adds an element; leaves it out if it does not fit the form. Gives where its value is.
    pub(crate) fn add(&mut self, id: Option<u8>, value: &[u8]) -> Option<usize> {
        let (Some(id @ 1..=14), 1..=16) = (id, value.len()) else { return None };
        let begin = self.at + 1;
        let end = begin + value.len();
        let place = self.packet.get_mut(self.at..end)?;
        place[0] = id << 4 | (value.len() as u8 - 1);
        place[1..].copy_from_slice(value);
        self.at = end;
        Some(begin)
    }

    /// Pads, writes the length and marks the header as extended. Gives where the payload begins.
    pub(crate) fn finish(self) -> usize {
        let begin = FIXED_HEADER + 4;
        if self.at == begin {
            return FIXED_HEADER;
        }
        let end = self.at.next_multiple_of(4);
        self.packet[self.at..end].fill(0);
        let words = ((end - begin) / 4) as u16;
        self.packet[FIXED_HEADER..FIXED_HEADER + 2].copy_from_slice(&ONE_BYTE);
        self.packet[FIXED_HEADER + 2..begin].copy_from_slice(&words.to_be_bytes());
        self.packet[0] |= 0x10;
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::RtpPacket;
    use proptest::prelude::*;

    fn elements(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
        RtpPacket::parse(packet).unwrap().extensions().map(|(id, v)| (id, v.to_vec())).collect()
    }

    #[test]
    fn one_and_two_byte_header_extensions_are_parsed() {
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
        packet.extend([0xbe, 0xde, 0, 2, 0x10, 0xaa, 0, 0x21, 1, 2, 0xf0, 9]);
        assert_eq!(elements(&packet), [(1, vec![0xaa]), (2, vec![1, 2])]);
        packet.truncate(12);
        packet.extend([0x10, 0x00, 0, 2, 1, 0, 20, 3, b'a', b'b', b'c', 0]);
        assert_eq!(elements(&packet), [(1, vec![]), (20, b"abc".to_vec())]);
    }

    #[test]
    fn header_extension_without_elements_is_omitted() {
        let mut packet = [0x80; 40];
        let mut extending = HeaderExtensionWriter::new(&mut packet);
        extending.add(None, &[1]);
        extending.add(Some(15), &[1]);

        assert_eq!(extending.finish(), 12);
        assert_eq!(packet[0], 0x80);
    }

    proptest! {
        #[test]
        fn header_extension_elements_round_trip(
            values in prop::collection::vec((1u8..15, prop::collection::vec(any::<u8>(), 1..17)), 1..6),
        ) {
            let mut packet = vec![0; 200];
            packet[0] = 0x80;
            let mut extending = HeaderExtensionWriter::new(&mut packet);
            for (id, value) in &values {
                prop_assert!(extending.add(Some(*id), value).is_some());
            }
            let end = extending.finish();
            packet.truncate(end);
            prop_assert_eq!(elements(&packet), values);
        }

        #[test]
        fn arbitrary_header_extension_does_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 16..60), long: bool) {
            bytes[0] = 0x90;
            let words = ((bytes.len() - 16) / 4) as u16;
            bytes[12..14].copy_from_slice(if long { &[0x10, 0] } else { &ONE_BYTE });
            bytes[14..16].copy_from_slice(&words.to_be_bytes());
            let packet = RtpPacket::parse(&bytes).unwrap();
            prop_assert!(packet.extensions().count() <= bytes.len());
        }
    }
}
