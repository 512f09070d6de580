//! STUN messages as far as the server reads them before the relay does, and the responses it gives
//! itself.

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

use crate::limits::MAX_TURN_MESSAGE_BYTES;

/// A STUN request or indication (RFC 8489).
pub(super) struct StunMessage<'a> {
    message: Message<'a>,
}

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StunMethod {
    /// The client's reflexive transport address.
    Binding,
    /// A new allocation.
    Allocate,
    /// Anything about an existing allocation.
    Allocated,
    /// Sending a datagram to a peer; an indication without a response.
    Send,
}

impl<'a> StunMessage<'a> {
    /// Parses a message; `None` if it is invalid, or not one that a server receives.
    pub(super) fn read(packet: &'a [u8]) -> Option<Self> {
        let message = Message::from_bytes(packet).ok()?;
        let request = Self { message };
        request.method().map(|_| request)
    }

    /// The method of the message.
    pub(super) fn method(&self) -> Option<StunMethod> {
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

    /// The transaction id; a retransmission has the same one.
    pub(super) fn transaction(&self) -> TransactionId {
        self.message.transaction_id()
    }

    /// The claimed username, not authenticated yet.
    pub(super) fn username(&self) -> Option<String> {
        Some(self.message.attribute::<Username>().ok()?.username().to_owned())
    }

    /// All peer addresses in the message.
    pub(super) fn peers(&self) -> impl Iterator<Item = IpAddr> {
        self.message
            .iter_attributes()
            .filter(|(_, attribute)| attribute.get_type() == XorPeerAddress::TYPE)
            .filter_map(|(_, attribute)| XorPeerAddress::from_raw_ref(&attribute).ok())
            .map(|peer| peer.addr(self.transaction()).ip())
    }

    /// The response to [`StunMethod::Binding`].
    pub(super) fn binding_response(&self, remote: SocketAddr) -> Vec<u8> {
        let supported = [Fingerprint::TYPE];
        let unknown = Message::check_attribute_types(
            &self.message,
            &supported,
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

    /// An error response with this code.
    pub(super) fn error_response(&self, code: u16) -> Vec<u8> {
        let mut answer = Message::builder_error(&self.message, MessageWriteVec::with_capacity(64));
        if let Ok(error) = ErrorCode::builder(code).build() {
            let _ = answer.add_attribute(&error);
        }
        let _ = answer.add_fingerprint();
        answer.finish()
    }
}

/// The class of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseClass {
    /// A success response.
    Success,
    /// An error response with this code.
    Error(u16),
}

/// The class of a response of the relay; `None` if it is not a response.
pub(super) fn response_class(answer: &[u8]) -> Option<ResponseClass> {
    let message = Message::from_bytes(answer).ok()?;
    match message.class() {
        MessageClass::Success => Some(ResponseClass::Success),
        MessageClass::Error => {
            Some(ResponseClass::Error(message.attribute::<ErrorCode>().ok()?.code()))
        }
        _ => None,
    }
}

/// Whether the packet starts like STUN, and not like channel data (RFC 8656 §12).
pub(super) fn is_control(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 0xc0 == 0)
}

/// Length in bytes of the first message in the bytes of a connection (RFC 8656 §12.5: channel data
/// is padded there); `None` until enough bytes have arrived.
///
/// # Errors
/// The bytes are not a message, or the message is too long.
pub(super) fn first_message_length(bytes: &[u8]) -> Result<Option<usize>, FrameTooLong> {
    let &[first, _, high, low, ..] = bytes else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let total = match first >> 6 {
        0 if length.is_multiple_of(4) => 20 + length,
        1 => 4 + length.next_multiple_of(4),
        _ => return Err(FrameTooLong),
    };
    if total > MAX_TURN_MESSAGE_BYTES { Err(FrameTooLong) } else { Ok(Some(total)) }
}

/// The bytes of a connection cannot be parsed any further.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrameTooLong;
