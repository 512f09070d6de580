//! What people say of themselves, and when they were here last.

use base::clock::Timestamp;
use base::ids::UserId;
use diesel::prelude::Queryable;

use super::text_enum::word;

word! {
    /// What somebody wants to be seen as while they are here.
    Availability: "state" {
        /// Here.
        Online = "online",
        /// Here, but not at hand.
        Away = "away",
        /// Not here, and when they were is nobody's business.
        Offline = "offline",
    }
}

/// What somebody says of themselves.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct StatusRow {
    /// Who.
    pub user_id: UserId,
    /// What they want to be seen as.
    pub state: Availability,
    /// In their own words; empty if they say nothing.
    pub text: String,
    /// When they were here last.
    pub last_seen_at: Option<Timestamp>,
}
