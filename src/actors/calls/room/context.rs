//! What a room is made of, now and after any restart; when it goes, the call is over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::super::CallService as Way;
use super::super::call_index::CallIndex;
use crate::actors::media;
use crate::actors::peer_nodes::PeerNodes;
use crate::actors::sessions::{EventRouter, OutboundEvent};
use crate::cluster::{FencingToken, OwnershipDirectory};
use crate::domain::calls::{CallDomain, CallState, EventTarget};
use crate::protocol::calls::CallEndReason;
use crate::protocol::server::{CallServerEvent, ServerEvent};

/// That a call is this node's.
pub(in crate::actors::calls) struct RoomOwnership {
    /// Under which key that is written in the directory.
    pub(in crate::actors::calls) key: String,
    /// Which of its owners this node is.
    pub(in crate::actors::calls) epoch: u64,
    /// What a write must carry, where others could write as well.
    pub(in crate::actors::calls) fence: Option<FencingToken>,
    /// The directory.
    pub(in crate::actors::calls) directory: Arc<dyn OwnershipDirectory>,
}

/// Shared by all lives of a room.
pub(in crate::actors::calls) struct RoomContext {
    pub(super) deeds: CallDomain,
    pub(super) switchboard: EventRouter,
    pub(super) neighbours: PeerNodes,
    pub(super) board: CallIndex,
    pub(super) media: media::MediaServiceConfig,
    pub(super) hold: RoomOwnership,
    /// The call goes on at another node: its end is not this room's.
    gone: AtomicBool,
    call: Mutex<CallState>,
    permits: Mutex<HashMap<u32, OwnedSemaphorePermit>>,
}

impl RoomContext {
    pub(in crate::actors::calls) fn new(way: &Way, hold: RoomOwnership, call: CallState) -> Self {
        Self {
            deeds: way.domain.clone(),
            switchboard: way.switchboard.clone(),
            neighbours: way.neighbours.clone(),
            board: way.board.clone(),
            media: way.media.clone(),
            hold,
            gone: AtomicBool::new(false),
            call: Mutex::new(call),
            permits: Mutex::default(),
        }
    }

    /// Whether the call goes on at another node.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Whether the call is surely still this node's.
    pub(super) fn owns_lease(&self) -> bool {
        !self.is_gone() && self.hold.directory.lease_is_valid()
    }

    /// The call goes on at another node.
    pub(super) fn relinquish(&self) {
        self.gone.store(true, Ordering::Release);
        self.board.remove(self.recall().id());
    }

    fn call(&self) -> MutexGuard<'_, CallState> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permits(&self) -> MutexGuard<'_, HashMap<u32, OwnedSemaphorePermit>> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call after its last whole step.
    pub(super) fn recall(&self) -> CallState {
        self.call().clone()
    }

    /// The call after another whole step.
    pub(super) fn remember(&self, call: &CallState) {
        *self.call() = call.clone();
    }

    /// A participant's place among all devices in calls.
    pub(super) fn keep(&self, number: u32, permit: OwnedSemaphorePermit) {
        self.permits().insert(number, permit);
    }

    /// The participant is out.
    pub(super) fn free(&self, number: u32) {
        self.permits().remove(&number);
    }

    /// Tells whoever is to hear it.
    pub(super) fn tell(&self, to: &EventTarget, news: CallServerEvent) {
        let event = OutboundEvent::new(&ServerEvent::Call(news));
        match to {
            EventTarget::People(people) => self.switchboard.publish(people, &event),
            EventTarget::Seat(seat) => {
                self.switchboard.send_to_session(seat.node, seat.user, seat.session, &event);
            }
        }
    }
}

/// The room was stopped, or failed too often: nobody must wait for it. History is closed by
/// housekeeping, which sees that the call is not on the board.
impl Drop for RoomContext {
    fn drop(&mut self) {
        let mut call = self.recall();
        if call.ended().is_none() && !self.is_gone() {
            call.take_news(); // of a call that did not come to life: nobody heard of it
            call.end(CallEndReason::Failed);
            self.board.remove(call.id());
            for (to, news) in call.take_news() {
                self.tell(&to, news);
            }
        }
    }
}
