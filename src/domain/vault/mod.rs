//! The vault encrypts database columns so that database access alone does not reveal them.
//!
//! A sealed value consists of a marker byte, the key version (32 bits, big-endian), a random nonce,
//! and the ciphertext with its tag (AES-256-GCM, NIST SP 800-38D). Column and row id are
//! authenticated as associated data, so a value copied to another row or column does not open.

mod error;
mod key_file;
mod rotation;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base::random::RandomSource;
use base::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
pub use error::VaultError;
pub use key_file::{add_key, new_key, read_keys};
use store::SealedColumn;

/// First byte of a sealed value. Values stored before the vault existed never start with it:
/// private keys in PKCS #8 start with `0x30`.
const SEALED_MARKER: u8 = 0xA1;
const HEADER_BYTES: usize = 1 + 4 + NONCE_LEN;

/// Seals and opens values; cheap to clone.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<BTreeMap<u32, LessSafeKey>>,
    entropy: RandomSource,
}

/// Location of a sealed value; authenticated as associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealContext {
    /// Column of the value.
    pub column: SealedColumn,
    /// Bytes of the row's id.
    pub row: [u8; 16],
}

impl SealContext {
    fn associated_data(self) -> Vec<u8> {
        let column: &[u8] = match self.column {
            SealedColumn::SigningKey => b"signing_keys.private",
            SealedColumn::SecondFactor => b"second_factors.secret",
        };
        [b"securevox/", column, b"/", &self.row].concat()
    }
}

impl Vault {
    /// Creates a vault with these keys, each as `VERSION:BASE64`.
    ///
    /// # Errors
    /// [`VaultError::KeyMissing`], [`VaultError::InvalidKey`], [`VaultError::DuplicateVersion`].
    pub fn new(keys: &[Secret<String>], entropy: RandomSource) -> Result<Self, VaultError> {
        let mut ring = BTreeMap::new();
        for text in keys {
            let (version, bytes) = parse(text.expose())?;
            let key = UnboundKey::new(&AES_256_GCM, bytes.expose())
                .map_err(|_| VaultError::InvalidKey)?;
            if ring.insert(version, LessSafeKey::new(key)).is_some() {
                return Err(VaultError::DuplicateVersion(version));
            }
        }
        if ring.is_empty() {
            return Err(VaultError::KeyMissing);
        }
        Ok(Self { keys: Arc::new(ring), entropy })
    }

    /// Version of the newest key, which seals new values.
    pub fn newest_version(&self) -> u32 {
        self.keys.last_key_value().map_or(0, |(version, _)| *version)
    }

