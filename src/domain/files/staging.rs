//! Staging folder for incomplete uploads. Each file is locked by its writer.
//!
//! The operating system releases the lock when the writer ends, however it ends. A file that is not
//! locked and belongs to no upload can be removed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use base::ids::UploadId;
use bytes::BytesMut;
use store::Store;
use tokio::task::spawn_blocking;

use super::FileError;

/// Bytes written and read at once.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// The staging folder; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct StagingDir {
    folder: Arc<PathBuf>,
}

/// A file being written; removed on drop.
#[derive(Debug)]
pub(super) struct StagedFile {
    file: Arc<File>,
    path: PathBuf,
    buffer: BytesMut,
    pub(super) size: u64,
}

impl StagingDir {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder: Arc::new(folder) }
    }

    /// Creates a file for one request.
    pub(super) async fn begin(&self) -> io::Result<StagedFile> {
        let path = self.folder.join(format!("{}.part", UploadId::new()));
        let folder = self.folder.clone();
        let path_to_open = path.clone();
        let file = run_blocking(move || {
            fs::create_dir_all(&*folder)?;
            open_locked(&path_to_open)?
                .ok_or_else(|| io::Error::other("new staging file is locked by another process"))
        })
        .await?;
        Ok(StagedFile { file: Arc::new(file), path, buffer: BytesMut::new(), size: 0 })
    }

    /// Creates a file with this content.
    pub(super) async fn with(&self, content: Vec<u8>) -> io::Result<StagedFile> {
        let mut part = self.begin().await?;
        part.size = content.len() as u64;
        let file = part.file.clone();
        run_blocking(move || file.write_all_at(&content, 0)).await?;
        Ok(part)
    }

    /// Path of a resumable upload.
    pub(super) fn upload_path(&self, id: UploadId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// Opens and locks an upload to continue it, and returns its length. `None` if another process
    /// has it.
    pub(super) async fn open(&self, id: UploadId) -> io::Result<Option<(File, u64)>> {
        let (folder, path) = (self.folder.clone(), self.upload_path(id));
        run_blocking(move || {
            fs::create_dir_all(&*folder)?;
            let Some(file) = open_locked(&path)? else { return Ok(None) };
            let size = file.metadata()?.len();
            Ok(Some((file, size)))
        })
        .await
    }

    /// Current length of an upload; 0 if no bytes were received yet.
    pub(super) async fn length(&self, id: UploadId) -> io::Result<u64> {
        let path = self.upload_path(id);
        run_blocking(move || match fs::metadata(path) {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        })
        .await
    }

    /// Removes the file of an upload.
    pub(super) async fn remove(&self, id: UploadId) -> io::Result<()> {
        let path = self.upload_path(id);
        run_blocking(move || remove(&path)).await
    }

    /// Removes unlocked temporary files and files without an upload row.
    pub(super) async fn sweep(&self, store: &Store) -> io::Result<()> {
        let folder = self.folder.clone();
        let uploads = run_blocking(move || {
            let mut uploads = Vec::new();
            for path in list(&folder)? {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if let Ok(id) = name.parse::<UploadId>() {
                    uploads.push((id, path));
                } else if name.ends_with(".part") && is_unlocked(&path) {
                    remove(&path)?;
                }
            }
            Ok(uploads)
        })
        .await?;
        if uploads.is_empty() {
            return Ok(());
        }
        let ids = uploads.iter().map(|(id, _)| *id).collect();
        let known = store.active_uploads(ids).await.map_err(io::Error::other)?;
        run_blocking(move || {
            uploads.iter().filter(|(id, _)| !known.contains(id)).try_for_each(|(_, p)| remove(p))
        })
        .await
    }
}

impl StagedFile {
    /// Appends bytes; waits for the disk when the buffer is full.
    pub(super) async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(chunk);
        self.size += chunk.len() as u64;
        if self.buffer.len() < CHUNK_BYTES { Ok(()) } else { self.flush().await }
    }

    /// Writes the buffered bytes.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let buffered = self.buffer.split().freeze();
        let at = self.size - buffered.len() as u64;
        let file = self.file.clone();
        run_blocking(move || file.write_all_at(&buffered, at)).await
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        let _ = remove(&self.path); // leftovers are swept
    }
}

/// Opens a file, creating it if needed, and locks it; `None` if another process has the lock.
fn open_locked(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

fn is_unlocked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    }
}

/// Reads a whole file: returns its first `head` bytes and its SHA-256.
pub(super) async fn read_through(
    path: &Path,
    head: usize,
) -> Result<(Vec<u8>, Vec<u8>), FileError> {
    let path = path.to_owned();
    let read = run_blocking(move || {
        let file = File::open(path)?;
        let mut hash = Context::new(&SHA256);
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut at, mut first_bytes) = (0, Vec::new());
        loop {
            let count = file.read_at(&mut chunk, at)?;
            if at == 0 {
                first_bytes.extend_from_slice(&chunk[..count.min(head)]);
            }
            if count == 0 {
                return Ok((first_bytes, hash.finish().as_ref().to_vec()));
            }
            hash.update(&chunk[..count]);
            at += count as u64;
        }
    });
    Ok(read.await?)
}

/// Runs file system work on a blocking thread.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
