//! Attachments in an export: a list and the file contents.

use base::ids::UserId;
use futures_util::StreamExt;
use serde_json::json;
use store::Store;

use super::contents::to_json_lines;
use crate::domain::export_store::ArchiveWriter;
use crate::domain::files::{FileError, FileService};
use crate::domain::jobs::JobError;
use crate::integrations::blob_store::{BlobKey, hex};

const PAGE_SIZE: usize = 200;

/// Writes all attachments uploaded by the user. Files deleted meanwhile are omitted.
pub(super) async fn write(
    store: &Store,
    files: &FileService,
    user: UserId,
    archive: &mut ArchiveWriter,
) -> Result<(), JobError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.attachments_by(user, after, PAGE_SIZE).await?;
        after = page.last().map(|(file, _)| file.id).filter(|_| page.len() == PAGE_SIZE);
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
    archive.write(to_json_lines(rows)?).await?;
    for (file, blob) in &all {
        let size = u64::try_from(blob.size).unwrap_or(0);
        let mut chunks = match files.read(&BlobKey::new(&blob.hash, blob.id), 0..size).await {
            Err(FileError::FileNotFound) => continue,
            read => read.map_err(|error| JobError::transient(error.to_string()))?,
        };
        // The display name may be unusable as a file name; it is in the list.
        archive.file(format!("files/{}", file.id)).await?;
        while let Some(chunk) = chunks.next().await {
            archive.write(chunk?.to_vec()).await?;
        }
    }
    Ok(())
}
