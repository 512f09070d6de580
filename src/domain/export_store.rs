//! The shelf: where archives wait for their owners. A folder for now; whoever uses it does not know.

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

/// Archives by the jobs that make them; cheap to clone.
#[derive(Clone, Debug)]
pub struct ExportStore {
    folder: Arc<PathBuf>,
}

/// An archive that is being written, on a thread that may wait for the disk. Dropped before it is
/// finished, it was never there.
pub struct ArchiveWriter {
    pieces: mpsc::Sender<ArchiveChunk>,
    writer: JoinHandle<io::Result<u64>>,
}

enum ArchiveChunk {
    File(String),
    Bytes(Vec<u8>),
    End,
}

/// An archive that is ready.
#[derive(Debug)]
pub struct ArchiveFile {
    /// To be read from its beginning.
    pub file: File,
    /// In bytes.
    pub size: u64,
}

impl ExportStore {
    /// A shelf in this folder, which is made when it is needed.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder: Arc::new(folder) }
    }

    /// Begins an archive; `attempt` keeps those apart who do not know of each other.
    pub fn begin(&self, id: JobId, attempt: i64) -> ArchiveWriter {
        let (pieces, inbox) = mpsc::channel(16);
        let part = self.folder.join(format!("{id}.part{attempt}"));
        let whole = self.place(id);
        let writer = spawn_blocking(move || {
            let written = write(&part, inbox).and_then(|size| {
                fs::rename(&part, &whole)?;
                File::open(whole.parent().unwrap_or(&whole))?.sync_all()?;
                Ok(size)
            });
            if written.is_err() {
                let _ = fs::remove_file(&part); // not there is as good
            }
            written
        });
        ArchiveWriter { pieces, writer }
    }

    /// An archive that was finished; `None` if it is not here.
    ///
    /// # Errors
    /// If the disk does not give it.
    pub async fn open(&self, id: JobId) -> io::Result<Option<ArchiveFile>> {
        let place = self.place(id);
        apart(move || match File::open(place) {
            Ok(file) => Ok(Some(ArchiveFile { size: file.metadata()?.len(), file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    /// Removes every file that belongs to no archive of the store (any more), and what attempts
    /// that are over have left of one.
    ///
    /// # Errors
    /// The disk's, or the database's.
    pub async fn sweep(&self, store: &Store) -> io::Result<()> {
        let folder = self.folder.clone();
        let found = apart(move || list(&folder)).await?;
        if found.is_empty() {
            return Ok(());
        }
        let ids = found.iter().map(|(id, _)| *id).collect();
        let known = store.existing_exports(ids).await.map_err(io::Error::other)?;
        let known: HashMap<JobId, Option<i64>> = known.into_iter().collect();
        apart(move || {
            for (id, path) in &found {
                let kept = known.get(id).is_some_and(|running| match attempt(path) {
                    Some(attempt) => *running == Some(attempt),
                    None => true,
                });
                if !kept {
                    gone(fs::remove_file(path))?;
                }
            }
            Ok(())
        })
        .await
    }

    fn place(&self, id: JobId) -> PathBuf {
        self.folder.join(format!("{id}.zip"))
    }
}

impl ArchiveWriter {
    /// Begins a file of the archive.
    ///
    /// # Errors
    /// If the disk refused something before.
    pub async fn file(&mut self, path: impl Into<String>) -> io::Result<()> {
        self.put(ArchiveChunk::File(path.into())).await
    }

    /// Writes to the file that was begun last.
    ///
    /// # Errors
    /// If the disk refused something before.
    pub async fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.put(ArchiveChunk::Bytes(bytes)).await
    }

    /// Puts the archive on the shelf; gives its size in bytes.
    ///
    /// # Errors
    /// If the disk refused something.
    pub async fn finish(mut self) -> io::Result<u64> {
        self.put(ArchiveChunk::End).await?;
        self.writer.await.map_err(io::Error::other)?
    }

    async fn put(&mut self, piece: ArchiveChunk) -> io::Result<()> {
        if self.pieces.send(piece).await.is_ok() {
            return Ok(());
        }
        match (&mut self.writer).await.map_err(io::Error::other)? {
            Ok(_) => Err(io::Error::other("the archive ended too early")),
            Err(error) => Err(error),
        }
    }
}

fn write(part: &std::path::Path, mut inbox: mpsc::Receiver<ArchiveChunk>) -> io::Result<u64> {
    if let Some(folder) = part.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(part)?;
    let mut zip = ZipWriter::new(BufWriter::new(file));
    let options = SimpleFileOptions::default().large_file(true).unix_permissions(0o600);
    while let Some(piece) = inbox.blocking_recv() {
        match piece {
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
    Err(io::Error::other("given up before its end"))
}

/// Which attempt at an archive writes this file; `None` if it is a whole one.
fn attempt(path: &std::path::Path) -> Option<i64> {
    path.extension()?.to_str()?.strip_prefix("part")?.parse().ok()
}

/// That a file is not there any more is as good: its writer gave it up, or another sweep was sooner.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The files on the shelf and whose they are; others are left alone.
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

async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
