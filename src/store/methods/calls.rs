//! Calls that are made, and the memory of them.

use base::clock::Timestamp;
use base::ids::{CallId, UserId};
use serde_json::Value;

use super::accounts::rows;
use crate::error::Result;
use crate::rows::{
    CallPermission, CallRecord, CallWriteOutcome, EndedCall, FencingTokenRow, InvitationRule,
    NewCall,
};
use crate::store::{Store, change, look};

impl Store {
    /// Whether `me` may call `other`.
    pub async fn call_reach(
        &self,
        me: UserId,
        other: UserId,
        reach: InvitationRule,
    ) -> Result<CallPermission> {
        look!(self, calls::call_reach(me, other, reach))
    }

    /// Writes that a call begins, and in the same transaction an entry of topic `call` into the
    /// outbox, for those who are to be called and may not be here. A void `fence` refuses this and
    /// every other write that carries it.
    pub async fn begin_call(
        &self,
        new: NewCall,
        fence: Option<FencingTokenRow>,
        now: Timestamp,
    ) -> Result<CallWriteOutcome> {
        change!(self, calls::begin_call(new, fence, now))
    }

    /// Writes that one person more is called, and if they hear of it the entry of topic `call` for
    /// them; false if the call is over.
    pub async fn ring_call(
        &self,
        id: CallId,
        from: UserId,
        (user, heard): (UserId, bool),
        rings_until: Timestamp,
        now: Timestamp,
    ) -> Result<bool> {
        change!(self, calls::ring_call(id, from, (user, heard), rings_until, now))
    }

    /// Writes when a call was first answered.
    pub async fn answer_call(
        &self,
        id: CallId,
        fence: Option<FencingTokenRow>,
        now: Timestamp,
    ) -> Result<CallWriteOutcome> {
        change!(self, calls::answer_call(id, fence, now))
    }

    /// Keeps an open call as its room remembers it.
    pub async fn keep_call(
        &self,
        id: CallId,
        state: Value,
        fence: Option<FencingTokenRow>,
    ) -> Result<CallWriteOutcome> {
        change!(self, calls::keep_call(id, state, fence))
    }

    /// What was kept of an open call.
    pub async fn kept_call(&self, id: CallId) -> Result<Option<Value>> {
        look!(self, calls::kept_call(id))
    }

    /// Closes a call, once. Those who missed it get an entry of topic `call_missed` in the outbox;
    /// what proved ownership is given up.
    pub async fn end_call(
        &self,
        end: EndedCall,
        fence: Option<FencingTokenRow>,
        now: Timestamp,
    ) -> Result<CallWriteOutcome> {
        change!(self, calls::end_call(end, fence, now))
    }

    /// The calls that nobody has closed.
    pub async fn open_calls(&self) -> Result<Vec<CallId>> {
        look!(self, calls::open_calls())
    }

    /// Closes calls that a server or a room left open when it failed; how many of them were open.
    pub async fn close_calls(&self, ids: Vec<CallId>, now: Timestamp) -> Result<usize> {
        change!(self, calls::close_calls(ids, now))
    }

    /// The calls that concerned a person, the newest first. `before` is the last one of the piece
    /// before.
    pub async fn calls_of(
        &self,
        me: UserId,
        before: Option<CallId>,
        limit: usize,
    ) -> Result<Vec<CallRecord>> {
        let limit = rows(limit);
        look!(self, calls::calls_of(me, before, limit))
    }
}
