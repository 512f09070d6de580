//! The vault: seals what the database must not show to whoever reads only the database.
//!
//! A sealed value is one byte that says so, the version of its key, a random nonce, and the
//! ciphertext with its tag (AES-256-GCM, NIST SP 800-38D). The column and the row are part of what
//! is authenticated: a value that was copied to another place does not open there.

mod error;
mod key_file;
mod rotation;

pub use error::VaultError;
pub use key_file::{add_key, new_key, read_keys};

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base::random::RandomSource;
use base::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use store::SealedColumn;

/// What a sealed value begins with. Nothing that was kept before there was a vault does: private
/// keys in PKCS #8 begin with `0x30`.
const SEALED: u8 = 0xA1;
const HEAD: usize = 1 + 4 + NONCE_LEN;

/// Seals and opens values; cheap to clone.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<BTreeMap<u32, LessSafeKey>>,
    entropy: RandomSource,
}

/// Where a value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealContext {
    /// In which column.
    pub column: SealedColumn,
    /// In which row: the bytes of its id.
    pub row: [u8; 16],
}

impl SealContext {
    fn authenticated(self) -> Vec<u8> {
        let column: &[u8] = match self.column {
            SealedColumn::SigningKey => b"signing_keys.private",
            SealedColumn::SecondFactor => b"second_factors.secret",
        };
        [b"securevox/", column, b"/", &self.row].concat()
    }
}

impl Vault {
    /// A vault with these keys, each as `VERSION:BASE64`.
    ///
    /// # Errors
    /// [`VaultError::NoKey`], [`VaultError::BadKey`], [`VaultError::TwoKeys`].
    pub fn new(keys: &[Secret<String>], entropy: RandomSource) -> Result<Self, VaultError> {
        let mut ring = BTreeMap::new();
        for text in keys {
            let (version, bytes) = parse(text.expose())?;
            let key =
                UnboundKey::new(&AES_256_GCM, bytes.expose()).map_err(|_| VaultError::BadKey)?;
            if ring.insert(version, LessSafeKey::new(key)).is_some() {
                return Err(VaultError::TwoKeys(version));
            }
        }
        if ring.is_empty() {
            return Err(VaultError::NoKey);
        }
        Ok(Self { keys: Arc::new(ring), entropy })
    }

    /// The version of the key that seals.
    pub fn newest(&self) -> u32 {
        self.keys.last_key_value().map_or(0, |(version, _)| *version)
    }

