//! A session's view of its socket: what may be sent down, and how a slow one is noticed.

use std::fmt;
use std::sync::Arc;

use base::error::CodedError;

use super::outbound_event::Outgoing;

/// What was answered to a request: JSON, or why not.
pub type Answer = Result<String, Arc<dyn CodedError + Send + Sync>>;

/// What a session tells its socket.
#[derive(Clone, Debug)]
pub enum Down {
    /// Something happened.
    Event(Outgoing),
    /// The answer to the request with this id; without an id only failures are worth telling.
    Reply {
        /// As the device numbered it.
        id: Option<u64>,
        /// What came of it.
        answer: Answer,
    },
    /// To be answered with [`super::SessionHandle::flushed`] once all before it is on its way.
    Fence,
    /// The end of the socket.
    Close(Close),
}

/// Why a socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
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

impl Close {
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
pub enum Blocked {
    /// The device does not read.
    Slow,
    /// There is no socket any more.
    Gone,
}

type Sender = dyn Fn(Down) -> Result<(), Blocked> + Send + Sync;

/// The way down to one socket; cheap to clone.
#[derive(Clone)]
pub struct Line {
    send: Arc<Sender>,
    close: Arc<dyn Fn(Close) + Send + Sync>,
}

impl Line {
    /// `send` must be bounded and must not wait; `close` must get through even if `send` cannot.
    pub fn new(
        send: impl Fn(Down) -> Result<(), Blocked> + Send + Sync + 'static,
        close: impl Fn(Close) + Send + Sync + 'static,
    ) -> Self {
        Self { send: Arc::new(send), close: Arc::new(close) }
    }

    /// Sends down.
    ///
    /// # Errors
    /// [`Blocked`]; nothing was queued then.
    pub fn send(&self, down: Down) -> Result<(), Blocked> {
        (self.send)(down)
    }

    /// Ends the socket.
    pub fn close(&self, why: Close) {
        (self.close)(why);
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}
