//! Services and rules of each area: one method per user action. No HTTP and no sockets; events to
//! publish are part of the result.

pub mod accounts;
pub mod api_tokens;
pub mod calls;
pub mod chat;
pub mod contacts;
pub mod erasure;
pub mod export_store;
pub mod exports;
pub mod files;
pub mod identity;
mod job_kinds;
pub mod jobs;
mod token_hash;
pub mod vault;

use base::ids::UserId;

use crate::protocol::server::ServerEvent;

/// An event for users, if they are connected.
#[derive(Clone, Debug)]
pub struct DirectedEvent {
    /// Recipients of the event.
    pub to: Vec<UserId>,
    /// The event to deliver.
    pub event: ServerEvent,
}

/// Result of an action with the events to publish.
#[derive(Clone, Debug)]
#[must_use = "the events must be published"]
pub struct WithEvents<T> {
    /// Reply to the caller.
    pub reply: T,
    /// Events to publish.
    pub events: Vec<DirectedEvent>,
}

impl<T> WithEvents<T> {
    /// A result without events.
    pub const fn without_events(reply: T) -> Self {
        Self { reply, events: Vec::new() }
    }

    /// A result with one event.
    pub fn with_event(reply: T, to: Vec<UserId>, event: ServerEvent) -> Self {
        Self { reply, events: vec![DirectedEvent { to, event }] }
    }
}
