//! The files attached to messages.

use std::collections::HashMap;

use base::ids::{AttachmentId, MessageId};
use diesel::QueryResult;

use super::super::{Conn, files};
use crate::rows::{AppendOutcome, AttachmentRow, NewMessageRow};

/// The files that each message is to carry: its own, and those of the message that it forwards. All
/// are locked.
pub(super) fn files_to_attach(
    c: &mut Conn,
    new: &[NewMessageRow],
) -> QueryResult<HashMap<MessageId, Vec<AttachmentId>>> {
    let targets: Vec<_> = new.iter().filter_map(|new| new.forward_of).collect();
    let own = new.iter().flat_map(|new| new.attachments.iter().copied()).collect();
    files::lock_attachments(c, own, &targets)?;
    let forwarded =
        if targets.is_empty() { HashMap::new() } else { files::attachments_of(c, targets)? };
    let all = new.iter().filter_map(|new| {
        let target = new.forward_of.and_then(|target| forwarded.get(&target));
        let forwarded_ids = target.into_iter().flatten().map(|file| file.id);
        let ids: Vec<_> = new.attachments.iter().copied().chain(forwarded_ids).collect();
        (!ids.is_empty()).then_some((new.id, ids))
    });
    Ok(all.collect())
}

/// The attachments of the messages in these results; usually none, which needs no query.
pub(super) fn attachments_of_results(
    c: &mut Conn,
    results: &[AppendOutcome],
    no_files: bool,
) -> QueryResult<HashMap<MessageId, Vec<AttachmentRow>>> {
    let ids = results.iter().filter_map(|result| match result {
        AppendOutcome::Duplicate(message) => Some(message.id),
        AppendOutcome::Stored(message) if !no_files => Some(message.id),
        _ => None,
    });
    let ids: Vec<_> = ids.collect();
    if ids.is_empty() { Ok(HashMap::new()) } else { files::attachments_of(c, ids) }
}
