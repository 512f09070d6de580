//! The messages that reach a session from outside: events, heads of conversations, its end.

use actix::Message;

use super::close_reason::CloseReason;
use super::outbound_event::{OutboundEvent, SequencePosition};

/// An event for the user of the session.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct DeliverEvent(pub(in crate::actors) OutboundEvent);

/// How far a conversation is.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct ObserveHead {
    /// Its newest number, or one that the session is to skip.
    pub(in crate::actors) position: SequencePosition,
    /// Whether this number is known not to be visible to the user.
    pub(in crate::actors) is_skipped: bool,
}

/// Events may be lost: read the state of the conversations from the database.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Resync;

/// Ends the session and closes its socket.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct EndSession(pub(in crate::actors) CloseReason);
