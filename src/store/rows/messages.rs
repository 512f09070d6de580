//! What is said, and how far it has come.

use std::collections::HashMap;

use base::clock::Timestamp;
use base::ids::{AttachmentId, ConversationId, MessageId, UserId};
use diesel::prelude::{Queryable, Selectable};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::MemberRole;
use super::files::AttachmentRow;
use super::text_enum::word;
use crate::schema::messages;

/// Something said in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = messages)]
pub struct MessageRow {
    /// Which.
    pub id: MessageId,
    /// Where.
    pub conversation_id: ConversationId,
    /// Its number there: from 1, without holes.
    pub seq: i64,
    /// Who said it.
    pub sender_id: UserId,
    /// What its sender calls it: unique among what they said there.
    pub client_id: String,
    /// What was said; the store does not care in which form.
    pub body: String,
    /// What it answers, in the same conversation.
    pub reply_to: Option<MessageId>,
    /// When it was stored.
    pub sent_at: Timestamp,
    /// The number of its newest change; 0: it is as it was said.
    pub revision: i64,
    /// When its text last changed.
    pub edited_at: Option<Timestamp>,
    /// When it was deleted or its time was over: nothing but its number is left.
    pub deleted_at: Option<Timestamp>,
    /// When it disappears.
    pub expires_at: Option<Timestamp>,
    /// When it was pinned.
    pub pinned_at: Option<Timestamp>,
    /// Who said it first, if it is passed on.
    pub forwarded_from: Option<UserId>,
    /// Whom it mentions: a list of ids.
    pub mentions: Option<Value>,
    /// What happened, if nobody said it: a [`SystemEventRow`].
    pub system: Option<Value>,
    /// Who blocks its sender and never sees it.
    pub withheld_from: Option<UserId>,
}

impl MessageRow {
    /// As it is at `now`: of what has disappeared nothing but its number is left, removed or not.
    pub fn at(mut self, now: Timestamp) -> Self {
        if self.deleted_at.is_none() && self.expires_at.is_some_and(|end| end <= now) {
            self.deleted_at = self.expires_at;
            self.body.clear();
            self.reply_to = None;
            self.edited_at = None;
            self.pinned_at = None;
            self.forwarded_from = None;
            self.mentions = None;
        }
        self
    }
}

word! {
    /// What happened in a conversation.
    Happened: "kind of happening" {
        /// Came by an invite.
        Joined = "joined",
        /// Was put in.
        Added = "added",
        /// Went.
        Left = "left",
        /// Was put out.
        Removed = "removed",
        /// The title changed.
        Renamed = "renamed",
        /// A role changed.
        Role = "role",
        /// Another setting changed.
        Settings = "settings",
    }
}

/// What happened in a conversation, said by nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemEventRow {
    /// What.
    pub what: Happened,
    /// To whom, if not to whoever did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The new title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The new role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<MemberRole>,
}

impl SystemEventRow {
    /// Something that happened to whoever did it.
    pub const fn new(what: Happened) -> Self {
        Self { what, user_id: None, title: None, role: None }
    }

    /// Something that happened to somebody.
    pub const fn to(what: Happened, user: UserId) -> Self {
        Self { what, user_id: Some(user), title: None, role: None }
    }
}

/// A message as somebody sees it, with what it carries and who reacted and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageWithDetails {
    /// The message.
    pub message: MessageRow,
    /// Who reacted with what.
    pub reactions: Vec<(UserId, String)>,
    /// The files it carries.
    pub attachments: Vec<AttachmentRow>,
}

/// Something to be said.
#[derive(Clone, Debug)]
pub struct NewMessageRow {
    /// Made by the caller; not used if it turns out to be a repeat.
    pub id: MessageId,
    /// Who says it.
    pub sender: UserId,
    /// What its sender calls it: the same one again is a repeat.
    pub client_id: String,
    /// What is said.
    pub body: String,
    /// What it answers.
    pub reply_to: Option<MessageId>,
    /// What it carries: files of its sender, or that its sender may see.
    pub attachments: Vec<AttachmentId>,
    /// Whom it mentions.
    pub mentions: Vec<UserId>,
    /// After how many seconds it disappears; `None`: as the conversation has it.
    pub expires_in: Option<i64>,
    /// The message it passes on; its text is that one's, unless it is encrypted.
    pub forward_of: Option<MessageId>,
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is stored.
    Stored(MessageRow),
    /// Its sender said this before; here is what was stored then.
    Repeated(MessageRow),
    /// Its sender is not in the conversation, or there is none.
    NotAMember,
    /// Whoever says it blocks the other one of a direct conversation.
    Blocked,
    /// Only admins may say something here.
    NotAllowed,
    /// Somebody mentioned is not in the conversation.
    NoSuchMention,
    /// What it passes on is not there for its sender, or is encrypted, or would be.
    NoSuchForward,
    /// What it answers is not in the conversation.
    NoSuchReply,
    /// A file that it carries does not exist, as far as its sender may know.
    NoSuchAttachment,
}

/// What became of some messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendBatchOutcome {
    /// The conversation's roster; 0 if there is no such conversation.
    pub roster: i64,
    /// One for each message, in the order given.
    pub results: Vec<AppendOutcome>,
    /// What those messages carry that carry something.
    pub attachments: HashMap<MessageId, Vec<AttachmentRow>>,
}

/// Which part of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRange {
    /// The first ones after this number.
    After(i64),
    /// The same, of what is brought to the viewer's devices.
    Since(i64),
    /// The last ones before this number.
    Before(i64),
    /// The last ones.
    Latest,
}

/// How far something has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptKind {
    /// To one of the person's devices.
    Delivered,
    /// To the person; means delivered too.
    Read,
}

/// What came of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptOutcome {
    /// The person's positions moved, to these.
    Moved {
        /// Up to here one of their devices has it.
        delivered_seq: i64,
        /// Up to here they have read.
        read_seq: i64,
    },
    /// They were there already.
    Unchanged,
    /// They are not in the conversation.
    NotAMember,
}

/// What somebody looks for.
#[derive(Clone, Debug)]
pub struct SearchParams {
    /// Who.
    pub viewer: UserId,
    /// Words of [`crate::tokenizer`]: a message has all of them, and the last may go on.
    pub words: Vec<String>,
    /// Only there.
    pub within: Option<ConversationId>,
    /// Below the number that a page before gave.
    pub before: Option<i64>,
}

/// A page of what somebody looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPage {
    /// What was said last comes first.
    pub shown: Vec<MessageWithDetails>,
    /// Below this number there may be more; a page may be short or empty and yet not the last.
    pub next: Option<i64>,
}
