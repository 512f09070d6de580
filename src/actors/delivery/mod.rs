//! Delivery of events to devices: below chat, calls and presence, which publish, and below sessions, which receive.

mod close_reason;
mod event_router;
mod messages;
mod outbound_event;
mod session_registry;

pub use close_reason::CloseReason;
pub use event_router::EventRouter;
pub(super) use messages::{DeliverEvent, EndSession, ObserveHead, Resync};
pub use outbound_event::{OutboundEvent, SequenceKind, SequencePosition};
pub(super) use session_registry::{SessionEntry, SessionMailbox};
