//! ICE-lite (RFC 8445 §2.5): answers connectivity checks (RFC 8489 binding requests) that know the password, and
//! sends none itself.

use std::net::SocketAddr;

use rtc_crypto::{CryptoError, RTCCrypto, RTCCryptoProvider};
use rtc_stun::attributes::{
    ATTR_FINGERPRINT, ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE,
};
use rtc_stun::error_code::CODE_ROLE_CONFLICT;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use rtc_stun::xoraddr::XorMappedAddress;

/// Length of a STUN header and its magic cookie (RFC 8489 §5).
const STUN_HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Attribute type of USERNAME.
const ATTR_USERNAME: u16 = 0x0006;
/// Hexadecimal digits of a number in a user name fragment.
const UFRAG_NUMBER_DIGITS: usize = 8;
/// The characters of ICE credentials (`ice-char` of RFC 8839).
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// ICE credentials of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IceCredentials {
    /// User name fragment: room number, participant number and a random part for each generation.
    pub(crate) ufrag: String,
    /// 144 random bits, base64 characters.
    pub(crate) password: String,
}

impl IceCredentials {
    /// Generates random credentials.
    pub(crate) fn generate(
        room: u32,
        participant: u32,
        provider: &dyn RTCCryptoProvider,
    ) -> Result<Self, CryptoError> {
        let token = |length: usize| -> Result<String, CryptoError> {
            let mut bytes = vec![0; length];
            provider.random().fill(&mut bytes)?;
            Ok(bytes.iter().map(|byte| char::from(ICE_CHARS[usize::from(byte & 63)])).collect())
        };
        let ufrag = format!("{room:08x}{participant:08x}{}", token(6)?);
        Ok(Self { ufrag, password: token(24)? })
    }
}

