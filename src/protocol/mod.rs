//! Wire protocol: every type that is sent to or received from clients and other nodes.
//!
//! New shapes are added here first; the snapshots in `tests/it/snapshots` document the wire format.
//! Changes are additive only. Inbound types reject unknown fields; outbound types may gain fields.

pub mod account_security;
pub mod accounts;
pub mod admin;
pub mod calls;
pub mod chat;
pub mod client;
pub mod cluster;
pub mod contacts;
pub mod files;
pub mod health;
pub mod invites;
pub mod messages;
pub mod presence;
pub mod problem;
pub mod server;
pub mod user_admin;
pub mod users;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Paginated<T> {
    /// Items in the order of the list.
    pub items: Vec<T>,
    /// Value of `after` for the next page; `null` on the last page.
    pub next: Option<String>,
}

impl<T, U: From<T>> From<base::page::Page<T>> for Paginated<U> {
    fn from(page: base::page::Page<T>) -> Self {
        Self { items: page.items.into_iter().map(U::from).collect(), next: page.next }
    }
}

/// Selects a page of a list.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Maximum number of items: 1 to 200.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next` of the previous page.
    pub after: Option<String>,
}
