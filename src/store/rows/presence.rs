//! Availability, status texts and last-seen times.

use base::clock::Timestamp;
use base::ids::UserId;
use diesel::prelude::Queryable;

use super::text_enum::text_enum;

text_enum! {
    /// How a user wants to appear while online.
    Availability: "state" {
        /// Online.
        Online = "online",
        /// Online, but away.
        Away = "away",
        /// Shown as offline, without a last-seen time.
        Offline = "offline",
    }
}

/// A user's presence settings and last-seen time.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct StatusRow {
    pub user_id: UserId,
    /// How they want to appear.
    pub state: Availability,
    /// Status text; empty if none.
    pub text: String,
    /// Time when they were last online.
    pub last_seen_at: Option<Timestamp>,
}
