//! Who calls: the authenticated user, what a call token grants, and the client of a request.

use std::net::IpAddr;

use base::ids::{DeviceId, UserId};
use serde::{Deserialize, Serialize};
use store::Role;

/// An authenticated user and the device used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Principal {
    /// Identifier of the user.
    pub user: UserId,
    /// Device of the user.
    pub device: DeviceId,
    /// Display name of the user.
    pub name: String,
    /// Phone number in E.164.
    pub phone: String,
    /// Server-wide role of the user.
    pub role: Role,
    /// If the caller used a call token: the only call it gives access to.
    #[serde(skip)]
    pub call_grant: Option<CallGrant>,
}

/// Access granted by a call token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallGrant {
    /// Name of the session.
    pub session: String,
    /// Whether the holder may mute and remove other participants.
    pub is_moderator: bool,
}

/// Client of a sign-in request.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    /// IP address of the client.
    pub ip: Option<IpAddr>,
    /// `User-Agent` header; not trustworthy.
    pub agent: Option<String>,
}
