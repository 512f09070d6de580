//! Where the bytes of files are kept: a folder, or a bucket of whoever speaks S3.
//!
//! An object is written once under a name that is never used again, and read in parts.

mod disk;
mod s3;

pub use disk::DiskBlobStore;
pub use s3::S3BlobStore;

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use base::ids::BlobId;
use base::secret::Secret;
use bytes::Bytes;
use futures_util::Stream;

use crate::config;

/// A boxed future, so that the trait can be an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// The bytes of an object, piece by piece.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The name of an object: what is in it, and the row that stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobKey {
    hash: String,
    id: BlobId,
}

impl BlobKey {
    /// Of these bytes (their SHA-256) in this row.
    pub fn new(hash: &[u8], id: BlobId) -> Self {
        Self { hash: hex(hash), id }
    }

    /// The hash in hexadecimal digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// As a path, spread over 256 folders.
    fn path(&self) -> String {
        format!("{}/{self}", self.hash.get(..2).unwrap_or("00"))
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.hash, self.id)
    }
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What keeps the bytes of files.
///
/// # Errors
/// If the settings make no sense or a file of theirs cannot be read, in words.
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

/// Keeps objects.
pub trait BlobStore: Send + Sync + 'static {
    /// Puts a file's content there, durable when it answers; twice is as good as once. The file
    /// itself may be moved or left.
    fn put<'a>(&'a self, name: &'a BlobKey, file: &'a Path) -> BoxFuture<'a, io::Result<()>>;

    /// Reads a part; `NotFound` if the object is not there.
    fn read<'a>(
        &'a self,
        name: &'a BlobKey,
        part: Range<u64>,
    ) -> BoxFuture<'a, io::Result<ByteStream>>;

    /// Removes an object; one that is not there is as good.
    fn remove<'a>(&'a self, name: &'a BlobKey) -> BoxFuture<'a, io::Result<()>>;

    /// Writes, reads and removes a small object: whether all of it works.
    fn probe<'a>(&'a self, scratch: PathBuf) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let name = BlobKey { hash: "00probe".to_owned(), id: BlobId::new() };
            let file = scratch.join(format!(".{}", name.id));
            std::fs::create_dir_all(&scratch)?;
            std::fs::write(&file, b"probe")?;
            let put = self.put(&name, &file).await;
            let _ = std::fs::remove_file(&file); // may have been moved
            put?;
            drop(self.read(&name, 0..5).await?);
            self.remove(&name).await
        })
    }
}
