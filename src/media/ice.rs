//! The lite side of ICE (RFC 8445 §2.5): it answers checks that know its password, and sends none.

use rtc_crypto::{CryptoError, RTCCrypto, RTCCryptoProvider};
use rtc_stun::attributes::{
    ATTR_FINGERPRINT, ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE,
};
use rtc_stun::error_code::CODE_ROLE_CONFLICT;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use rtc_stun::xoraddr::XorMappedAddress;
use std::net::SocketAddr;

const HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: u16 = 0x0006;
/// Hexadecimal digits of a number in a user name fragment.
const DIGITS: usize = 8;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a client must know to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IceCredentials {
    /// The room's number, the participant's number, and what tells generations apart.
    pub(crate) fragment: String,
    /// 144 random bits.
    pub(crate) password: String,
}

impl IceCredentials {
    /// Makes new ones.
    pub(crate) fn generate(
        room: u32,
        participant: u32,
        provider: &dyn RTCCryptoProvider,
    ) -> Result<Self, CryptoError> {
        let token = |length: usize| -> Result<String, CryptoError> {
            let mut bytes = vec![0; length];
            provider.random().fill(&mut bytes)?;
            Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect())
        };
        let fragment = format!("{room:08x}{participant:08x}{}", token(6)?);
        Ok(Self { fragment, password: token(24)? })
    }
}

