//! The files that a person brought, in an archive: a list of them, and their bytes.

use base::ids::UserId;
use futures_util::StreamExt;
use serde_json::json;
use store::Store;

use super::contents::lines;
use crate::domain::export_store::ArchiveWriter;
use crate::domain::files::{FileError, FileService};
use crate::domain::jobs::JobError;
use crate::integrations::blob_store::{BlobKey, hex};

const PAGE: usize = 200;

/// Writes all of them. A file that goes meanwhile is left out.
pub(super) async fn write(
    store: &Store,
    files: &FileService,
    user: UserId,
    archive: &mut ArchiveWriter,
) -> Result<(), JobError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.attachments_by(user, after, PAGE).await?;
        after = page.last().map(|(file, _)| file.id).filter(|_| page.len() == PAGE);
        all.extend(page);
        if after.is_none() {
            break;
        }
    }
    archive.file("files.jsonl").await?;
    let rows = all.iter().map(|(file, blob)| {
        json!({
            "id": file.id, "name": file.name, "content_type": file.content_type,
            "size": file.size, "sha256": hex(&blob.hash), "created_at": file.created_at,
        })
    });
    archive.write(lines(rows)?).await?;
    for (file, blob) in &all {
        let size = u64::try_from(blob.size).unwrap_or(0);
        let mut pieces = match files.read(&BlobKey::new(&blob.hash, blob.id), 0..size).await {
            Err(FileError::NoSuchFile) => continue,
            read => read.map_err(|error| JobError::transient(error.to_string()))?,
        };
        // What somebody calls it may be no name for a file: the list says it.
        archive.file(format!("files/{}", file.id)).await?;
        while let Some(piece) = pieces.next().await {
            archive.write(piece?.to_vec()).await?;
        }
    }
    Ok(())
}
