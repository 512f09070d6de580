//! A session's handle to its socket: what can be sent, and how a slow consumer is detected.

use std::fmt;
use std::sync::Arc;

use base::error::CodedError;

use super::outbound_event::OutboundEvent;

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

/// Why a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The device was signed out, or its user suspended.
    SignedOut,
    /// The device does not read what it is sent: its send queue is full.
    SlowConsumer,
    /// The device opened more sessions than it may have.
    TooManySessions,
    /// The session failed or was stopped; the device may reconnect.
    SessionLost,
    /// The node shuts down.
    NodeDraining,
    /// The device did not authenticate in time.
    NotAuthenticated,
    /// The device exceeded the rate limits repeatedly.
    Abuse,
    /// A frame was too large.
    TooLarge,
    /// The device stopped answering pings.
    PingTimeout,
    /// The device sent something that is not valid in the protocol.
    InvalidFrame,
}

impl CloseReason {
    /// The WebSocket close code (RFC 6455 §7.4.1).
    pub const fn code(self) -> u16 {
        match self {
            Self::SignedOut
            | Self::SlowConsumer
            | Self::TooManySessions
            | Self::NotAuthenticated
            | Self::Abuse => 1008,
            Self::TooLarge => 1009,
            Self::SessionLost => 1011,
            Self::NodeDraining => 1012,
            Self::PingTimeout => 1001,
            Self::InvalidFrame => 1007,
        }
    }

    /// The reason as text, for the close frame and the metric label.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::SignedOut => "signed-out",
            Self::SlowConsumer => "slow",
            Self::TooManySessions => "too-many-sessions",
            Self::SessionLost => "session-lost",
            Self::NodeDraining => "leaving",
            Self::NotAuthenticated => "not-authenticated",
            Self::Abuse => "abuse",
            Self::TooLarge => "too-large",
            Self::PingTimeout => "silent",
            Self::InvalidFrame => "garbled",
        }
    }
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