/// The server's half of the USERNAME of a binding request, if this is one; nothing is verified.
fn local_fragment(datagram: &[u8]) -> Option<&[u8]> {
    if datagram.get(..2)? != [0, 1] || datagram.get(4..8)? != MAGIC_COOKIE {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
    let mut rest = datagram.get(HEADER..HEADER + length)?;
    while let [kind, kind_low, long, long_low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*long, *long_low]));
        let value = tail.get(..length)?;
        if u16::from_be_bytes([*kind, *kind_low]) == USERNAME {
            return value.split(|byte| *byte == b':').next();
        }
        rest = tail.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn number(fragment: &[u8], at: usize) -> Option<u32> {
    let digits = std::str::from_utf8(fragment.get(at..at + DIGITS)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

/// The room that a STUN binding request is for: user name fragments begin with its number. Nothing is
/// verified here; [`Room::receive`](crate::Room::receive) does.
pub fn room_of(datagram: &[u8]) -> Option<u32> {
    number(local_fragment(datagram)?, 0)
}

/// The participant that a binding request is for; not verified.
pub(crate) fn participant_of(datagram: &[u8]) -> Option<u32> {
    number(local_fragment(datagram)?, DIGITS)
}

/// An answer to a check.
pub(crate) struct BindingResponse {
    /// The datagram to send back.
    pub(crate) reply: Vec<u8>,
    /// The check was sound: its path may be used. Otherwise the reply is an error.
    pub(crate) usable: bool,
    /// The client chose this path.
    pub(crate) nominated: bool,
}

/// Answers a binding request that was made with these credentials. Whatever does not prove that it
/// knows the password stays unanswered, so that nobody can be made to receive our replies.
pub(crate) fn answer(
    datagram: &[u8],
    credentials: &IceCredentials,
    from: SocketAddr,
    crypto: &dyn RTCCrypto,
) -> Option<BindingResponse> {
    let (request, key) = verify(datagram, credentials, crypto)?;
    if request.contains(ATTR_ICE_CONTROLLED) {
        // a lite agent is always the controlled one
        let parts: [&dyn Setter; 4] = [&BINDING_ERROR, &CODE_ROLE_CONFLICT, &key, &FINGERPRINT];
        let reply = build(&request, &parts)?;
        return Some(BindingResponse { reply, usable: false, nominated: false });
    }
    let mapped = XorMappedAddress { ip: from.ip(), port: from.port() };
    let reply = build(&request, &[&BINDING_SUCCESS, &mapped, &key, &FINGERPRINT])?;
    Some(BindingResponse { reply, usable: true, nominated: request.contains(ATTR_USE_CANDIDATE) })
}

/// The answer of a client, which is controlling, to a check of a controlled server: RFC 8445 asks a
/// lite one to make none, but libnice does.
pub(crate) fn confirm(
    datagram: &[u8],
    credentials: &IceCredentials,
    from: SocketAddr,
    crypto: &dyn RTCCrypto,
) -> Option<Vec<u8>> {
    let (request, key) = verify(datagram, credentials, crypto)?;
    let mapped = XorMappedAddress { ip: from.ip(), port: from.port() };
    build(&request, &[&BINDING_SUCCESS, &mapped, &key, &FINGERPRINT])
}

/// Reads a binding request that proves that it knows the password. Gives the key of the answer, too.
fn verify<'a>(
    datagram: &[u8],
    credentials: &IceCredentials,
    crypto: &'a dyn RTCCrypto,
) -> Option<(Message, MessageIntegrity<'a>)> {
    if local_fragment(datagram)? != credentials.fragment.as_bytes() {
        return None;
    }
    // FINGERPRINT and MESSAGE-INTEGRITY are computed over all bytes that the message holds.
    let end = HEADER + usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
    let mut request = Message::new();
    request.unmarshal_binary(datagram.get(..end)?).ok()?;
    let password = &credentials.password;
    let sound = request.typ == BINDING_REQUEST
        && request.contains(ATTR_MESSAGE_INTEGRITY)
        && (!request.contains(ATTR_FINGERPRINT) || FINGERPRINT.check(&request).is_ok())
        && MessageIntegrity::check(&mut request, password.as_bytes(), crypto).is_ok();
    if !sound {
        return None;
    }
    let key = MessageIntegrity::new_short_term_integrity_with_provider(password.clone(), crypto);
    Some((request, key))
}

fn build(request: &Message, parts: &[&dyn Setter]) -> Option<Vec<u8>> {
    let mut reply = Message::new();
    reply.write_header(); // puts the magic cookie there
    request.add_to(&mut reply).ok()?; // the transaction id
    for part in parts {
        part.add_to(&mut reply).ok()?;
    }
    Some(reply.raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check;
    use proptest::prelude::*;

    const FROM: &str = "192.0.2.1:5000";

    fn credentials() -> IceCredentials {
        let provider = rtc_crypto::default_provider().unwrap();
        IceCredentials::generate(0xdead_0007, 9, &*provider).unwrap()
    }

    fn answered(datagram: &[u8], credentials: &IceCredentials) -> Option<BindingResponse> {
        let provider = rtc_crypto::default_provider().unwrap();
        answer(datagram, credentials, FROM.parse().unwrap(), provider.crypto())
    }

    #[test]
    fn ice_username_identifies_room_and_participant() {
        let check = check(&credentials().fragment, "whatever", true);
        assert_eq!((room_of(&check), participant_of(&check)), (Some(0xdead_0007), Some(9)));
        assert_eq!(room_of(&check[..check.len() - 30]), None);
        assert_eq!(room_of(b""), None);
    }

    #[test]
    fn ice_check_requires_valid_message_integrity() {
        let own = credentials();
        let right = check(&own.fragment, &own.password, true);
        let answer = answered(&right, &own).unwrap();
        assert!(answer.usable && answer.nominated);
        assert!(!answered(&check(&own.fragment, &own.password, false), &own).unwrap().nominated);

        assert!(answered(&check(&own.fragment, "wrong", true), &own).is_none());
        assert!(answered(&right, &credentials()).is_none());
    }

    proptest! {
        #[test]
        fn tampered_ice_check_is_ignored(at in 0usize..100, bit in 0u8..8) {
            let own = credentials();
            let mut touched = check(&own.fragment, &own.password, true);
            let at = at % (touched.len() - 8); // the fingerprint behind it protects nothing
            prop_assume!((at, bit) != (3, 3)); // eight bytes less: a sound check without fingerprint
            touched[at] ^= 1 << bit;
            prop_assert!(answered(&touched, &own).is_none());
        }

        #[test]
        fn arbitrary_bytes_do_not_panic_ice_parser(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = bytes;
            if bytes.len() > 8 {
                bytes[..8].copy_from_slice(&[0, 1, 0, 40, 0x21, 0x12, 0xa4, 0x42]);
            }
            let _ = room_of(&bytes);
            prop_assert!(answered(&bytes, &credentials()).is_none());
        }
    }
}
