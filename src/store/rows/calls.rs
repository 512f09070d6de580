//! Calls that were made, and who was in them.

use base::clock::Timestamp;
use base::ids::{CallId, ConversationId, NodeId, UserId};
use diesel::prelude::{Queryable, Selectable};

use super::text_enum::word;
use crate::schema::calls;

word! {
    /// What a call began as.
    CallMedia: "kind of call" {
        /// Voices.
        Audio = "audio",
        /// Voices and pictures.
        Video = "video",
    }
}

word! {
    /// Why a call is over.
    CallReason: "reason of a call's end" {
        /// Somebody hung up, and nobody else was left.
        Hangup = "hangup",
        /// Whoever was called said no.
        Declined = "declined",
        /// Whoever was called was in another call.
        Busy = "busy",
        /// The caller gave up before anybody answered.
        Cancelled = "cancelled",
        /// Nobody answered in time.
        Missed = "missed",
        /// It lasted as long as a call may.
        Timeout = "timeout",
        /// The last one in it was put out.
        Kicked = "kicked",
        /// The server failed.
        Failed = "failed",
    }
}

word! {
    /// What became of one person in a call.
    CallOutcome: "outcome of a call" {
        /// Their devices ring, or rang when the server failed.
        Called = "called",
        /// They were in it.
        Joined = "joined",
        /// They said no.
        Declined = "declined",
        /// They were in another call.
        Busy = "busy",
        /// They did not answer.
        Missed = "missed",
    }
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = calls)]
pub struct CallRow {
    /// Which.
    pub id: CallId,
    /// The conversation it belongs to, if any.
    pub conversation_id: Option<ConversationId>,
    /// The name by which it is entered, if any.
    pub session: Option<String>,
    /// Who began it.
    pub created_by: UserId,
    /// What it began as.
    pub media: CallMedia,
    /// When it began.
    pub started_at: Timestamp,
    /// When somebody answered.
    pub answered_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it ended.
    pub reason: Option<CallReason>,
}

/// Somebody in a call.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct CallParticipantRow {
    /// Who.
    pub user_id: UserId,
    /// What became of them.
    pub outcome: CallOutcome,
    /// When they first came in.
    pub joined_at: Option<Timestamp>,
    /// When they last went out.
    pub left_at: Option<Timestamp>,
}

/// A call in somebody's history: the call, its caller's name, and everybody with their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The call.
    pub call: CallRow,
    /// The name of who began it.
    pub caller: String,
    /// Everybody it concerned, the caller too, with their names.
    pub people: Vec<(CallParticipantRow, String)>,
}

/// A call that begins.
#[derive(Clone, Debug)]
pub struct NewCall {
    /// Made by the caller of this method.
    pub id: CallId,
    /// The conversation it belongs to.
    pub conversation_id: Option<ConversationId>,
    /// The name by which it is entered.
    pub session: Option<String>,
    /// Who begins it.
    pub created_by: UserId,
    /// What it begins as.
    pub media: CallMedia,
    /// The node that runs it.
    pub node: NodeId,
    /// Whose devices ring.
    pub callees: Vec<UserId>,
    /// Who is called and does not hear of it, neither now nor later: they block the caller.
    pub unheard: Vec<UserId>,
    /// Until when they ring.
    pub rings_until: Timestamp,
}

/// A call that is over.
#[derive(Clone, Debug)]
pub struct EndedCall {
    /// Which.
    pub id: CallId,
    /// Why.
    pub reason: CallReason,
    /// When it was answered.
    pub answered_at: Option<Timestamp>,
    /// Everybody it concerned.
    pub people: Vec<CallParticipantRow>,
}

/// What became of a write about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallWriteOutcome {
    /// It is written.
    Done,
    /// It was written before, or the call is over.
    Already,
    /// Another node has the call by now.
    Fenced,
}

/// Whether somebody may call somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPermission {
    /// They may.
    Allowed,
    /// They may, as far as they know: the other one blocks them and hears nothing of it.
    Unheard,
    /// No reach, or a block of their own.
    NotAllowed,
    /// Nobody of this id, or oneself.
    NoSuchUser,
}