    /// Seals a value for its place, with the newest key.
    ///
    /// # Errors
    /// [`VaultError::Failed`] if it is larger than the cipher allows.
    pub fn seal(&self, place: SealContext, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (version, key) = self.keys.last_key_value().ok_or(VaultError::NoKey)?;
        // Random nonces of 96 bits: safe for 2^32 values under one key (SP 800-38D §8.3).
        let nonce = self.entropy.bytes::<NONCE_LEN>();
        let mut body = plain.to_vec();
        let aad = Aad::from(place.authenticated());
        let used = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(used, aad, &mut body).map_err(|_| VaultError::Failed)?;
        let mut sealed = Vec::with_capacity(HEAD + body.len());
        sealed.push(SEALED);
        sealed.extend_from_slice(&version.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Opens a value; one from before there was a vault is given as it is.
    ///
    /// # Errors
    /// [`VaultError::UnknownKey`], [`VaultError::Forged`].
    pub fn open(&self, place: SealContext, value: &[u8]) -> Result<Secret<Vec<u8>>, VaultError> {
        let Some(version) = version(value) else {
            return if value.first() == Some(&SEALED) {
                Err(VaultError::Forged)
            } else {
                Ok(Secret::new(value.to_vec()))
            };
        };
        let key = self.keys.get(&version).ok_or(VaultError::UnknownKey(version))?;
        let nonce =
            Nonce::try_assume_unique_for_key(&value[5..HEAD]).map_err(|_| VaultError::Forged)?;
        let mut body = value[HEAD..].to_vec();
        let aad = Aad::from(place.authenticated());
        let length =
            key.open_in_place(nonce, aad, &mut body).map_err(|_| VaultError::Forged)?.len();
        body.truncate(length);
        Ok(Secret::new(body))
    }

    /// Whether a value is sealed with the newest key.
    fn is_current(&self, value: &[u8]) -> bool {
        version(value) == Some(self.newest())
    }
}

/// With which key a value is sealed; `None` if it is not, or was cut off.
fn version(value: &[u8]) -> Option<u32> {
    if value.len() < HEAD || value[0] != SEALED {
        return None;
    }
    Some(u32::from_be_bytes([value[1], value[2], value[3], value[4]]))
}

fn parse(text: &str) -> Result<(u32, Secret<Vec<u8>>), VaultError> {
    let (version, key) = text.trim().split_once(':').ok_or(VaultError::BadKey)?;
    let version = version.parse().ok().filter(|version| *version > 0).ok_or(VaultError::BadKey)?;
    let bytes = STANDARD.decode(key).map_err(|_| VaultError::BadKey)?;
    if bytes.len() == 32 { Ok((version, Secret::new(bytes))) } else { Err(VaultError::BadKey) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: SealContext = SealContext { column: SealedColumn::SigningKey, row: [7; 16] };

    fn key(version: u32, seed: u64) -> Secret<String> {
        new_key(version, &RandomSource::seeded(seed))
    }

    fn vault(keys: &[Secret<String>]) -> Vault {
        Vault::new(keys, RandomSource::system()).unwrap()
    }

    #[test]
    fn sealed_value_opens_only_in_its_row_and_column() {
        let vault = vault(&[key(1, 1)]);
        let sealed = vault.seal(PLACE, b"canary").unwrap();

        assert_eq!(vault.open(PLACE, &sealed).unwrap().expose(), b"canary");
        let elsewhere = [
            SealContext { row: [8; 16], ..PLACE },
            SealContext { column: SealedColumn::SecondFactor, ..PLACE },
        ];
        for place in elsewhere {
            assert!(matches!(vault.open(place, &sealed), Err(VaultError::Forged)));
        }
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_ne!(vault.seal(PLACE, b"canary").unwrap(), sealed, "no nonce twice");
    }

    #[test]
    fn newest_key_version_seals_and_older_versions_open() {
        let old = vault(&[key(1, 1)]);
        let both = vault(&[key(2, 2), key(1, 1)]);
        let sealed = old.seal(PLACE, b"x").unwrap();

        assert_eq!(both.newest(), 2);
        assert!(!both.is_current(&sealed));
        assert_eq!(both.open(PLACE, &sealed).unwrap().expose(), b"x");
        let anew = both.seal(PLACE, b"x").unwrap();
        assert!(both.is_current(&anew));
        assert!(matches!(old.open(PLACE, &anew), Err(VaultError::UnknownKey(2))));
        let other = vault(&[key(1, 9)]);
        assert!(matches!(other.open(PLACE, &sealed), Err(VaultError::Forged)));
    }

    #[test]
    fn unsealed_value_is_returned_unchanged() {
        assert_eq!(vault(&[key(1, 1)]).open(PLACE, &[0x30, 1]).unwrap().expose(), &[0x30, 1]);
    }

    #[test]
    fn invalid_or_duplicate_key_is_rejected() {
        for text in ["", "1", "1:", "x:AAAA", "0:AAAA", "1:AAAA", "1:***"] {
            let keys = [Secret::new(text.to_owned())];
            assert!(
                matches!(Vault::new(&keys, RandomSource::system()), Err(VaultError::BadKey)),
                "{text}"
            );
        }
        let twice = Vault::new(&[key(1, 1), key(1, 2)], RandomSource::system());
        assert!(matches!(twice, Err(VaultError::TwoKeys(1))));
        assert!(matches!(Vault::new(&[], RandomSource::system()), Err(VaultError::NoKey)));
    }

    proptest! {
        #[test]
        fn tampered_or_truncated_sealed_value_is_rejected(plain in prop::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), by in 1u8..) {
            let vault = vault(&[key(1, 1)]);
            let mut sealed = vault.seal(PLACE, &plain).unwrap();
            let at = at.index(sealed.len() - 1) + 1; // the first byte says whether it is sealed
            sealed[at] ^= by;
            prop_assert!(vault.open(PLACE, &sealed).is_err());
            sealed.truncate(at);
            prop_assert!(vault.open(PLACE, &sealed).is_err());
        }
    }
}
