//! Every message that crosses a wire, and nothing else.
//!
//! Add here first: the snapshots in `tests/it/snapshots` are the manual of the wire. Changes are
//! additive only. Inbound shapes refuse unknown fields; outbound ones may grow.

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

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One piece of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Paginated<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Give it as `after` for the next piece; `null` at the end.
    pub next: Option<String>,
}

impl<T, U: From<T>> From<base::page::Page<T>> for Paginated<U> {
    fn from(page: base::page::Page<T>) -> Self {
        Self { items: page.items.into_iter().map(U::from).collect(), next: page.next }
    }
}

/// Which piece of a list is wanted.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// How many at most: 1 to 200.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the piece before ended.
    pub after: Option<String>,
}
