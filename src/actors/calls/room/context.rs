//! What a room is built from, at its start and after a restart; dropping it ends the call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::super::CallService;
use super::super::call_index::CallIndex;
use super::RoomHandle;
use crate::actors::delivery::{EventRouter, OutboundEvent};
use crate::actors::media;
use crate::actors::peer_nodes::PeerNodes;
use crate::cluster::{FencingToken, OwnershipDirectory};
use crate::domain::calls::{CallDomain, CallState, EventTarget};
use crate::protocol::calls::CallEndReason;
use crate::protocol::server::{CallServerEvent, ServerEvent};

/// The ownership of a call by this node.
pub(in crate::actors::calls) struct RoomOwnership {
    /// Key in the ownership directory.
    pub(in crate::actors::calls) key: String,
    /// Epoch of this ownership.
    pub(in crate::actors::calls) epoch: u64,
    /// The fencing token that a write must carry, if other nodes could write as well.
    pub(in crate::actors::calls) fence: Option<FencingToken>,
    /// The ownership directory.
    pub(in crate::actors::calls) directory: Arc<dyn OwnershipDirectory>,
}

/// Shared by all incarnations of a room.
pub(in crate::actors::calls) struct RoomContext {
    pub(super) domain: CallDomain,
    pub(super) event_router: EventRouter,
    pub(super) peer_nodes: PeerNodes,
    pub(super) call_index: CallIndex<RoomHandle>,
    pub(super) media: media::MediaServiceConfig,
    pub(super) ownership: RoomOwnership,
    /// The call continues on another node, so its end is not this room's to report.
    handed_off: AtomicBool,
    call: Mutex<CallState>,
    permits: Mutex<HashMap<u32, OwnedSemaphorePermit>>,
}

impl RoomContext {
    pub(in crate::actors::calls) fn new(
        service: &CallService,
        ownership: RoomOwnership,
        call: CallState,
    ) -> Self {
        Self {
            domain: service.domain.clone(),
            event_router: service.event_router.clone(),
            peer_nodes: service.peer_nodes.clone(),
            call_index: service.call_index.clone(),
            media: service.media.clone(),
            ownership,
            handed_off: AtomicBool::new(false),
            call: Mutex::new(call),
            permits: Mutex::default(),
        }
    }

    /// Whether the call continues on another node.
    pub(super) fn is_handed_off(&self) -> bool {
        self.handed_off.load(Ordering::Acquire)
    }

    /// Whether this node surely still owns the call.
    pub(super) fn owns_lease(&self) -> bool {
        !self.is_handed_off() && self.ownership.directory.lease_is_valid()
    }

    /// Gives up the call, which continues on another node.
    pub(super) fn relinquish(&self) {
        self.handed_off.store(true, Ordering::Release);
        self.call_index.remove(self.stored_call().id());
    }

    fn call(&self) -> MutexGuard<'_, CallState> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permits(&self) -> MutexGuard<'_, HashMap<u32, OwnedSemaphorePermit>> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call after its last complete step.
    pub(super) fn stored_call(&self) -> CallState {
        self.call().clone()
    }

    /// Stores the call after a complete step.
    pub(super) fn store_call(&self, call: &CallState) {
        *self.call() = call.clone();
    }

    /// Keeps the permit of a participant.
    pub(super) fn keep_permit(&self, number: u32, permit: OwnedSemaphorePermit) {
        self.permits().insert(number, permit);
    }

    /// Releases the permit of a participant who has left.
    pub(super) fn release_permit(&self, number: u32) {
        self.permits().remove(&number);
    }

    /// Sends an event to its target.
    pub(super) fn publish(&self, to: &EventTarget, event: CallServerEvent) {
        let event = OutboundEvent::new(&ServerEvent::Call(event));
        match to {
            EventTarget::Users(people) => self.event_router.publish(people, &event),
            EventTarget::Participant(location) => {
                self.event_router.send_to_session(
                    location.node,
                    location.user,
                    location.session,
                    &event,
                );
            }
        }
    }
}

/// The room was stopped, or exceeded its restart intensity: nobody must wait for it. The scheduler
/// closes the call in the history, as it is no longer in the call index.
impl Drop for RoomContext {
    fn drop(&mut self) {
        let mut call = self.stored_call();
        if call.ended().is_none() && !self.is_handed_off() {
            call.take_events(); // of a call that did not start: they were never announced
            call.end(CallEndReason::Failed);
            self.call_index.remove(call.id());
            for (to, event) in call.take_events() {
                self.publish(&to, event);
            }
        }
    }
}
