//! The way to everybody who is here, and through the neighbours to everybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::ids::{DeviceId, NodeId, SessionId, UserId};

use super::outbound_event::{OutboundEvent, SequencePosition};
use super::registry::SessionRegistry;
use super::session::{DeliverEvent, EndSession, ObserveHead};
use super::socket_handle::CloseReason;
use crate::actors::peer_nodes::PeerNodes;
use crate::actors::supervision::SendError;
use crate::protocol::cluster::{DeviceKey, NodeEvent};
use crate::protocol::server::{Reconnect, ServerEvent};
use crate::telemetry::metrics::count_dropped_event;

/// Finds the sessions of people; cheap to clone.
#[derive(Clone)]
pub struct EventRouter {
    pub(super) registry: Arc<SessionRegistry>,
    neighbours: PeerNodes,
    /// This node goes, and its devices come back elsewhere.
    leaving: Arc<AtomicBool>,
}

impl EventRouter {
    /// Nobody is here yet.
    pub fn new(neighbours: PeerNodes) -> Self {
        let registry = Arc::new(SessionRegistry::new(neighbours.clone()));
        Self { registry, neighbours, leaving: Arc::default() }
    }

    /// Tells every session of these people, wherever it is.
    pub fn publish(&self, people: &[UserId], event: &OutboundEvent) {
        self.publish_local(people, event);
        self.neighbours.deliver(people, event.urgency(), || event.raw());
    }

    /// Tells every session of these people on this node.
    pub fn publish_local(&self, people: &[UserId], event: &OutboundEvent) {
        for user in people {
            self.registry.each(*user, |entry| {
                if entry.call_only {
                    return;
                }
                if entry.actor.tell(DeliverEvent(event.clone())) == Err(SendError::Full) {
                    count_dropped_event("session-full");
                    entry.missed();
                }
            });
        }
    }

    /// Tells every session of these people how far a conversation is, without saying what was said:
    /// whoever lacks something, and may see it, reads it.
    pub fn publish_head(&self, people: &[UserId], place: SequencePosition) {
        self.tell_place(people, place, false);
    }

    /// Tells every session of these people that a number is not for them.
    pub fn publish_skipped(&self, people: &[UserId], place: SequencePosition) {
        self.tell_place(people, place, true);
    }

    fn tell_place(&self, people: &[UserId], place: SequencePosition, passed: bool) {
        self.tell_place_here(people, place, passed);
        self.neighbours.tell_known(people, place, passed);
    }

    /// The same, on this node only.
    pub fn tell_place_here(&self, people: &[UserId], place: SequencePosition, passed: bool) {
        let known = ObserveHead { place, passed };
        for user in people {
            self.registry.each(*user, |entry| {
                if entry.call_only {
                    return;
                }
                if entry.actor.tell(known) == Err(SendError::Full) {
                    count_dropped_event("session-full");
                    entry.missed();
                }
            });
        }
    }

    /// Tells one session of this node; false if it is no more. What does not fit its mailbox is
    /// lost to it and counted: a device that is so far behind is about to be ended.
    pub fn tell_session_here(
        &self,
        user: UserId,
        session: SessionId,
        event: &OutboundEvent,
    ) -> bool {
        let Some(entry) = self.registry.one(user, session) else { return false };
        if entry.actor.tell(DeliverEvent(event.clone())) == Err(SendError::Full) {
            count_dropped_event("session-full");
        }
        true
    }

    /// Tells one session, on whichever node it is.
    pub fn tell_session(
        &self,
        node: NodeId,
        user: UserId,
        session: SessionId,
        event: &OutboundEvent,
    ) {
        if node != self.neighbours.me() {
            self.neighbours.deliver_to(node, user, session, event.raw());
        } else if !self.tell_session_here(user, session, event) {
            count_dropped_event("no-such-session");
        }
    }

