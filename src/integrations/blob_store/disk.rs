//! Objects in a folder, on a disk of this machine or on one that all nodes share.

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

/// Bytes read at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// A folder; files are put into it from the same file system.
#[derive(Clone, Debug)]
pub struct DiskBlobStore {
    folder: Arc<PathBuf>,
}

impl DiskBlobStore {
    /// Objects in this folder, which is made when it is needed.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder: Arc::new(folder) }
    }

    fn place(&self, name: &BlobKey) -> PathBuf {
        self.folder.join(name.path())
    }
}

impl BlobStore for DiskBlobStore {
    fn put<'a>(&'a self, name: &'a BlobKey, file: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        let (place, file, root) = (self.place(name), file.to_owned(), self.folder.clone());
        apart(move || {
            let folder = place.parent().unwrap_or(&root);
            if !folder.is_dir() {
                fs::create_dir_all(folder)?;
                File::open(&*root)?.sync_all()?;
            }
            File::open(&file)?.sync_all()?;
            match fs::hard_link(&file, &place) {
                Ok(()) => {}
                // Somebody brings the same at the same time and was faster: it lies there whole.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => fs::rename(&file, &place)?, // a file system without links
            }
            File::open(folder)?.sync_all()
        })
    }

    fn read<'a>(
        &'a self,
        name: &'a BlobKey,
        part: Range<u64>,
    ) -> BoxFuture<'a, io::Result<ByteStream>> {
        let place = self.place(name);
        Box::pin(async move {
            let file = Arc::new(apart(move || File::open(place)).await?);
            let pieces = stream::try_unfold((file, part), |(file, part)| async move {
                if part.is_empty() {
                    return Ok(None);
                }
                let wanted = part.end.saturating_sub(part.start);
                let wanted = usize::try_from(wanted).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
                let source = file.clone();
                let piece = apart(move || {
                    let mut piece = vec![0; wanted];
                    source.read_exact_at(&mut piece, part.start)?;
                    Ok(Bytes::from(piece))
                })
                .await?;
                let next = part.start + piece.len() as u64..part.end;
                Ok(Some((piece, (file, next))))
            });
            Ok(Box::pin(pieces) as ByteStream)
        })
    }

    fn remove<'a>(&'a self, name: &'a BlobKey) -> BoxFuture<'a, io::Result<()>> {
        let place = self.place(name);
        apart(move || match fs::remove_file(place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }
}

/// Waits for the disk where that holds nobody up.
fn apart<'a, T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> BoxFuture<'a, io::Result<T>> {
    Box::pin(async move { spawn_blocking(work).await.map_err(io::Error::other)? })
}
