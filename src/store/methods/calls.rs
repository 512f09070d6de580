//! Calls in progress, and the call history.

use base::clock::Timestamp;
use base::ids::{CallId, UserId};
use serde_json::Value;

use super::accounts::to_sql_limit;
use crate::error::Result;
use crate::rows::{
    CallPermission, CallRecord, CallWriteOutcome, EndedCall, FencingTokenRow, InvitationRule,
    NewCall,
};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// Whether `me` may call `other`.
    pub async fn call_permission(
        &self,
        me: UserId,
        other: UserId,
        rule: InvitationRule,
    ) -> Result<CallPermission> {
        read_tx!(self, calls::call_permission(me, other, rule))
    }

    /// Records a new call, and in the same transaction an outbox entry of topic `call` for the
    /// callees, who may be offline. A stale fencing token rejects this and every other write that
    /// carries one.
    pub async fn create_call(
        &self,
        new: NewCall,
        token: Option<FencingTokenRow>,
        now: Timestamp,
    ) -> Result<CallWriteOutcome> {
        write_tx!(self, calls::create_call(new, token, now))
    }

    /// Records one more callee and, if they are to be notified, an outbox entry of topic `call` for
    /// them; false if the call is over.
    pub async fn add_callee(
        &self,
        id: CallId,
        from: UserId,
        (user, is_notified): (UserId, bool),
        rings_until: Timestamp,
        now: Timestamp,
    ) -> Result<bool> {
        write_tx!(self, calls::add_callee(id, from, (user, is_notified), rings_until, now))
    }

    /// Records when a call was first answered.
    pub async fn answer_call(
        &self,
        id: CallId,
        token: Option<FencingTokenRow>,
        now: Timestamp,
    ) -> Result<CallWriteOutcome> {
        write_tx!(self, calls::answer_call(id, token, now))
    }

    /// Stores the state of an open call as its room serialised it.
    pub async fn save_call_state(
        &self,
        id: CallId,
        state: Value,
        token: Option<FencingTokenRow>,
    ) -> Result<CallWriteOutcome> {
        write_tx!(self, calls::save_call_state(id, state, token))
    }

    /// The stored state of an open call.
    pub async fn call_state(&self, id: CallId) -> Result<Option<Value>> {
        read_tx!(self, calls::call_state(id))
    }

    /// Closes a call, once. Those who missed it get an outbox entry of topic `call_missed`; the
    /// call's lease is released.
    pub async fn end_call(
        &self,
        end: EndedCall,
        token: Option<FencingTokenRow>,
        now: Timestamp,
    ) -> Result<CallWriteOutcome> {
        write_tx!(self, calls::end_call(end, token, now))
    }

    /// The calls that nobody has closed.
    pub async fn open_calls(&self) -> Result<Vec<CallId>> {
        read_tx!(self, calls::open_calls())
    }

    /// Closes calls that a failed server or room left open; returns how many of them were open.
    pub async fn close_calls(&self, ids: Vec<CallId>, now: Timestamp) -> Result<usize> {
        write_tx!(self, calls::close_calls(ids, now))
    }

    /// The calls that concerned a user, newest first; `before` is the last one of the previous
    /// page.
    pub async fn call_history(
        &self,
        me: UserId,
        before: Option<CallId>,
        limit: usize,
    ) -> Result<Vec<CallRecord>> {
        let limit = to_sql_limit(limit);
        read_tx!(self, calls::call_history(me, before, limit))
    }
}