    /// Seals a value for its location with the newest key.
    ///
    /// # Errors
    /// [`VaultError::SealFailed`] if the value is larger than the cipher allows.
    pub fn seal(&self, context: SealContext, plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (version, key) = self.keys.last_key_value().ok_or(VaultError::KeyMissing)?;
        // Random nonces of 96 bits: safe for 2^32 values under one key (SP 800-38D §8.3).
        let nonce_bytes = self.entropy.bytes::<NONCE_LEN>();
        let mut body = plaintext.to_vec();
        let aad = Aad::from(context.associated_data());
        let nonce = Nonce::assume_unique_for_key(nonce_bytes);
        key.seal_in_place_append_tag(nonce, aad, &mut body).map_err(|_| VaultError::SealFailed)?;
        let mut sealed = Vec::with_capacity(HEADER_BYTES + body.len());
        sealed.push(SEALED_MARKER);
        sealed.extend_from_slice(&version.to_be_bytes());
        sealed.extend_from_slice(&nonce_bytes);
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Opens a sealed value. A value stored before the vault existed is returned unchanged.
    ///
    /// # Errors
    /// [`VaultError::UnknownKeyVersion`], [`VaultError::AuthenticationFailed`].
    pub fn open(&self, context: SealContext, value: &[u8]) -> Result<Secret<Vec<u8>>, VaultError> {
        let Some(version) = version(value) else {
            return if value.first() == Some(&SEALED_MARKER) {
                Err(VaultError::AuthenticationFailed)
            } else {
                Ok(Secret::new(value.to_vec()))
            };
        };
        let key = self.keys.get(&version).ok_or(VaultError::UnknownKeyVersion(version))?;
        let nonce = Nonce::try_assume_unique_for_key(&value[5..HEADER_BYTES])
            .map_err(|_| VaultError::AuthenticationFailed)?;
        let mut body = value[HEADER_BYTES..].to_vec();
        let aad = Aad::from(context.associated_data());
        let length = key
            .open_in_place(nonce, aad, &mut body)
            .map_err(|_| VaultError::AuthenticationFailed)?
            .len();
        body.truncate(length);
        Ok(Secret::new(body))
    }

    /// Whether a value is sealed with the newest key.
    fn is_current(&self, value: &[u8]) -> bool {
        version(value) == Some(self.newest_version())
    }
}

/// Key version of a sealed value; `None` if it is not sealed or truncated.
fn version(value: &[u8]) -> Option<u32> {
    if value.len() < HEADER_BYTES || value[0] != SEALED_MARKER {
        return None;
    }
    Some(u32::from_be_bytes([value[1], value[2], value[3], value[4]]))
}

fn parse(text: &str) -> Result<(u32, Secret<Vec<u8>>), VaultError> {
    let (version, key) = text.trim().split_once(':').ok_or(VaultError::InvalidKey)?;
    let version =
        version.parse().ok().filter(|version| *version > 0).ok_or(VaultError::InvalidKey)?;
    let bytes = STANDARD.decode(key).map_err(|_| VaultError::InvalidKey)?;
    if bytes.len() == 32 { Ok((version, Secret::new(bytes))) } else { Err(VaultError::InvalidKey) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTEXT: SealContext = SealContext { column: SealedColumn::SigningKey, row: [7; 16] };

    fn key(version: u32, seed: u64) -> Secret<String> {
        new_key(version, &RandomSource::seeded(seed))
    }

    fn vault(keys: &[Secret<String>]) -> Vault {
        Vault::new(keys, RandomSource::system()).unwrap()
    }

    #[test]
    fn sealed_value_opens_only_in_its_row_and_column() {
        let vault = vault(&[key(1, 1)]);
        let sealed = vault.seal(CONTEXT, b"canary").unwrap();

        assert_eq!(vault.open(CONTEXT, &sealed).unwrap().expose(), b"canary");
        let other_contexts = [
            SealContext { row: [8; 16], ..CONTEXT },
            SealContext { column: SealedColumn::SecondFactor, ..CONTEXT },
        ];
        for context in other_contexts {
            assert!(matches!(vault.open(context, &sealed), Err(VaultError::AuthenticationFailed)));
        }
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_ne!(vault.seal(CONTEXT, b"canary").unwrap(), sealed, "nonces are not reused");
    }

    #[test]
    fn newest_key_version_seals_and_older_versions_open() {
        let old = vault(&[key(1, 1)]);
        let both = vault(&[key(2, 2), key(1, 1)]);
        let sealed = old.seal(CONTEXT, b"x").unwrap();

        assert_eq!(both.newest_version(), 2);
        assert!(!both.is_current(&sealed));
        assert_eq!(both.open(CONTEXT, &sealed).unwrap().expose(), b"x");
        let resealed = both.seal(CONTEXT, b"x").unwrap();
        assert!(both.is_current(&resealed));
        assert!(matches!(old.open(CONTEXT, &resealed), Err(VaultError::UnknownKeyVersion(2))));
        let other = vault(&[key(1, 9)]);
        assert!(matches!(other.open(CONTEXT, &sealed), Err(VaultError::AuthenticationFailed)));
    }

    #[test]
    fn unsealed_value_is_returned_unchanged() {
        assert_eq!(vault(&[key(1, 1)]).open(CONTEXT, &[0x30, 1]).unwrap().expose(), &[0x30, 1]);
    }

    #[test]
    fn invalid_or_duplicate_key_is_rejected() {
        for text in ["", "1", "1:", "x:AAAA", "0:AAAA", "1:AAAA", "1:***"] {
            let keys = [Secret::new(text.to_owned())];
            assert!(
                matches!(Vault::new(&keys, RandomSource::system()), Err(VaultError::InvalidKey)),
                "{text}"
            );
        }
        let twice = Vault::new(&[key(1, 1), key(1, 2)], RandomSource::system());
        assert!(matches!(twice, Err(VaultError::DuplicateVersion(1))));
        assert!(matches!(Vault::new(&[], RandomSource::system()), Err(VaultError::KeyMissing)));
    }

    proptest! {
        #[test]
        fn tampered_or_truncated_sealed_value_is_rejected(plain in prop::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), by in 1u8..) {
            let vault = vault(&[key(1, 1)]);
            let mut sealed = vault.seal(CONTEXT, &plain).unwrap();
            let at = at.index(sealed.len() - 1) + 1; // keep the marker byte
            sealed[at] ^= by;
            prop_assert!(vault.open(CONTEXT, &sealed).is_err());
            sealed.truncate(at);
            prop_assert!(vault.open(CONTEXT, &sealed).is_err());
        }
    }
}
