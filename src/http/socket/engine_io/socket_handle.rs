//! What an Engine.IO session sends to one of its WebSockets.

use actix::prelude::SendError;
use actix::{Message, Recipient};
use bytestring::ByteString;

use crate::actors::delivery::CloseReason;
use crate::actors::sessions::SocketSendError;

/// Commands of a session to its socket.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) enum EngineIoSocketCommand {
    /// Sends a packet.
    Text(ByteString),
    /// Asks for a reply once everything before it has been written.
    Fence,
    /// Closes with a reason.
    Close(CloseReason),
    /// Closes because the client asked to.
    Bye,
}

/// Handle of a session to its socket: one bounded sender. Dropping it closes the socket.
pub(in crate::http::socket) struct EngineIoSocketHandle {
    address: Recipient<EngineIoSocketCommand>,
}

impl EngineIoSocketHandle {
    /// A handle of the socket at this address.
    pub(in crate::http::socket) const fn new(address: Recipient<EngineIoSocketCommand>) -> Self {
        Self { address }
    }

    /// Sends without waiting.
    pub(in crate::http::socket) fn send(
        &self,
        command: EngineIoSocketCommand,
    ) -> Result<(), SocketSendError> {
        self.address.try_send(command).map_err(|error| match error {
            SendError::Full(_) => SocketSendError::QueueFull,
            SendError::Closed(_) => SocketSendError::Closed,
        })
    }

    /// Closes the socket, even if its queue is full.
    pub(in crate::http::socket) fn close(&self, reason: CloseReason) {
        self.address.do_send(EngineIoSocketCommand::Close(reason));
    }

    /// Closes the socket normally, as the client asked.
    pub(in crate::http::socket) fn close_normally(&self) {
        self.address.do_send(EngineIoSocketCommand::Bye);
    }
}

/// The session may have ended without closing, or may never have received the handle.
impl Drop for EngineIoSocketHandle {
    fn drop(&mut self) {
        self.close(CloseReason::SessionLost);
    }
}
