//! Users as administrators see them, and account deletion.

use base::clock::Timestamp;
use base::ids::{ConversationId, DeviceId, UserId};
use diesel::prelude::Queryable;

use super::{Kind, Role};

/// A user with the details that administrators see.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct UserAdminRow {
    pub id: UserId,
    /// Phone number in E.164 form.
    pub phone: String,
    /// Display name, as other users see it.
    pub name: String,
    pub role: Role,
    /// Time of registration.
    pub created_at: Timestamp,
    /// Time since when they may not sign in.
    pub suspended_at: Option<Timestamp>,
    /// Time since when a second factor is required.
    pub second_factor_since: Option<Timestamp>,
}

/// Selects users; a field that is `None` matches everybody.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Prefix of the display name, case-insensitive.
    pub name: Option<String>,
    /// Prefix of the phone number in E.164 form.
    pub phone: Option<String>,
    /// Users with this role.
    pub role: Option<Role>,
    /// Suspended or active users.
    pub suspended: Option<bool>,
    /// Users with greater ids than this one.
    pub after: Option<UserId>,
}

/// Result of a change to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserChangeOutcome {
    /// The change is done; the devices whose tokens or rights changed with it.
    Done(Vec<DeviceId>),
    /// There is no user with that id.
    UserNotFound,
    /// No active admin would be left.
    LastAdmin,
}

/// A conversation that holds data of a deleted user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffectedConversation {
    pub id: ConversationId,
    /// Direct ones are removed as a whole.
    pub kind: Kind,
}

/// One batch of removing a deleted user from a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepartureBatch {
    /// Members who should be notified that the user left.
    pub recipients: Vec<UserId>,
    /// System messages about it.
    pub system_messages: Vec<super::MessageRow>,
    /// Whether there may be more to remove.
    pub has_more: bool,
}
