//! The keys of access tokens: EdDSA (RFC 8037), made at first start, shared through the database,
//! rotated without signing anybody out.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base::clock::Clock;
use base::ids::{DeviceId, KeyId, UserId};
use base::secret::Secret;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use store::Store;

use super::Error;
use crate::protocol::accounts::{Jwk, Jwks};

/// Who an access token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The person.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
}

/// Signs and checks access tokens; cheap to clone.
#[derive(Clone)]
pub struct Keyring {
    store: Store,
    clock: Clock,
    issuer: Arc<str>,
    ring: Arc<ArcSwap<Ring>>,
}

struct Ring {
    active: KeyId,
    signing: EncodingKey,
    deriving: hmac::Key,
    checking: HashMap<String, DecodingKey>,
    public: Vec<(KeyId, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    device: DeviceId,
    iat: i64,
    exp: i64,
}

const AUDIENCE: &str = "securevox";

impl Keyring {
    /// Loads the keys; makes the first one where there is none.
    ///
    /// # Errors
    /// If the database does not answer or a key cannot be read.
    pub async fn open(store: Store, clock: Clock, issuer: &str) -> Result<Self, Error> {
        store.ensure_key(new_key()?, clock.now()).await?;
        let ring = load(&store).await?;
        Ok(Self {
            store,
            clock,
            issuer: issuer.into(),
            ring: Arc::new(ArcSwap::from_pointee(ring)),
        })
    }

    /// Reads the keys again, since another node or the command line may have rotated them.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn reload(&self) -> Result<(), Error> {
        self.ring.store(Arc::new(load(&self.store).await?));
        Ok(())
    }

    /// A token that ends after `lifetime`.
    ///
    /// # Errors
    /// [`Error::Internal`] if the key cannot sign.
    pub fn sign(
        &self,
        bearer: Bearer,
        lifetime: std::time::Duration,
    ) -> Result<Secret<String>, Error> {
        let ring = self.ring.load();
        let now = self.clock.now();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned()); // RFC 9068
        header.kid = Some(ring.active.to_string());
        let claims = Claims {
            iss: self.issuer.to_string(),
            aud: AUDIENCE.to_owned(),
            sub: bearer.user,
            device: bearer.device,
            iat: now.seconds(),
            exp: (now + lifetime).seconds(),
        };
        jsonwebtoken::encode(&header, &claims, &ring.signing)
            .map(Secret::new)
            .map_err(|e| Error::Internal(format!("an access token cannot be signed: {e}")))
    }

    /// Who a token speaks for; whether that device is still signed in is another question.
    ///
    /// # Errors
    /// [`Error::InvalidToken`].
    pub fn check(&self, token: &str) -> Result<Bearer, Error> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Error::InvalidToken)?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some("at+jwt") {
            return Err(Error::InvalidToken);
        }
        let ring = self.ring.load();
        let key = header.kid.and_then(|kid| ring.checking.get(&kid)).ok_or(Error::InvalidToken)?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&[&*self.issuer]);
        rules.validate_exp = false; // by our clock, below
        let claims = jsonwebtoken::decode::<Claims>(token, key, &rules)
            .map_err(|_| Error::InvalidToken)?
            .claims;
        if claims.exp <= self.clock.now().seconds() {
            return Err(Error::InvalidToken);
        }
        Ok(Bearer { user: claims.sub, device: claims.device })
    }

    /// The refresh token that follows `token`: only who has the key can tell, and always the same
    /// while the key is active.
    pub fn successor(&self, token: &str) -> String {
        let tag = hmac::sign(&self.ring.load().deriving, format!("refresh:{token}").as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Makes a new key and retires the one before, which is still good for checking.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn rotate(&self) -> Result<KeyId, Error> {
        self.store.rotate_key(new_key()?, self.clock.now()).await?;
        self.reload().await?;
        Ok(self.ring.load().active)
    }

    /// The public keys, for those who check our tokens.
    pub fn jwks(&self) -> Jwks {
        let ring = self.ring.load();
        let keys = ring.public.iter().map(|(id, key)| Jwk {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            r#use: "sig",
            kid: id.to_string(),
            x: base64url(key),
        });
        Jwks { keys: keys.collect() }
    }
}

fn new_key() -> Result<store::NewKey, Error> {
    let failed = |_| Error::Internal("an Ed25519 key cannot be made".to_owned());
    let pair = Ed25519KeyPair::generate().map_err(failed)?;
    let private = pair.to_pkcs8().map_err(failed)?;
    Ok(store::NewKey {
        id: KeyId::new(),
        private: Secret::new(private.as_ref().to_vec()),
        public: pair.public_key().as_ref().to_vec(),
    })
}

async fn load(store: &Store) -> Result<Ring, Error> {
    let keys = store.keys().await?;
    let active = keys
        .iter()
        .filter(|key| key.retired_at.is_none())
        .max_by_key(|key| key.created_at)
        .ok_or_else(|| Error::Internal("there is no key to sign access tokens".to_owned()))?;
    let checking =
        keys.iter().map(|key| (key.id.to_string(), DecodingKey::from_ed_der(&key.public)));
    Ok(Ring {
        active: active.id,
        signing: EncodingKey::from_ed_der(active.private.expose()),
        deriving: hmac::Key::new(hmac::HMAC_SHA256, active.private.expose()),
        checking: checking.collect(),
        public: keys.iter().map(|key| (key.id, key.public.clone())).collect(),
    })
}

/// base64url without padding (RFC 4648 §5).
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().enumerate().fold(0u32, |n, (i, b)| n | u32::from(*b) << (16 - 8 * i));
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * i)) as usize & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64url_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(super::base64url(bytes.as_bytes()), text);
        }
        assert_eq!(super::base64url(&[0xfb, 0xff]), "-_8");
    }
}
