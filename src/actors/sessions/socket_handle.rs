//! A session's handle to its socket: what can be sent, and how a slow consumer is detected.

use std::fmt;
use std::sync::Arc;

use base::error::CodedError;

use crate::actors::delivery::{CloseReason, OutboundEvent};

/// The result of a request: the JSON of the reply, or the error.
pub type ReplyResult = Result<String, Arc<dyn CodedError + Send + Sync>>;

/// A command from a session to its socket.
#[derive(Clone, Debug)]
pub enum SocketCommand {
    /// Send an event to the device.
    Event(OutboundEvent),
    /// The reply to the request with this id; a request without an id gets a reply only if it
    /// failed.
    Reply {
        /// The request id chosen by the device.
        id: Option<u64>,
        /// The JSON of the reply, or the error.
        result: ReplyResult,
    },
    /// To be confirmed with [`super::SessionHandle::flushed`] once everything before it was sent.
    FlushMarker,
    /// Close the socket.
    Close(CloseReason),
}

/// Why nothing was sent to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketSendError {
    /// Its send queue is full: the device does not read.
    QueueFull,
    /// The socket is closed.
    Closed,
}

type SocketSender = dyn Fn(SocketCommand) -> Result<(), SocketSendError> + Send + Sync;

/// The sending side of one socket; cheap to clone.
#[derive(Clone)]
pub struct SocketHandle {
    send: Arc<SocketSender>,
    close: Arc<dyn Fn(CloseReason) + Send + Sync>,
}

impl SocketHandle {
    /// `send` must be bounded and must not block; `close` must succeed even if `send` fails.
    pub fn new(
        send: impl Fn(SocketCommand) -> Result<(), SocketSendError> + Send + Sync + 'static,
        close: impl Fn(CloseReason) + Send + Sync + 'static,
    ) -> Self {
        Self { send: Arc::new(send), close: Arc::new(close) }
    }

    /// Queues a command for the socket.
    ///
    /// # Errors
    /// [`SocketSendError`]; nothing was queued then.
    pub fn send(&self, command: SocketCommand) -> Result<(), SocketSendError> {
        (self.send)(command)
    }

    /// Closes the socket.
    pub fn close(&self, reason: CloseReason) {
        (self.close)(reason);
    }
}

impl fmt::Debug for SocketHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SocketHandle")
    }
}
