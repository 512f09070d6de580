//! ICE servers with time-limited TURN credentials.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base::clock::{Clock, Timestamp};
use base::ids::UserId;
use base::random::RandomSource;
use base::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config;
use crate::protocol::calls::IceServer;

/// Issues TURN credentials; cheap to clone.
///
/// Format of "A REST API For Access To TURN Services" (draft-uberti-behave-turn-rest-00), which
/// coturn calls `use-auth-secret`: the user name is `expiry:user`, the password is the base64
/// HMAC-SHA1 of the user name under the shared secret.
#[derive(Clone)]
pub struct TurnCredentials {
    clock: Clock,
    config: Arc<config::TurnConfig>,
    secret: Arc<Secret<String>>,
    embedded: Arc<[String]>,
}

impl TurnCredentials {
    /// `embedded` are the URLs of this node's own server, used unless external ones are configured.
    pub fn new(
        clock: Clock,
        entropy: &RandomSource,
        config: config::TurnConfig,
        embedded: Vec<String>,
    ) -> Self {
        let configured = config.secret.expose();
        let secret = if configured.is_empty() { entropy.token() } else { configured.clone() };
        Self {
            clock,
            config: Arc::new(config),
            secret: Arc::new(Secret::new(secret)),
            embedded: embedded.into(),
        }
    }

    /// STUN and TURN servers for a device of this user.
    pub fn servers(&self, user: UserId) -> Vec<IceServer> {
        let external = &self.config.external_urls;
        let urls = if external.is_empty() { self.embedded.to_vec() } else { external.clone() };
        let (stun, turn): (Vec<_>, Vec<_>) =
            urls.into_iter().partition(|url| url.starts_with("stun"));
        let mut servers = Vec::new();
        if !stun.is_empty() {
            servers.push(IceServer { urls: stun, username: None, credential: None });
        }
        if !turn.is_empty() {
            let expires_at = self.clock.now() + self.config.credential_ttl();
            let username = format!("{}:{user}", expires_at.seconds());
            let credential = Some(password(&self.secret, &username));
            servers.push(IceServer { urls: turn, username: Some(username), credential });
        }
        servers
    }

    /// Password and user of an unexpired user name; `None` if it is expired or malformed.
    pub fn password(&self, username: &str) -> Option<(String, UserId)> {
        let (expires_at, user) = username.split_once(':')?;
        let expires_at =
            Timestamp::from_micros(expires_at.parse::<i64>().ok()?.checked_mul(1_000_000)?);
        let user = user.parse().ok()?;
        (expires_at > self.clock.now()).then(|| (password(&self.secret, username), user))
    }
}

fn password(secret: &Secret<String>, username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ice(secret: &str, urls: &[&str]) -> TurnCredentials {
        let config = config::TurnConfig {
            credential_ttl_seconds: 60,
            secret: Secret::new(secret.to_owned()),
            external_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            ..config::load("", []).unwrap().turn
        };
        let own = vec!["stun:here:3478".to_owned(), "turn:here:3478?transport=udp".to_owned()];
        TurnCredentials::new(Clock::wall(), &RandomSource::seeded(1), config, own)
    }

    #[test]
    fn turn_credentials_match_coturn_format() {
        // printf 1800000000:alice | openssl dgst -sha1 -hmac secret -binary | base64
        let password = password(&Secret::new("secret".to_owned()), "1800000000:alice");

        assert_eq!(password, "F9Z9KM7gUFmGwhyNrUvr6nr+06I=");
    }

    #[test]
    fn turn_username_is_valid_until_expiry() {
        let (ice, user) = (ice("", &[]), UserId::new());
        let servers = ice.servers(user);
        let [stun, turn] = &servers[..] else { panic!("two kinds of servers") };
        assert_eq!((stun.urls.len(), stun.username.is_some()), (1, false));
        let name = turn.username.as_deref().unwrap();

        assert_eq!(
            ice.password(name).map(|(p, u)| (Some(p), u)),
            Some((turn.credential.clone(), user))
        );
        assert_eq!(ice.password(&format!("1000:{user}")), None);
        assert_eq!(ice.password("nonsense"), None);
    }

    #[test]
    fn configured_ice_servers_replace_built_in_ones() {
        let servers = ice("s", &["turn:elsewhere:3478"]).servers(UserId::new());

        assert_eq!(servers.len(), 1);
        assert_eq!(servers[0].urls, ["turn:elsewhere:3478"]);
    }
}
