//! Blob store in a folder, on a local disk or on one shared by all nodes.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use tokio::task::spawn_blocking;

use super::{BlobKey, BlobStore, BoxFuture, ByteStream};

/// Bytes per read operation.
const CHUNK_BYTES: usize = 256 * 1024;

/// A folder; stored files must come from the same file system.
#[derive(Clone, Debug)]
pub struct DiskBlobStore {
    folder: Arc<PathBuf>,
}

impl DiskBlobStore {
    /// Creates a blob store in this folder. The folder is created when needed.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder: Arc::new(folder) }
    }

    fn path_of(&self, key: &BlobKey) -> PathBuf {
        self.folder.join(key.path())
    }
}

impl BlobStore for DiskBlobStore {
    fn put<'a>(&'a self, key: &'a BlobKey, file: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        let (path, file, root) = (self.path_of(key), file.to_owned(), self.folder.clone());
        run_blocking(move || {
            let folder = path.parent().unwrap_or(&root);
            if !folder.is_dir() {
                fs::create_dir_all(folder)?;
                File::open(&*root)?.sync_all()?;
            }
            File::open(&file)?.sync_all()?;
            match fs::hard_link(&file, &path) {
                Ok(()) => {}
                // The same blob is stored concurrently and completely by another request.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => fs::rename(&file, &path)?, // file system without hard links
            }
            File::open(folder)?.sync_all()
        })
    }

    fn read<'a>(
        &'a self,
        key: &'a BlobKey,
        range: Range<u64>,
    ) -> BoxFuture<'a, io::Result<ByteStream>> {
        let path = self.path_of(key);
        Box::pin(async move {
            let file = Arc::new(run_blocking(move || File::open(path)).await?);
            let chunks = stream::try_unfold((file, range), |(file, range)| async move {
                if range.is_empty() {
                    return Ok(None);
                }
                let length = range.end.saturating_sub(range.start);
                let length = usize::try_from(length).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
                let source = file.clone();
                let chunk = run_blocking(move || {
                    let mut chunk = vec![0; length];
                    source.read_exact_at(&mut chunk, range.start)?;
                    Ok(Bytes::from(chunk))
                })
                .await?;
                let next = range.start + chunk.len() as u64..range.end;
                Ok(Some((chunk, (file, next))))
            });
            Ok(Box::pin(chunks) as ByteStream)
        })
    }

    fn remove<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, io::Result<()>> {
        let path = self.path_of(key);
        run_blocking(move || match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }
}

/// Runs file system work on a blocking thread.
fn run_blocking<'a, T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> BoxFuture<'a, io::Result<T>> {
    Box::pin(async move { spawn_blocking(work).await.map_err(io::Error::other)? })
}
