//! What is said, and how far it has come.

use std::collections::HashMap;

use base::clock::Time;
use base::ids::{AttachmentId, ConversationId, MessageId, UserId};
use diesel::prelude::{Queryable, Selectable};

use super::files::Attachment;
use crate::schema::messages;

/// Something said in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = messages)]
pub struct Message {
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
    pub sent_at: Time,
}

/// Something to be said.
#[derive(Clone, Debug)]
pub struct NewMessage {
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
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Append {
    /// It is stored.
    Stored(Message),
    /// Its sender said this before; here is what was stored then.
    Repeated(Message),
    /// Its sender is not in the conversation, or there is none.
    NotAMember,
    /// One of the two in a direct conversation blocks the other.
    Blocked,
    /// What it answers is not in the conversation.
    NoSuchReply,
    /// A file that it carries does not exist, as far as its sender may know.
    NoSuchAttachment,
}

/// What became of some messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The conversation's roster; 0 if there is no such conversation.
    pub roster: i64,
    /// One for each message, in the order given.
    pub results: Vec<Append>,
    /// What those messages carry that carry something.
    pub attachments: HashMap<MessageId, Vec<Attachment>>,
}

/// Which part of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The first ones after this number.
    After(i64),
    /// The last ones before this number.
    Before(i64),
    /// The last ones.
    Latest,
}

/// How far something has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// To one of the person's devices.
    Delivered,
    /// To the person; means delivered too.
    Read,
}

/// What came of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
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
