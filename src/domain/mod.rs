//! The rules and the deeds of each area: what a person can do, one method per deed. No HTTP, no
//! sockets; what others should hear of a deed is part of its answer.

pub mod accounts;
pub mod api_tokens;
pub mod calls;
pub mod chat;
pub mod contacts;
pub mod erasure;
pub mod export_store;
pub mod exports;
pub mod files;
pub mod jobs;
pub mod vault;

use base::ids::UserId;

use crate::protocol::server::ServerEvent;

/// What somebody should hear, if they are here.
#[derive(Clone, Debug)]
pub struct DirectedEvent {
    /// Who.
    pub to: Vec<UserId>,
    /// What.
    pub event: ServerEvent,
}

/// The answer of a deed, and what others should hear of it.
#[derive(Clone, Debug)]
#[must_use = "others should hear the news"]
pub struct WithEvents<T> {
    /// For whoever asked.
    pub answer: T,
    /// For the others.
    pub news: Vec<DirectedEvent>,
}

impl<T> WithEvents<T> {
    /// A deed that concerns nobody else.
    pub const fn without_events(answer: T) -> Self {
        Self { answer, news: Vec::new() }
    }

    /// A deed that others hear of.
    pub fn with_event(answer: T, to: Vec<UserId>, event: ServerEvent) -> Self {
        Self { answer, news: vec![DirectedEvent { to, event }] }
    }
}
