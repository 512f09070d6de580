//! Contacts, as they cross the wire.

use base::clock::Timestamp;
use base::ids::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::presence::PresenceEvent;

/// Asks somebody to become a contact: by phone number or by id, one of them.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestContact {
    /// The other person's number.
    #[schema(example = "+4915112345678")]
    pub phone: Option<String>,
    /// The other person's id.
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
}

/// One entry of a person's contacts.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ContactView {
    /// Who.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// How that person calls themselves; empty until the request is accepted.
    pub name: String,
    /// In E.164; only between contacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// How it stands between the two.
    pub state: ContactState,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Whether they are here; of accepted contacts only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceEvent>,
}

/// Phone numbers out of somebody's address book, as they are written there; nothing of it is kept.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressBook {
    /// 500 at most.
    #[schema(max_items = 500)]
    pub phones: Vec<String>,
}

/// Who of an address book is here.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ContactMatches {
    /// Those who are; of the others nothing is said.
    pub items: Vec<ContactMatch>,
}

/// Somebody of an address book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ContactMatch {
    /// The number as it was asked for.
    pub phone: String,
    /// Who it is.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// How that person calls themselves.
    pub name: String,
}

/// How it stands between two people, as one of them sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContactState {
    /// Asked, not answered.
    PendingOut,
    /// Was asked, has not answered.
    PendingIn,
    /// Both agreed.
    Accepted,
}

/// What became of a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ContactRequested {
    /// Who was asked.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// `pending_out`, or `accepted` where the other had asked already.
    pub state: ContactState,
}
