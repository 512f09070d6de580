//! Signing keys of access tokens: EdDSA (RFC 8037). The first key is created at first start. Keys
//! are shared through the database and rotated without signing anybody out.

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

/// Identity that an access token proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessTokenClaims {
    /// Owner of the token.
    pub user: UserId,
    /// Device the token was issued to.
    pub device: DeviceId,
}

/// Signs and verifies access tokens; cheap to clone.
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
    derivation: hmac::Key,
    verification: HashMap<String, DecodingKey>,
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

/// `aud` claim of access tokens.
const AUDIENCE: &str = "securevox";
/// `typ` header of access tokens (RFC 9068).
const ACCESS_TOKEN_TYPE: &str = "at+jwt";

impl TokenSigner {
    /// Loads the signing keys and creates the first one if there is none.
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

    /// Reloads the keys, since another node or the command line may have rotated them.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn reload(&self) -> Result<(), AccountError> {
        self.ring.store(Arc::new(load(&self.store, &self.vault).await?));
        Ok(())
    }

    /// Signs an access token that expires after `lifetime`.
    ///
    /// # Errors
    /// [`AccountError::Internal`] if the key cannot sign.
    pub fn sign(
        &self,
        claims: AccessTokenClaims,
        lifetime: std::time::Duration,
    ) -> Result<Secret<String>, AccountError> {
        let now = self.clock.now();
        let jwt = JwtClaims {
            iss: self.issuer.to_string(),
            aud: AUDIENCE.to_owned(),
            sub: claims.user,
            device: claims.device,
            iat: now.seconds(),
            exp: (now + lifetime).seconds(),
        };
        self.encode(ACCESS_TOKEN_TYPE, &jwt)
    }

    /// Verifies signature, issuer, audience and expiry. Does not check whether the device is still
    /// signed in.
    ///
    /// # Errors
    /// [`AccountError::InvalidToken`].
    pub fn verify(&self, token: &str) -> Result<AccessTokenClaims, AccountError> {
        let claims: JwtClaims = self.decode(ACCESS_TOKEN_TYPE, AUDIENCE, token)?;
        if claims.exp <= self.clock.now().seconds() {
            return Err(AccountError::InvalidToken);
        }
        Ok(AccessTokenClaims { user: claims.sub, device: claims.device })
    }

    /// Value of the `iss` claim.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs a token of type `kind` with these claims.
    ///
    /// # Errors
    /// [`AccountError::Internal`] if the key cannot sign.
    pub fn encode(
        &self,
        token_type: &str,
        claims: &impl Serialize,
    ) -> Result<Secret<String>, AccountError> {
        let ring = self.ring.load();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(token_type.to_owned());
        header.kid = Some(ring.active.to_string());
        jsonwebtoken::encode(&header, claims, &ring.signing)
            .map(Secret::new)
            .map_err(|e| AccountError::Internal(format!("a token cannot be signed: {e}")))
    }

    /// Verifies a token of type `kind` that was signed for `audience`. The caller checks the
    /// expiry.
    ///
    /// # Errors
    /// [`AccountError::InvalidToken`].
    pub fn decode<C: DeserializeOwned>(
        &self,
        token_type: &str,
        audience: &str,
        token: &str,
    ) -> Result<C, AccountError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| AccountError::InvalidToken)?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(token_type) {
            return Err(AccountError::InvalidToken);
        }
        let ring = self.ring.load();
        let key = header
            .kid
            .and_then(|key_id| ring.verification.get(&key_id))
            .ok_or(AccountError::InvalidToken)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[&*self.issuer]);
        validation.validate_exp = false; // expiry is checked against the injected clock
        let token = jsonwebtoken::decode::<C>(token, key, &validation);
        Ok(token.map_err(|_| AccountError::InvalidToken)?.claims)
    }

    /// Derives the refresh token that follows `token` with HMAC-SHA256. The result is the same
    /// while the signing key is active.
    pub fn successor(&self, token: &str) -> String {
        let tag = hmac::sign(&self.ring.load().derivation, format!("refresh:{token}").as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Creates a new signing key and retires the current one, which can still verify tokens.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn rotate(&self) -> Result<KeyId, AccountError> {
        self.store.rotate_signing_key(new_key(&self.vault)?, self.clock.now()).await?;
        self.reload().await?;
        Ok(self.ring.load().active)
    }

    /// Public keys as a JWK set (RFC 7517), for verifiers of access tokens.
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

fn seal_context(id: KeyId) -> SealContext {
    SealContext { column: SealedColumn::SigningKey, row: *id.uuid().as_bytes() }
}

fn new_key(vault: &Vault) -> Result<store::NewKey, AccountError> {
    let internal = |_| AccountError::Internal("Ed25519 key generation failed".to_owned());
    let pair = Ed25519KeyPair::generate().map_err(internal)?;
    let private = pair.to_pkcs8().map_err(internal)?;
    let id = KeyId::new();
    Ok(store::NewKey {
        id,
        private: Secret::new(vault.seal(seal_context(id), private.as_ref())?),
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
            AccountError::Internal("no active signing key for access tokens".to_owned())
        })?;
    let private = vault.open(seal_context(active.id), active.private.expose())?;
    let verification =
        keys.iter().map(|key| (key.id.to_string(), DecodingKey::from_ed_der(&key.public)));
    Ok(SigningKeySet {
        active: active.id,
        signing: EncodingKey::from_ed_der(private.expose()),
        derivation: hmac::Key::new(hmac::HMAC_SHA256, private.expose()),
        verification: verification.collect(),
        public: keys.iter().map(|key| (key.id, key.public.clone())).collect(),
    })
}
