//! Work that must be done once, whatever happens to whoever does it; and what it makes.

use base::clock::Timestamp;
use base::ids::{JobId, UserId};
use diesel::prelude::{Queryable, Selectable};
use serde_json::Value;

use super::text_enum::word;
use crate::schema::jobs;

word! {
    /// How far a job has come.
    JobState: "job state" {
        /// It waits for its turn.
        Waiting = "waiting",
        /// Somebody has leased it.
        Running = "running",
        /// It is done.
        Done = "done",
        /// It failed too often.
        Dead = "dead",
    }
}

/// A job to be written in the transaction that needs it.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Made by the caller.
    pub id: JobId,
    /// What is to be done, as `account.export`.
    pub kind: String,
    /// Whom it is about.
    pub user_id: Option<UserId>,
    /// What else must be known; ids and settings, never what is private.
    pub payload: Value,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = jobs)]
pub struct JobRow {
    /// Which.
    pub id: JobId,
    /// What is to be done.
    pub kind: String,
    /// Whom it is about.
    pub user_id: Option<UserId>,
    /// What else must be known.
    pub payload: Value,
    /// How far it has come.
    pub state: JobState,
    /// How often it was taken; whoever took it last knows the same number.
    pub attempts: i64,
    /// When it may be taken (again).
    pub due_at: Timestamp,
    /// Why it failed last.
    pub failure: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What came of asking for work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobClaimOutcome {
    /// It is leased to whoever asked.
    Taken(JobRow),
    /// It was taken too often without an end: it is dead now.
    Buried(JobRow),
    /// Nothing is due.
    Nothing,
}

/// How a lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobResolution {
    /// It is done.
    Done,
    /// It is to be tried again.
    Retry {
        /// When.
        at: Timestamp,
        /// Why.
        failure: String,
    },
    /// It is given up.
    Dead {
        /// Why.
        failure: String,
    },
}

/// An archive with everything of a person, or the promise of one.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Export {
    /// Which; that of the job that makes it.
    pub id: JobId,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// How far the job has come.
    pub state: JobState,
    /// When it was ready.
    pub ready_at: Option<Timestamp>,
    /// From then on it is gone.
    pub expires_at: Option<Timestamp>,
    /// In bytes.
    pub size: Option<i64>,
}
