//! The desk where files lie until they are whole: parts in a folder, each held by whoever writes it.
//!
//! The operating system lets go of a part when its writer ends, however it ends: so whatever nobody
//! holds, and belongs to no upload, may be thrown away.

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

/// Bytes that are written and read at once.
pub const PIECE: usize = 256 * 1024;

/// The folder; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct StagingDir {
    folder: Arc<PathBuf>,
}

/// A file that is being written; dropped, it is gone.
#[derive(Debug)]
pub(super) struct StagedFile {
    file: Arc<File>,
    path: PathBuf,
    waiting: BytesMut,
    pub(super) size: u64,
}

impl StagingDir {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder: Arc::new(folder) }
    }

    /// Begins a file of one request.
    pub(super) async fn begin(&self) -> io::Result<StagedFile> {
        let path = self.folder.join(format!("{}.part", UploadId::new()));
        let folder = self.folder.clone();
        let place = path.clone();
        let file = run_blocking(move || {
            fs::create_dir_all(&*folder)?;
            held(&place)?.ok_or_else(|| io::Error::other("a new file is held by somebody"))
        })
        .await?;
        Ok(StagedFile { file: Arc::new(file), path, waiting: BytesMut::new(), size: 0 })
    }

    /// A file with this content.
    pub(super) async fn with(&self, content: Vec<u8>) -> io::Result<StagedFile> {
        let mut part = self.begin().await?;
        part.size = content.len() as u64;
        let file = part.file.clone();
        run_blocking(move || file.write_all_at(&content, 0)).await?;
        Ok(part)
    }

    /// Where an upload lies.
    pub(super) fn place(&self, id: UploadId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// Opens an upload to go on with it; gives how far it is. `None` if somebody else has it.
    pub(super) async fn open(&self, id: UploadId) -> io::Result<Option<(File, u64)>> {
        let (folder, place) = (self.folder.clone(), self.place(id));
        run_blocking(move || {
            fs::create_dir_all(&*folder)?;
            let Some(file) = held(&place)? else { return Ok(None) };
            let size = file.metadata()?.len();
            Ok(Some((file, size)))
        })
        .await
    }

    /// How far an upload is; nothing of one that nobody began to send.
    pub(super) async fn length(&self, id: UploadId) -> io::Result<u64> {
        let place = self.place(id);
        run_blocking(move || match fs::metadata(place) {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        })
        .await
    }

    /// Throws an upload away.
    pub(super) async fn remove(&self, id: UploadId) -> io::Result<()> {
        let place = self.place(id);
        run_blocking(move || remove(&place)).await
    }

    /// Throws away what nobody holds and what belongs to no upload (any more).
    pub(super) async fn sweep(&self, store: &Store) -> io::Result<()> {
        let folder = self.folder.clone();
        let uploads = run_blocking(move || {
            let mut uploads = Vec::new();
            for path in list(&folder)? {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if let Ok(id) = name.parse::<UploadId>() {
                    uploads.push((id, path));
                } else if name.ends_with(".part") && is_free(&path) {
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
    /// Writes on, at the disk's pace.
    pub(super) async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(piece);
        self.size += piece.len() as u64;
        if self.waiting.len() < PIECE { Ok(()) } else { self.flush().await }
    }

    /// Writes what waits.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let waiting = self.waiting.split().freeze();
        let at = self.size - waiting.len() as u64;
        let file = self.file.clone();
        run_blocking(move || file.write_all_at(&waiting, at)).await
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        let _ = remove(&self.path); // what stays is swept
    }
}

/// Opens a file, made if need be, and holds it; `None` if somebody else does.
fn held(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

fn is_free(path: &Path) -> bool {
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

/// The first bytes of a file and the hash (SHA-256) of all of it.
pub(super) async fn read_through(
    path: &Path,
    head: usize,
) -> Result<(Vec<u8>, Vec<u8>), FileError> {
    let path = path.to_owned();
    let read = run_blocking(move || {
        let file = File::open(path)?;
        let mut hash = Context::new(&SHA256);
        let mut piece = vec![0; PIECE];
        let (mut at, mut begin) = (0, Vec::new());
        loop {
            let count = file.read_at(&mut piece, at)?;
            if at == 0 {
                begin.extend_from_slice(&piece[..count.min(head)]);
            }
            if count == 0 {
                return Ok((begin, hash.finish().as_ref().to_vec()));
            }
            hash.update(&piece[..count]);
            at += count as u64;
        }
    });
    Ok(read.await?)
}

/// Waits for the disk where that holds nobody up.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
