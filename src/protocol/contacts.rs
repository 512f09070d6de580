//! Request and response types for contacts.

use base::clock::Timestamp;
use base::ids::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::presence::PresenceEvent;

/// Requests a contact by phone number or by user id; exactly one must be given.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestContact {
    /// Phone number of the other user, in international format.
    #[schema(example = "+4915112345678")]
    pub phone: Option<String>,
    /// Identifier of the other user.
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
}

/// One entry in the caller's contact list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ContactView {
    /// Identifier of the user.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Display name; empty until the request is accepted.
    pub name: String,
    /// Phone number in E.164; present only for accepted contacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// State of the contact.
    pub state: ContactState,
    /// When this state was reached.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Current presence; present only for accepted contacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceEvent>,
}

/// Phone numbers from an address book, in any notation. They are not stored.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressBook {
    /// Phone numbers, at most 500.
    #[schema(max_items = 500)]
    pub phones: Vec<String>,
}

/// Users found for an address book.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ContactMatches {
    /// Numbers that belong to users; other numbers are omitted.
    pub items: Vec<ContactMatch>,
}

/// A user found by phone number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ContactMatch {
    /// The number as given in the request.
    pub phone: String,
    /// Identifier of the user.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Display name of the user.
    pub name: String,
}

/// State of a contact, as seen by one of the two users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContactState {
    /// The caller sent a request that is not answered yet.
    PendingOut,
    /// The caller received a request and has not answered yet.
    PendingIn,
    /// Both users agreed.
    Accepted,
}

/// Result of a contact request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ContactRequested {
    /// The user who was asked.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// `pending_out`, or `accepted` if the other user had already asked.
    pub state: ContactState,
}
