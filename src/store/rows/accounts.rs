//! People and the devices they are signed in on.

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};
use diesel::prelude::{Queryable, Selectable};

use super::text_enum::word;
use crate::schema::{devices, users};

word! {
    /// What a person may do to the service itself.
    Role: "role" {
        /// Uses it.
        User = "user",
        /// May do everything.
        Admin = "admin",
        /// Looks after it: sees its state, may restart and drain.
        Operator = "operator",
    }
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = users)]
pub struct UserRow {
    /// Who.
    pub id: UserId,
    /// In E.164 form; unique.
    pub phone: String,
    /// As others see it.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// When they came.
    pub created_at: Timestamp,
    /// Since when they may not sign in.
    pub suspended_at: Option<Timestamp>,
}

/// A person who comes.
#[derive(Clone, Debug)]
pub struct NewUserRow {
    /// Made by the caller.
    pub id: UserId,
    /// In E.164 form.
    pub phone: String,
    /// As others will see it.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The hash of the password in PHC form, never the password.
    pub password_hash: String,
}

/// A signed-in device; also the family of its refresh tokens.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = devices)]
pub struct DeviceRow {
    /// Which.
    pub id: DeviceId,
    /// Whose.
    pub user_id: UserId,
    /// As its owner calls it.
    pub name: String,
    /// `ios`, `android`, `web`, …; the store does not care.
    pub platform: String,
    /// When it signed in.
    pub created_at: Timestamp,
    /// When it was last there.
    pub last_seen_at: Timestamp,
    /// Since when it is signed out.
    pub revoked_at: Option<Timestamp>,
    /// From where it last asked for tokens.
    pub last_ip: Option<String>,
    /// What it said it was when it signed in; never believed.
    pub user_agent: Option<String>,
}

/// A device that signs in.
#[derive(Clone, Debug)]
pub struct NewDeviceRow {
    /// Made by the caller.
    pub id: DeviceId,
    /// Whose.
    pub user_id: UserId,
    /// As its owner calls it.
    pub name: String,
    /// `ios`, `android`, `web`, …
    pub platform: String,
    /// What it says it is.
    pub user_agent: Option<String>,
}

/// How a registration ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub enum RegisterOutcome {
    /// The person exists and their first device is signed in.
    Done(UserRow, DeviceRow),
    /// Somebody has that number.
    PhoneTaken,
    /// There are as many people as there may be.
    CapReached,
}

/// How adding a person by hand ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddUserOutcome {
    /// The person exists.
    Done(UserRow),
    /// Somebody has that number.
    PhoneTaken,
}
