//! Call tokens: signed tokens that open a socket for one call only.

use base::ids::{DeviceId, UserId};
use serde::{Deserialize, Serialize};

use super::{CallDomain, CallError};
use crate::config::SessionCreationPolicy;
use crate::domain::accounts::{self};
use crate::domain::identity::{CallGrant, Principal};
use crate::limits::MAX_SESSION_NAME_CHARS;
use crate::protocol::calls::{self as wire, CallRole};

/// `typ` header of call tokens, so that no other token is accepted as one.
const CALL_TOKEN_TYPE: &str = "call+jwt";
/// `aud` claim of call tokens.
const AUDIENCE: &str = "securevox-call";

#[derive(Serialize, Deserialize)]
struct CallTokenClaims {
    iss: String,
    aud: String,
    sub: UserId,
    /// Generated for the token; identifies the holder's device within the call.
    device: DeviceId,
    /// Device on which a user requested the token for themselves. The token is void once it is
    /// signed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<DeviceId>,
    session: String,
    role: CallRole,
    iat: i64,
    exp: i64,
}

impl CallDomain {
    /// Creates a call token for `me`, or for any user if a service requests it (`None`).
    ///
    /// # Errors
    /// [`CallError::NotAllowed`], [`CallError::InvalidSessionId`], [`CallError::UserNotFound`], or
    /// a database error.
    pub async fn token(
        &self,
        principal: Option<&Principal>,
        new: wire::NewCallToken,
    ) -> Result<wire::CallToken, CallError> {
        let name = parse_name(&new.session_id)?;
        let role = new.role.unwrap_or_default();
        if let Some(principal) = principal {
            let own = principal.user == new.user_id && role == CallRole::Participant;
            if !own || self.config.session_creation == SessionCreationPolicy::Services {
                return Err(CallError::NotAllowed);
            }
        } else if self.store.user(new.user_id).await?.is_none() {
            return Err(CallError::UserNotFound);
        }
        let now = self.clock.now();
        let expires_at = now + std::time::Duration::from_secs(self.config.token_ttl_seconds);
        let claims = CallTokenClaims {
            iss: self.keys.issuer().to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: new.user_id,
            device: DeviceId::new(),
            from: principal.map(|principal| principal.device),
            session: name.to_owned(),
            role,
            iat: now.seconds(),
            exp: expires_at.seconds(),
        };
        let token = self
            .keys
            .encode(CALL_TOKEN_TYPE, &claims)
            .map_err(|e| CallError::Internal(e.to_string()))?;
        let ice_servers = self.ice.servers(new.user_id);
        Ok(wire::CallToken { token, session_id: new.session_id, expires_at, ice_servers })
    }

    /// Identity and grant of a call token; `None` if it is a token of another type.
    ///
    /// # Errors
    /// [`CallError::InvalidToken`] if it is expired, its user is deleted or suspended, or the
    /// device that requested it is signed out; or a database error.
    pub async fn identify(&self, token: &str) -> Result<Option<Principal>, CallError> {
        let claims: CallTokenClaims = match self.keys.decode(CALL_TOKEN_TYPE, AUDIENCE, token) {
            Ok(claims) => claims,
            Err(accounts::AccountError::InvalidToken) => return Ok(None),
            Err(error) => return Err(CallError::Internal(error.to_string())),
        };
        if claims.exp <= self.clock.now().seconds() {
            return Err(CallError::InvalidToken);
        }
        let user = self.store.user(claims.sub).await?.ok_or(CallError::InvalidToken)?;
        if user.suspended_at.is_some() {
            return Err(CallError::InvalidToken);
        }
        if let Some(from) = claims.from
            && !self.store.signed_out_devices(vec![from]).await?.is_empty()
        {
            return Err(CallError::InvalidToken);
        }
        let grant =
            CallGrant { session: claims.session, is_moderator: claims.role == CallRole::Moderator };
        Ok(Some(Principal {
            user: user.id,
            device: claims.device,
            name: user.name,
            phone: user.phone,
            role: user.role,
            call_grant: Some(grant),
        }))
    }
}

/// Validates a session name. The allowed characters need no escaping in logs, paths and URLs.
pub fn parse_name(name: &str) -> Result<&str, CallError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:@".contains(&b);
    let valid = (1..=MAX_SESSION_NAME_CHARS).contains(&name.len()) && name.bytes().all(plain);
    if valid { Ok(name) } else { Err(CallError::InvalidSessionId) }
}
