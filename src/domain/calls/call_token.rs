//! Call tokens: what opens a socket for one call and nothing else.

use base::ids::{DeviceId, UserId};
use serde::{Deserialize, Serialize};

use super::{CallDomain, CallError};
use crate::config::SessionCreationPolicy;
use crate::domain::accounts::{self, CallGrant, Principal};
use crate::protocol::calls::{self as wire, CallRole};

/// The type of call tokens, so that no other token is taken for one.
const KIND: &str = "call+jwt";
const AUDIENCE: &str = "securevox-call";
const MOST_NAME: usize = 128;

#[derive(Serialize, Deserialize)]
struct CallTokenClaims {
    iss: String,
    aud: String,
    sub: UserId,
    /// Made for the token: a call knows its holder's device by it.
    device: DeviceId,
    /// The device on which somebody made it for themselves: with it the token is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<DeviceId>,
    session: String,
    role: CallRole,
    iat: i64,
    exp: i64,
}

impl CallDomain {
    /// Makes a call token: `me` for oneself, `None` is a service, which may speak for anybody.
    ///
    /// # Errors
    /// [`CallError::NotAllowed`], [`CallError::BadSession`], [`CallError::NoSuchPerson`], or the database's.
    pub async fn token(
        &self,
        me: Option<&Principal>,
        new: wire::NewCallToken,
    ) -> Result<wire::CallToken, CallError> {
        let name = parse_name(&new.session_id)?;
        let role = new.role.unwrap_or_default();
        if let Some(me) = me {
            let own = me.user == new.user_id && role == CallRole::Participant;
            if !own || self.config.session_creation == SessionCreationPolicy::Services {
                return Err(CallError::NotAllowed);
            }
        } else if self.store.user(new.user_id).await?.is_none() {
            return Err(CallError::NoSuchPerson);
        }
        let now = self.clock.now();
        let expires_at = now + std::time::Duration::from_secs(self.config.token_ttl_seconds);
        let claims = CallTokenClaims {
            iss: self.keys.issuer().to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: new.user_id,
            device: DeviceId::new(),
            from: me.map(|me| me.device),
            session: name.to_owned(),
            role,
            iat: now.seconds(),
            exp: expires_at.seconds(),
        };
        let token =
            self.keys.encode(KIND, &claims).map_err(|e| CallError::Internal(e.to_string()))?;
        let ice_servers = self.ice.servers(new.user_id);
        Ok(wire::CallToken { token, session_id: new.session_id, expires_at, ice_servers })
    }

    /// Who holds a call token, and what it opens; `None` if it is a token of another kind.
    ///
    /// # Errors
    /// [`CallError::InvalidToken`] if its time is over, its holder is no more, or the device on which it
    /// was made is signed out, or the database's.
    pub async fn identify(&self, token: &str) -> Result<Option<Principal>, CallError> {
        let claims: CallTokenClaims = match self.keys.decode(KIND, AUDIENCE, token) {
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
        let pass =
            CallGrant { session: claims.session, moderates: claims.role == CallRole::Moderator };
        Ok(Some(Principal {
            user: user.id,
            device: claims.device,
            name: user.name,
            phone: user.phone,
            role: user.role,
            pass: Some(pass),
        }))
    }
}

/// A name of a session: one that reads the same in a log, a path and a URL.
pub fn parse_name(name: &str) -> Result<&str, CallError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:@".contains(&b);
    let fits = (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(plain);
    if fits { Ok(name) } else { Err(CallError::BadSession) }
}
