//! Contacts, contact requests and blocks.

use base::clock::Timestamp;
use base::ids::UserId;
use diesel::prelude::Queryable;

use super::text_enum::text_enum;

text_enum! {
    /// State between two users, as seen by one of them.
    ContactState: "contact state" {
        /// This user sent a request.
        PendingOut = "pending_out",
        /// This user received a request.
        PendingIn = "pending_in",
        /// They are contacts.
        Accepted = "accepted",
    }
}

/// A contact or a request in a user's list.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct ContactRow {
    /// The other user.
    pub user_id: UserId,
    /// Their display name.
    pub name: String,
    /// Their phone number (E.164).
    pub phone: String,
    pub state: ContactState,
    /// Time of the last change of the state.
    pub since: Timestamp,
}

/// A user whom a user blocks.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct BlockedUserRow {
    /// The blocked user.
    pub user_id: UserId,
    /// Their display name.
    pub name: String,
    /// Time of the block.
    pub since: Timestamp,
}

/// Result of a contact request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactRequestOutcome {
    /// The request was sent.
    Requested,
    /// It was sent before, or they are contacts.
    AlreadyRequested,
    /// The other user had sent a request: they are contacts now.
    Accepted,
    /// The other user blocks the requester: only the requester's list shows the request, so that
    /// the block stays hidden.
    ShadowBlocked,
    /// The requester blocks the other user.
    RecipientBlocked,
    /// There is no user with that id, or it is the requester's own.
    UserNotFound,
}
