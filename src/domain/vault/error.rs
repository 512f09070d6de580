//! Errors of sealing and opening values.

use std::path::PathBuf;

use base::error::CodedError;

/// Error of the vault: a misconfiguration, not a fault of the caller.
#[derive(Clone, Debug, thiserror::Error, CodedError)]
pub enum VaultError {
    /// No key is configured.
    #[error("no encryption key is configured: see [secrets] in config.toml")]
    #[code("internal", Internal)]
    KeyMissing,
    /// The key does not have the form `VERSION:BASE64`.
    #[error("a key of [secrets] must be VERSION:BASE64, with a version from 1 and 32 bytes")]
    #[code("internal", Internal)]
    InvalidKey,
    /// Two keys have the same version.
    #[error("there are two keys of version {0} in [secrets]")]
    #[code("internal", Internal)]
    DuplicateVersion(u32),
    /// The value was sealed with a key that is not configured.
    #[error("a value is sealed with key version {0}, which is not configured in [secrets]")]
    #[code("internal", Internal)]
    UnknownKeyVersion(u32),
    /// The value was modified, moved, or sealed with another key of the same version.
    #[error(
        "a sealed value cannot be opened: the keys of [secrets] differ from those it was sealed with; \
         all nodes need the same keys"
    )]
    #[code("internal", Internal)]
    AuthenticationFailed,
    /// Encryption failed.
    #[error("value could not be sealed")]
    #[code("internal", Internal)]
    SealFailed,
    /// The key file could not be read or written.
    #[error("the keys in {0} cannot be read or written: {1}")]
    #[code("internal", Internal)]
    KeyFile(PathBuf, String),
    /// A database error.
    #[error(transparent)]
    #[code(transparent)]
    Store(#[from] store::StoreError),
}
