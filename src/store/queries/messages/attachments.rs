//! The files that messages carry.

use std::collections::HashMap;

use base::ids::{AttachmentId, MessageId};
use diesel::QueryResult;

use super::super::{Conn, files};
use crate::rows::{AppendOutcome, AttachmentRow, NewMessageRow};

/// The files that each message is to carry: its own, and those of the message that it passes on. All
/// are held.
pub(super) fn files_of(
    c: &mut Conn,
    new: &[NewMessageRow],
) -> QueryResult<HashMap<MessageId, Vec<AttachmentId>>> {
    let targets: Vec<_> = new.iter().filter_map(|new| new.forward_of).collect();
    let own = new.iter().flat_map(|new| new.attachments.iter().copied()).collect();
    files::hold(c, own, &targets)?;
    let passed =
        if targets.is_empty() { HashMap::new() } else { files::attachments_of(c, targets)? };
    let all = new.iter().filter_map(|new| {
        let target = new.forward_of.and_then(|target| passed.get(&target));
        let theirs = target.into_iter().flatten().map(|file| file.id);
        let ids: Vec<_> = new.attachments.iter().copied().chain(theirs).collect();
        (!ids.is_empty()).then_some((new.id, ids))
    });
    Ok(all.collect())
}

/// What the messages of these results carry; most often nothing, which needs no question.
pub(super) fn carried(
    c: &mut Conn,
    results: &[AppendOutcome],
    no_files: bool,
) -> QueryResult<HashMap<MessageId, Vec<AttachmentRow>>> {
    let ids = results.iter().filter_map(|result| match result {
        AppendOutcome::Repeated(message) => Some(message.id),
        AppendOutcome::Stored(message) if !no_files => Some(message.id),
        _ => None,
    });
    let ids: Vec<_> = ids.collect();
    if ids.is_empty() { Ok(HashMap::new()) } else { files::attachments_of(c, ids) }
}
