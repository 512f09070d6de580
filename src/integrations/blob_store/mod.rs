//! Storage of file contents: a folder, or an S3-compatible bucket.
//!
//! A blob is written once under a key that is never reused, and is read in ranges.

mod disk;
mod s3;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::{fmt, io};

use base::ids::BlobId;
use base::secret::Secret;
use bytes::Bytes;
pub use disk::DiskBlobStore;
use futures_util::Stream;
pub use s3::S3BlobStore;

use crate::config;

/// A boxed future, which keeps the trait usable as a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// The bytes of a blob in chunks.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Key of a blob: the hash of its content and the id of its database row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobKey {
    hash: String,
    id: BlobId,
}

impl BlobKey {
    /// Creates the key for content with this SHA-256 and the row `id`.
    pub fn new(hash: &[u8], id: BlobId) -> Self {
        Self { hash: hex(hash), id }
    }

    /// SHA-256 of the content in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Relative path, spread over 256 folders.
    fn path(&self) -> String {
        format!("{}/{self}", self.hash.get(..2).unwrap_or("00"))
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.hash, self.id)
    }
}

/// Encodes bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Opens the configured blob store.
///
/// # Errors
/// A message if the configuration is invalid or the secret key file cannot be read.
pub fn open(
    storage: &config::StorageConfig,
    data_dir: &Path,
) -> Result<Arc<dyn BlobStore>, String> {
    if storage.backend == config::StorageKind::Disk {
        return Ok(Arc::new(DiskBlobStore::new(storage.directory(data_dir).join("blobs"))));
    }
    let file = &storage.secret_key_file;
    let secret = if file.as_os_str().is_empty() {
        storage.secret_key.clone()
    } else {
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("storage.secret_key_file {}: {error}", file.display()))?;
        Secret::new(text.trim().to_owned())
    };
    Ok(Arc::new(S3BlobStore::new(storage, &secret)?))
}

/// Storage backend of blobs.
pub trait BlobStore: Send + Sync + 'static {
    /// Stores the content of a file; durable when it returns, and idempotent. The file may be moved
    /// or left in place.
    fn put<'a>(&'a self, key: &'a BlobKey, file: &'a Path) -> BoxFuture<'a, io::Result<()>>;

    /// Reads a range of bytes; fails with `NotFound` if the blob does not exist.
    fn read<'a>(
        &'a self,
        key: &'a BlobKey,
        range: Range<u64>,
    ) -> BoxFuture<'a, io::Result<ByteStream>>;

    /// Removes a blob; succeeds if it does not exist.
    fn remove<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, io::Result<()>>;

    /// Writes, reads and removes a small blob to verify that the store works.
    fn probe<'a>(&'a self, scratch: PathBuf) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let key = BlobKey { hash: "00probe".to_owned(), id: BlobId::new() };
            let file = scratch.join(format!(".{}", key.id));
            std::fs::create_dir_all(&scratch)?;
            std::fs::write(&file, b"probe")?;
            let stored = self.put(&key, &file).await;
            let _ = std::fs::remove_file(&file); // may have been moved
            stored?;
            drop(self.read(&key, 0..5).await?);
            self.remove(&key).await
        })
    }
}