    /// Whether a session of this node has a socket.
    pub fn is_attached(&self, user: UserId, session: SessionId) -> bool {
        let entry = self.registry.one(user, session);
        entry.is_some_and(|entry| entry.attached.load(Ordering::Acquire))
    }

    /// Whether no other node is known.
    pub fn is_single_node(&self) -> bool {
        self.neighbours.is_alone()
    }

    /// Whether somebody has a socket on this node.
    pub fn is_connected_local(&self, user: UserId) -> bool {
        self.registry.has(user)
    }

    /// Whether a session of this node is there, with or without a socket.
    pub fn is_connected_remote(&self, user: UserId, session: SessionId) -> bool {
        self.registry.one(user, session).is_some()
    }

    /// Tells every session, here and elsewhere, to look into the database: news may be lost.
    pub fn resync(&self) {
        self.resync_here();
        self.neighbours.publish(&NodeEvent::Resync);
    }

    /// Tells every session of this node to look into the database.
    pub fn resync_here(&self) {
        for entry in self.registry.all() {
            entry.missed();
        }
    }

    /// Ends the sessions of a device that was signed out, wherever they are.
    pub fn close_device_sessions(&self, user: UserId, device: DeviceId) {
        self.end_device_here(user, device);
        self.neighbours.publish(&NodeEvent::DeviceSignedOut(DeviceKey { user, device }));
    }

    /// Tells the other nodes that a person says something else of themselves.
    pub(super) fn status_changed(&self, user: UserId) {
        self.neighbours.publish(&NodeEvent::StatusChanged(user));
    }

    /// Ends the sessions of a device on this node.
    pub fn end_device_here(&self, user: UserId, device: DeviceId) {
        for entry in self.registry.of_device(user, device) {
            let _ = entry.actor.tell_control(EndSession(CloseReason::SignedOut)); // gone already is as good
        }
    }

    /// Ends all sessions of a person, wherever they are.
    pub fn close_user_sessions(&self, user: UserId) {
        self.end_person_here(user);
        self.neighbours.publish(&NodeEvent::UserSignedOut(user));
    }

    /// Ends all sessions of a person on this node.
    pub fn end_person_here(&self, user: UserId) {
        self.registry.each(user, |entry| {
            let _ = entry.actor.tell_control(EndSession(CloseReason::SignedOut)); // gone already is as good
        });
    }

    /// The devices of all sessions of this node.
    pub fn devices(&self) -> Vec<DeviceId> {
        let own = |entry: &super::registry::SessionEntry| !entry.call_only;
        self.registry.all().into_iter().filter(own).map(|entry| entry.device).collect()
    }

    /// Those who are here with a call token, whose device is only made for it.
    pub fn guests(&self) -> Vec<UserId> {
        self.registry.guests()
    }

    /// Ends the sessions of these devices on this node: that they were signed out was missed.
    pub fn end_devices(&self, devices: &[DeviceId]) {
        for entry in self.registry.all() {
            if devices.contains(&entry.device) {
                let _ = entry.actor.tell_control(EndSession(CloseReason::SignedOut)); // gone already is as good
            }
        }
    }

    /// Tells every device of this node to come back after a moment, then ends every session.
    pub fn start_draining(&self, after_ms: u64) {
        self.leaving.store(true, Ordering::Release);
        let event = OutboundEvent::new(&ServerEvent::Reconnect(Reconnect { after_ms }));
        for entry in self.registry.all() {
            let _ = entry.actor.tell_control(DeliverEvent(event.clone())); // gone: nobody to tell
            let _ = entry.actor.tell_control(EndSession(CloseReason::Leaving));
        }
    }

    /// Whether the devices of this node have been told to come back elsewhere.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// People with an open socket on this node.
    pub fn connected(&self) -> usize {
        self.registry.people()
    }

    /// People with an open socket on any node.
    pub fn connected_anywhere(&self) -> usize {
        let elsewhere = self.neighbours.remote_users(|user| self.registry.has(user));
        self.connected() + elsewhere
    }
}
