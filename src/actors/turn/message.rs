//! What is read of a message before the relay sees it, and the answers it does not give itself.

use std::net::{IpAddr, SocketAddr};

use turn_server_proto::types::attribute::XorPeerAddress;
use turn_server_proto::types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, SEND};
use turn_server_proto::types::stun::attribute::{
    ErrorCode, Fingerprint, Username, XorMappedAddress,
};
use turn_server_proto::types::stun::message::{
    BINDING, Message, MessageClass, MessageWrite, MessageWriteExt, MessageWriteVec, Method,
    TransactionId,
};
use turn_server_proto::types::stun::prelude::{Attribute, AttributeFromRaw, AttributeStaticType};

/// The longest message: a datagram of the largest usual size and what TURN puts around it.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// A request or indication of STUN (RFC 8489).
pub(super) struct StunMessage<'a> {
    message: Message<'a>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StunMethod {
    /// "What is my address?"
    Binding,
    /// "Relay for me."
    Allocate,
    /// Anything about an allocation there should be.
    Allocated,
    /// A datagram for a peer; it has no answer.
    Send,
}

impl<'a> StunMessage<'a> {
    /// Reads a message; `None` if it is none, or one that a server does not get.
    pub(super) fn read(packet: &'a [u8]) -> Option<Self> {
        let message = Message::from_bytes(packet).ok()?;
        let request = Self { message };
        request.deed().map(|_| request)
    }

    /// What it asks.
    pub(super) fn deed(&self) -> Option<StunMethod> {
        let method: Method = self.message.method();
        match self.message.class() {
            MessageClass::Request if method == BINDING => Some(StunMethod::Binding),
            MessageClass::Request if method == ALLOCATE => Some(StunMethod::Allocate),
            MessageClass::Request
                if [REFRESH, CREATE_PERMISSION, CHANNEL_BIND].contains(&method) =>
            {
                Some(StunMethod::Allocated)
            }
            MessageClass::Indication if method == SEND => Some(StunMethod::Send),
            _ => None,
        }
    }

    /// Which request it is; one that is sent again has the same.
    pub(super) fn transaction(&self) -> TransactionId {
        self.message.transaction_id()
    }

    /// Who asks, not yet proven.
    pub(super) fn username(&self) -> Option<String> {
        Some(self.message.attribute::<Username>().ok()?.username().to_owned())
    }

    /// The peers it names, all of them.
    pub(super) fn peers(&self) -> impl Iterator<Item = IpAddr> {
        self.message
            .iter_attributes()
            .filter(|(_, attribute)| attribute.get_type() == XorPeerAddress::TYPE)
            .filter_map(|(_, attribute)| XorPeerAddress::from_raw_ref(&attribute).ok())
            .map(|peer| peer.addr(self.transaction()).ip())
    }

    /// The answer to [`StunMethod::Binding`].
    pub(super) fn mapped(&self, remote: SocketAddr) -> Vec<u8> {
        let known = [Fingerprint::TYPE];
        let unknown = Message::check_attribute_types(
            &self.message,
            &known,
            &[],
            MessageWriteVec::with_capacity(64),
        );
        if let Some(unknown) = unknown {
            return unknown.finish();
        }
        let mut answer =
            Message::builder_success(&self.message, MessageWriteVec::with_capacity(64));
        let _ = answer.add_attribute(&XorMappedAddress::new(remote, self.transaction()));
        let _ = answer.add_fingerprint();
        answer.finish()
    }

    /// The answer that nothing comes of it.
    pub(super) fn refused(&self, code: u16) -> Vec<u8> {
        let mut answer = Message::builder_error(&self.message, MessageWriteVec::with_capacity(64));
        if let Ok(error) = ErrorCode::builder(code).build() {
            let _ = answer.add_attribute(&error);
        }
        let _ = answer.add_fingerprint();
        answer.finish()
    }
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseClass {
    /// Well.
    Success,
    /// With this code.
    Error(u16),
}

/// How an answer of the relay ended; `None` if it is no answer.
pub(super) fn outcome(answer: &[u8]) -> Option<ResponseClass> {
    let message = Message::from_bytes(answer).ok()?;
    match message.class() {
        MessageClass::Success => Some(ResponseClass::Success),
        MessageClass::Error => {
            Some(ResponseClass::Error(message.attribute::<ErrorCode>().ok()?.code()))
        }
        _ => None,
    }
}

/// Whether it begins as STUN does, and not as the data of a channel (RFC 8656 §12).
pub(super) fn is_control(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 0xc0 == 0)
}

/// How long the first message in the bytes of a connection is (RFC 8656 §12.5: channel data is
/// padded there); `None` until enough of it came to know.
///
/// # Errors
/// These are no messages, or too long ones.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, FrameTooLong> {
    let &[first, _, high, low, ..] = bytes else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = match first >> 6 {
        0 if length.is_multiple_of(4) => 20 + length,
        1 => 4 + length.next_multiple_of(4),
        _ => return Err(FrameTooLong),
    };
    if whole > MAX_MESSAGE_BYTES { Err(FrameTooLong) } else { Ok(Some(whole)) }
}

/// The bytes of a connection that cannot be read on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrameTooLong;
