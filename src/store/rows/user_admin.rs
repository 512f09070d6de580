//! People as those see them who look after the service, and the end of an account.

use base::clock::Timestamp;
use base::ids::{ConversationId, DeviceId, UserId};
use diesel::prelude::Queryable;

use super::{Kind, Role};

/// A person, as an administrator sees them.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct UserAdminRow {
    /// Who.
    pub id: UserId,
    /// In E.164 form.
    pub phone: String,
    /// As others see it.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// When they came.
    pub created_at: Timestamp,
    /// Since when they may not sign in.
    pub suspended_at: Option<Timestamp>,
    /// Since when a second factor must be given.
    pub second_factor_since: Option<Timestamp>,
}

/// Which people; what is left out fits everybody.
#[derive(Clone, Debug, Default)]
pub struct PeopleFilter {
    /// The beginning of a name, in any case.
    pub name: Option<String>,
    /// The beginning of a number in E.164 form.
    pub phone: Option<String>,
    /// With this role.
    pub role: Option<Role>,
    /// Suspended, or not.
    pub suspended: Option<bool>,
    /// Who follow this one.
    pub after: Option<UserId>,
}

/// How a change to a person ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserChangeOutcome {
    /// It is so; the devices whose tokens or rights changed with it.
    Done(Vec<DeviceId>),
    /// There is nobody with that id.
    NoSuchUser,
    /// Nobody would be left who may do everything.
    LastAdmin,
}

/// A conversation in which somebody who is gone left something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffectedConversation {
    /// Which.
    pub id: ConversationId,
    /// Direct ones go as a whole.
    pub kind: Kind,
}

/// What is left to do in a conversation that somebody leaves for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepartureBatch {
    /// Who should hear that the person left.
    pub others: Vec<UserId>,
    /// What was said of it.
    pub said: Vec<super::MessageRow>,
    /// Whether there may be more to remove.
    pub more: bool,
}
