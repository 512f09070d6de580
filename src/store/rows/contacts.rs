//! Who knows whom, and who wants to hear nothing of whom.

use base::clock::Timestamp;
use base::ids::UserId;
use diesel::prelude::Queryable;

use super::text_enum::word;

word! {
    /// How far two people have come, seen from one of them.
    ContactState: "contact state" {
        /// I asked.
        PendingOut = "pending_out",
        /// I was asked.
        PendingIn = "pending_in",
        /// We are contacts.
        Accepted = "accepted",
    }
}

/// Somebody in a person's list.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct ContactRow {
    /// The other one.
    pub user_id: UserId,
    /// Their name.
    pub name: String,
    /// Their number.
    pub phone: String,
    /// How far we have come.
    pub state: ContactState,
    /// Since when it is so.
    pub since: Timestamp,
}

/// Somebody a person blocks.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct BlockedUserRow {
    /// The other one.
    pub user_id: UserId,
    /// Their name.
    pub name: String,
    /// Since when.
    pub since: Timestamp,
}

/// What came of asking somebody to be a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactRequestOutcome {
    /// They were asked.
    Requested,
    /// They were asked before, or are a contact.
    Already,
    /// They had asked us: both are contacts now.
    Accepted,
    /// They block us: only our own list has it, so that we do not learn it.
    Ignored,
    /// We block them.
    Blocking,
    /// There is nobody with that id, or it is our own.
    NoSuchUser,
}
