//! A session's view of its socket: what may be sent down, and how a slow one is noticed.

use std::fmt;
use std::sync::Arc;

use base::error::CodedError;

use super::outbound_event::OutboundEvent;

/// What was answered to a request: JSON, or why not.
pub type ReplyResult = Result<String, Arc<dyn CodedError + Send + Sync>>;

/// What a session tells its socket.
#[derive(Clone, Debug)]
pub enum SocketCommand {
    /// Something happened.
    Event(OutboundEvent),
    /// The answer to the request with this id; without an id only failures are worth telling.
    Reply {
        /// As the device numbered it.
        id: Option<u64>,
        /// What came of it.
        answer: ReplyResult,
    },
    /// To be answered with [`super::SessionHandle::flushed`] once all before it is on its way.
    Fence,
    /// The end of the socket.
    Close(CloseReason),
}

/// Why a socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The device was signed out, or its person suspended.
    SignedOut,
    /// It does not read what it is sent.
    Slow,
    /// The device opened more sessions than it may have.
    TooMany,
    /// The session failed or was stopped; the device may come back.
    Lost,
    /// The node goes away.
    Leaving,
    /// It did not say who it is in time.
    Nameless,
    /// It broke the limits again and again.
    Abuse,
    /// A frame was too large.
    TooLarge,
    /// It stopped answering pings.
    Silent,
    /// What it sent is not the protocol.
    Garbled,
}

impl CloseReason {
    /// The close code (RFC 6455 §7.4.1).
    pub const fn code(self) -> u16 {
        match self {
            Self::SignedOut | Self::Slow | Self::TooMany | Self::Nameless | Self::Abuse => 1008,
            Self::TooLarge => 1009,
            Self::Lost => 1011,
            Self::Leaving => 1012,
            Self::Silent => 1001,
            Self::Garbled => 1007,
        }
    }

    /// The reason, as the close frame and the metric carry it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::SignedOut => "signed-out",
            Self::Slow => "slow",
            Self::TooMany => "too-many-sessions",
            Self::Lost => "session-lost",
            Self::Leaving => "leaving",
            Self::Nameless => "not-authenticated",
            Self::Abuse => "abuse",
            Self::TooLarge => "too-large",
            Self::Silent => "silent",
            Self::Garbled => "garbled",
        }
    }
}

/// The socket's queue is full, or the socket is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketSendError {
    /// The device does not read.
    Slow,
    /// There is no socket any more.
    Gone,
}

type SocketSender = dyn Fn(SocketCommand) -> Result<(), SocketSendError> + Send + Sync;

/// The way down to one socket; cheap to clone.
#[derive(Clone)]
pub struct SocketHandle {
    send: Arc<SocketSender>,
    close: Arc<dyn Fn(CloseReason) + Send + Sync>,
}

impl SocketHandle {
    /// `send` must be bounded and must not wait; `close` must get through even if `send` cannot.
    pub fn new(
        send: impl Fn(SocketCommand) -> Result<(), SocketSendError> + Send + Sync + 'static,
        close: impl Fn(CloseReason) + Send + Sync + 'static,
    ) -> Self {
        Self { send: Arc::new(send), close: Arc::new(close) }
    }

    /// Sends down.
    ///
    /// # Errors
    /// [`SocketSendError`]; nothing was queued then.
    pub fn send(&self, down: SocketCommand) -> Result<(), SocketSendError> {
        (self.send)(down)
    }

    /// Ends the socket.
    pub fn close(&self, why: CloseReason) {
        (self.close)(why);
    }
}

impl fmt::Debug for SocketHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}
