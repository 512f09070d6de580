//! Why a value cannot be sealed or opened.

use std::path::PathBuf;

use base::error::{CodedError, ErrorKind};

/// The one error of this area: mistakes of the installation, not of whoever asks.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VaultError {
    /// None is configured.
    #[error("there is no key to seal secrets with: see [secrets] in config.toml")]
    NoKey,
    /// Not of the form `VERSION:BASE64`.
    #[error("a key of [secrets] is a version from 1, a colon and 32 bytes in base64")]
    BadKey,
    /// Two keys of one version.
    #[error("there are two keys of version {0} in [secrets]")]
    TwoKeys(u32),
    /// Sealed with a key that is not here.
    #[error("a value is sealed with key {0}, which is not among those of [secrets] here")]
    UnknownKey(u32),
    /// Changed, moved, or sealed with another key of the same version.
    #[error(
        "a sealed value does not open: the keys of [secrets] are not those it was sealed with; \
         all nodes need the same ones"
    )]
    Forged,
    /// The cipher refused.
    #[error("a value cannot be sealed")]
    Failed,
    /// The file with the keys.
    #[error("the keys in {0} cannot be read or written: {1}")]
    File(PathBuf, String),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl CodedError for VaultError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(e) => e.kind(),
            _ => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Store(e) => e.code(),
            _ => "internal",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        if let Self::Store(e) = self { e.retry_after() } else { None }
    }
}
