//! Why the server closes a socket: close codes of RFC 6455 and reasons as text.

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
