//! Storage of data exports: ZIP archives that wait for download. Currently a local folder, hidden
//! behind this interface.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use base::ids::JobId;
use store::Store;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Archives by job id; cheap to clone.
#[derive(Clone, Debug)]
pub struct ExportStore {
    folder: Arc<PathBuf>,
}

/// An archive being written on a blocking thread. If dropped before [`ArchiveWriter::finish`], no
/// archive is created.
pub struct ArchiveWriter {
    chunks: mpsc::Sender<ArchiveChunk>,
    writer: JoinHandle<io::Result<u64>>,
}

enum ArchiveChunk {
    File(String),
    Bytes(Vec<u8>),
    End,
}

/// A finished archive, open for reading.
#[derive(Debug)]
pub struct ArchiveFile {
    /// Open file, positioned at its start.
    pub file: File,
    /// Size in bytes.
    pub size: u64,
}

impl ExportStore {
    /// Creates an export store in this folder. The folder is created when needed.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder: Arc::new(folder) }
    }

    /// Starts an archive. `attempt` separates concurrent writers of the same job.
    pub fn begin(&self, id: JobId, attempt: i64) -> ArchiveWriter {
        let (chunks, chunk_rx) = mpsc::channel(16);
        let partial_path = self.folder.join(format!("{id}.part{attempt}"));
        let final_path = self.archive_path(id);
        let writer = spawn_blocking(move || {
            let written = write(&partial_path, chunk_rx).and_then(|size| {
                fs::rename(&partial_path, &final_path)?;
                File::open(final_path.parent().unwrap_or(&final_path))?.sync_all()?;
                Ok(size)
            });
            if written.is_err() {
                let _ = fs::remove_file(&partial_path); // the file may not exist
            }
            written
        });
        ArchiveWriter { chunks, writer }
    }

    /// Opens a finished archive; `None` if it does not exist.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn open(&self, id: JobId) -> io::Result<Option<ArchiveFile>> {
        let path = self.archive_path(id);
        run_blocking(move || match File::open(path) {
            Ok(file) => Ok(Some(ArchiveFile { size: file.metadata()?.len(), file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    /// Removes files without a stored export job, and files of ended attempts.
    ///
    /// # Errors
    /// File system or database errors.
    pub async fn sweep(&self, store: &Store) -> io::Result<()> {
        let folder = self.folder.clone();
        let found = run_blocking(move || list(&folder)).await?;
        if found.is_empty() {
            return Ok(());
        }
        let ids = found.iter().map(|(id, _)| *id).collect();
        let known = store.existing_exports(ids).await.map_err(io::Error::other)?;
        let known: HashMap<JobId, Option<i64>> = known.into_iter().collect();
        run_blocking(move || {
            for (id, path) in &found {
                let in_use = known.get(id).is_some_and(|running| match attempt_of(path) {
                    Some(attempt) => *running == Some(attempt),
                    None => true,
                });
                if !in_use {
                    ignore_not_found(fs::remove_file(path))?;
                }
            }
            Ok(())
        })
        .await
    }

    fn archive_path(&self, id: JobId) -> PathBuf {
        self.folder.join(format!("{id}.zip"))
    }
}

impl ArchiveWriter {
    /// Starts a file of the archive.
    ///
    /// # Errors
    /// If an earlier write failed.
    pub async fn file(&mut self, path: impl Into<String>) -> io::Result<()> {
        self.send(ArchiveChunk::File(path.into())).await
    }

    /// Appends bytes to the current file.
    ///
    /// # Errors
    /// If an earlier write failed.
    pub async fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.send(ArchiveChunk::Bytes(bytes)).await
    }

    /// Completes the archive and makes it available. Returns its size in bytes.
    ///
    /// # Errors
    /// If a write failed.
    pub async fn finish(mut self) -> io::Result<u64> {
        self.send(ArchiveChunk::End).await?;
        self.writer.await.map_err(io::Error::other)?
    }

    async fn send(&mut self, chunk: ArchiveChunk) -> io::Result<()> {
        if self.chunks.send(chunk).await.is_ok() {
            return Ok(());
        }
        match (&mut self.writer).await.map_err(io::Error::other)? {
            Ok(_) => Err(io::Error::other("archive writer ended early")),
            Err(error) => Err(error),
        }
    }
}

fn write(
    partial_path: &std::path::Path,
    mut chunk_rx: mpsc::Receiver<ArchiveChunk>,
) -> io::Result<u64> {
    if let Some(folder) = partial_path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(partial_path)?;
    let mut zip = ZipWriter::new(BufWriter::new(file));
    let options = SimpleFileOptions::default().large_file(true).unix_permissions(0o600);
    while let Some(chunk) = chunk_rx.blocking_recv() {
        match chunk {
            ArchiveChunk::File(path) => zip.start_file(path, options).map_err(io::Error::other)?,
            ArchiveChunk::Bytes(bytes) => zip.write_all(&bytes)?,
            ArchiveChunk::End => {
                let mut file = zip.finish().map_err(io::Error::other)?;
                file.flush()?;
                file.get_ref().sync_all()?;
                return Ok(file.get_ref().metadata()?.len());
            }
        }
    }
    Err(io::Error::other("archive was abandoned before its end"))
}

/// Attempt number of a partial file; `None` for a finished archive.
fn attempt_of(path: &std::path::Path) -> Option<i64> {
    path.extension()?.to_str()?.strip_prefix("part")?.parse().ok()
}

/// Ignores a missing file: its writer or another sweep removed it.
fn ignore_not_found(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Export files in the folder with their job ids; other files are ignored.
fn list(folder: &std::path::Path) -> io::Result<Vec<(JobId, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        found.extend(id.map(|id| (id, path)));
    }
    Ok(found)
}

async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
