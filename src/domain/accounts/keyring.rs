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
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::{SealedColumn, Store};

use super::AccountError;
use crate::domain::vault::{SealContext, Vault};
use crate::protocol::accounts::{Jwk, Jwks};

/// Who an access token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessTokenClaims {
    /// The person.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
}

/// Signs and checks access tokens; cheap to clone.
#[derive(Clone)]
pub struct TokenSigner {
    store: Store,
    vault: Vault,
    clock: Clock,
    issuer: Arc<str>,
    ring: Arc<ArcSwap<SigningKeySet>>,
}

struct SigningKeySet {
    active: KeyId,
    signing: EncodingKey,
    deriving: hmac::Key,
    checking: HashMap<String, DecodingKey>,
    public: Vec<(KeyId, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
struct JwtClaims {
    iss: String,
    aud: String,
    sub: UserId,
    device: DeviceId,
    iat: i64,
    exp: i64,
}

const AUDIENCE: &str = "securevox";
/// The type of access tokens (RFC 9068).
const ACCESS: &str = "at+jwt";

impl TokenSigner {
    /// Loads the keys; makes the first one where there is none.
    ///
    /// # Errors
    /// If the database does not answer or a key cannot be read.
    pub async fn open(
        store: Store,
        vault: Vault,
        clock: Clock,
        issuer: &str,
    ) -> Result<Self, AccountError> {
        store.ensure_signing_key(new_key(&vault)?, clock.now()).await?;
        let ring = load(&store, &vault).await?;
        Ok(Self {
            store,
            vault,
            clock,
            issuer: issuer.into(),
            ring: Arc::new(ArcSwap::from_pointee(ring)),
        })
    }

    /// Reads the keys again, since another node or the command line may have rotated them.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn reload(&self) -> Result<(), AccountError> {
        self.ring.store(Arc::new(load(&self.store, &self.vault).await?));
        Ok(())
    }

    /// A token that ends after `lifetime`.
    ///
    /// # Errors
    /// [`AccountError::Internal`] if the key cannot sign.
    pub fn sign(
        &self,
        bearer: AccessTokenClaims,
        lifetime: std::time::Duration,
    ) -> Result<Secret<String>, AccountError> {
        let now = self.clock.now();
        let claims = JwtClaims {
            iss: self.issuer.to_string(),
            aud: AUDIENCE.to_owned(),
            sub: bearer.user,
            device: bearer.device,
            iat: now.seconds(),
            exp: (now + lifetime).seconds(),
        };
        self.encode(ACCESS, &claims)
    }

    /// Who a token speaks for; whether that device is still signed in is another question.
    ///
    /// # Errors
    /// [`AccountError::InvalidToken`].
    pub fn verify(&self, token: &str) -> Result<AccessTokenClaims, AccountError> {
        let claims: JwtClaims = self.decode(ACCESS, AUDIENCE, token)?;
        if claims.exp <= self.clock.now().seconds() {
            return Err(AccountError::InvalidToken);
        }
        Ok(AccessTokenClaims { user: claims.sub, device: claims.device })
    }

    /// Who issues our tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A signed token of this type that makes these claims.
    ///
    /// # Errors
    /// [`AccountError::Internal`] if the key cannot sign.
    pub fn encode(
        &self,
        kind: &str,
        claims: &impl Serialize,
    ) -> Result<Secret<String>, AccountError> {
        let ring = self.ring.load();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(kind.to_owned());
        header.kid = Some(ring.active.to_string());
        jsonwebtoken::encode(&header, claims, &ring.signing)
            .map(Secret::new)
            .map_err(|e| AccountError::Internal(format!("a token cannot be signed: {e}")))
    }

    /// The claims of a token of this type that we signed for `audience`. Whether its time is over
    /// is for the caller to see.
    ///
    /// # Errors
    /// [`AccountError::InvalidToken`].
    pub fn decode<C: DeserializeOwned>(
        &self,
        kind: &str,
        audience: &str,
        token: &str,
    ) -> Result<C, AccountError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| AccountError::InvalidToken)?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(kind) {
            return Err(AccountError::InvalidToken);
        }
        let ring = self.ring.load();
        let key =
            header.kid.and_then(|kid| ring.checking.get(&kid)).ok_or(AccountError::InvalidToken)?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&[audience]);
        rules.set_issuer(&[&*self.issuer]);
        rules.validate_exp = false; // by our clock
        let token = jsonwebtoken::decode::<C>(token, key, &rules);
        Ok(token.map_err(|_| AccountError::InvalidToken)?.claims)
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
    pub async fn rotate(&self) -> Result<KeyId, AccountError> {
        self.store.rotate_signing_key(new_key(&self.vault)?, self.clock.now()).await?;
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
            x: URL_SAFE_NO_PAD.encode(key),
        });
        Jwks { keys: keys.collect() }
    }
}

fn place(id: KeyId) -> SealContext {
    SealContext { column: SealedColumn::SigningKey, row: *id.uuid().as_bytes() }
}

fn new_key(vault: &Vault) -> Result<store::NewKey, AccountError> {
    let failed = |_| AccountError::Internal("an Ed25519 key cannot be made".to_owned());
    let pair = Ed25519KeyPair::generate().map_err(failed)?;
    let private = pair.to_pkcs8().map_err(failed)?;
    let id = KeyId::new();
    Ok(store::NewKey {
        id,
        private: Secret::new(vault.seal(place(id), private.as_ref())?),
        public: pair.public_key().as_ref().to_vec(),
    })
}

async fn load(store: &Store, vault: &Vault) -> Result<SigningKeySet, AccountError> {
    let keys = store.signing_keys().await?;
    let active = keys
        .iter()
        .filter(|key| key.retired_at.is_none())
        .max_by_key(|key| key.created_at)
        .ok_or_else(|| {
            AccountError::Internal("there is no key to sign access tokens".to_owned())
        })?;
    let private = vault.open(place(active.id), active.private.expose())?;
    let checking =
        keys.iter().map(|key| (key.id.to_string(), DecodingKey::from_ed_der(&key.public)));
    Ok(SigningKeySet {
        active: active.id,
        signing: EncodingKey::from_ed_der(private.expose()),
        deriving: hmac::Key::new(hmac::HMAC_SHA256, private.expose()),
        checking: checking.collect(),
        public: keys.iter().map(|key| (key.id, key.public.clone())).collect(),
    })
}