/// The server's half of USERNAME (before the colon) of a binding request; nothing is verified.
fn local_ufrag(datagram: &[u8]) -> Option<&[u8]> {
    if datagram.get(..2)? != [0, 1] || datagram.get(4..8)? != MAGIC_COOKIE {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
    let mut rest = datagram.get(STUN_HEADER_BYTES..STUN_HEADER_BYTES + length)?;
    while let [type_high, type_low, length_high, length_low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
        let value = tail.get(..length)?;
        if u16::from_be_bytes([*type_high, *type_low]) == ATTR_USERNAME {
            return value.split(|byte| *byte == b':').next();
        }
        rest = tail.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn hex_number(ufrag: &[u8], offset: usize) -> Option<u32> {
    let digits = std::str::from_utf8(ufrag.get(offset..offset + UFRAG_NUMBER_DIGITS)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

/// The room that a STUN binding request is for: user name fragments start with its number. Nothing is
/// verified here; [`SfuRoom::receive`](crate::SfuRoom::receive) does that.
pub fn room_of(datagram: &[u8]) -> Option<u32> {
    hex_number(local_ufrag(datagram)?, 0)
}

/// The participant that a binding request is for; not verified.
pub(crate) fn participant_of(datagram: &[u8]) -> Option<u32> {
    hex_number(local_ufrag(datagram)?, UFRAG_NUMBER_DIGITS)
}

/// Response to a connectivity check.
pub(crate) struct BindingResponse {
    /// The datagram to send back.
    pub(crate) response: Vec<u8>,
    /// The check is valid and its path may be used; otherwise the response is an error.
    pub(crate) is_valid: bool,
    /// The client nominated this path (USE-CANDIDATE).
    pub(crate) is_nominated: bool,
}

/// Answers a binding request made with these credentials. A request that does not prove knowledge of the
/// password is not answered, so that the server cannot be used to send responses to spoofed addresses.
pub(crate) fn binding_response(
    datagram: &[u8],
    credentials: &IceCredentials,
    from: SocketAddr,
    crypto: &dyn RTCCrypto,
) -> Option<BindingResponse> {
    let (request, key) = verify(datagram, credentials, crypto)?;
    if request.contains(ATTR_ICE_CONTROLLED) {
        // A lite agent is always controlled: 487 (Role Conflict), RFC 8445 §7.3.1.1.
        let attributes: [&dyn Setter; 4] =
            [&BINDING_ERROR, &CODE_ROLE_CONFLICT, &key, &FINGERPRINT];
        let response = encode_response(&request, &attributes)?;
        return Some(BindingResponse { response, is_valid: false, is_nominated: false });
    }
    let mapped = XorMappedAddress { ip: from.ip(), port: from.port() };
    let response = encode_response(&request, &[&BINDING_SUCCESS, &mapped, &key, &FINGERPRINT])?;
    Some(BindingResponse {
        response,
        is_valid: true,
        is_nominated: request.contains(ATTR_USE_CANDIDATE),
    })
}

#[cfg(any(test, feature = "test-peer"))]
/// The response of a client, which is controlling, to a check by a controlled server: RFC 8445 tells a
/// lite agent to send none, but libnice does.
pub(crate) fn success_response(
    datagram: &[u8],
    credentials: &IceCredentials,
    from: SocketAddr,
    crypto: &dyn RTCCrypto,
) -> Option<Vec<u8>> {
    let (request, key) = verify(datagram, credentials, crypto)?;
    let mapped = XorMappedAddress { ip: from.ip(), port: from.port() };
    encode_response(&request, &[&BINDING_SUCCESS, &mapped, &key, &FINGERPRINT])
}

/// Parses a binding request and verifies its message integrity. Also returns the key for the response.
fn verify<'a>(
    datagram: &[u8],
    credentials: &IceCredentials,
    crypto: &'a dyn RTCCrypto,
) -> Option<(Message, MessageIntegrity<'a>)> {
    if local_ufrag(datagram)? != credentials.ufrag.as_bytes() {
        return None;
    }
    // FINGERPRINT and MESSAGE-INTEGRITY cover all bytes of the message.
    let end = STUN_HEADER_BYTES + usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
    let mut request = Message::new();
    request.unmarshal_binary(datagram.get(..end)?).ok()?;
    let password = &credentials.password;
    let is_valid = request.typ == BINDING_REQUEST
        && request.contains(ATTR_MESSAGE_INTEGRITY)
        && (!request.contains(ATTR_FINGERPRINT) || FINGERPRINT.check(&request).is_ok())
        && MessageIntegrity::check(&mut request, password.as_bytes(), crypto).is_ok();
    if !is_valid {
        return None;
    }
    let key = MessageIntegrity::new_short_term_integrity_with_provider(password.clone(), crypto);
    Some((request, key))
}

fn encode_response(request: &Message, attributes: &[&dyn Setter]) -> Option<Vec<u8>> {
    let mut response = Message::new();
    response.write_header(); // writes the magic cookie
    request.add_to(&mut response).ok()?; // copies the transaction id
    for attribute in attributes {
        attribute.add_to(&mut response).ok()?;
    }
    Some(response.raw)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sim::check;

    const FROM: &str = "192.0.2.1:5000";

    fn credentials() -> IceCredentials {
        let provider = rtc_crypto::default_provider().unwrap();
        IceCredentials::generate(0xdead_0007, 9, &*provider).unwrap()
    }

    fn respond(datagram: &[u8], credentials: &IceCredentials) -> Option<BindingResponse> {
        let provider = rtc_crypto::default_provider().unwrap();
        binding_response(datagram, credentials, FROM.parse().unwrap(), provider.crypto())
    }

    #[test]
    fn ice_username_identifies_room_and_participant() {
        let check = check(&credentials().ufrag, "whatever", true);
        assert_eq!((room_of(&check), participant_of(&check)), (Some(0xdead_0007), Some(9)));
        assert_eq!(room_of(&check[..check.len() - 30]), None);
        assert_eq!(room_of(b""), None);
    }

    #[test]
    fn ice_check_requires_valid_message_integrity() {
        let own = credentials();
        let valid = check(&own.ufrag, &own.password, true);
        let answer = respond(&valid, &own).unwrap();
        assert!(answer.is_valid && answer.is_nominated);
        assert!(!respond(&check(&own.ufrag, &own.password, false), &own).unwrap().is_nominated);

        assert!(respond(&check(&own.ufrag, "wrong", true), &own).is_none());
        assert!(respond(&valid, &credentials()).is_none());
    }

    proptest! {
        #[test]
        fn tampered_ice_check_is_ignored(at in 0usize..100, bit in 0u8..8) {
            let own = credentials();
            let mut tampered = check(&own.ufrag, &own.password, true);
            let at = at % (tampered.len() - 8); // the FINGERPRINT at the end is not authenticated
            prop_assume!((at, bit) != (3, 3)); // 8 bytes shorter: a valid check without FINGERPRINT
            tampered[at] ^= 1 << bit;
            prop_assert!(respond(&tampered, &own).is_none());
        }

        #[test]
        fn arbitrary_bytes_do_not_panic_ice_parser(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = bytes;
            if bytes.len() > 8 {
                bytes[..8].copy_from_slice(&[0, 1, 0, 40, 0x21, 0x12, 0xa4, 0x42]);
            }
            let _ = room_of(&bytes);
            prop_assert!(respond(&bytes, &credentials()).is_none());
        }
    }
}
