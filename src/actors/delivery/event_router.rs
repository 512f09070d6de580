//! Routes events to the sessions of users, on this node and through its peers on all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::ids::{DeviceId, NodeId, SessionId, UserId};

use super::close_reason::CloseReason;
use super::messages::{DeliverEvent, ObserveHead};
use super::outbound_event::{OutboundEvent, SequencePosition};
use super::session_registry::{SessionEntry, SessionRegistry};
use crate::actors::peer_nodes::PeerNodes;
use crate::actors::supervision::SendError;
use crate::protocol::cluster::{DeviceKey, NodeEvent};
use crate::protocol::server::{Reconnect, ServerEvent};
use crate::telemetry::metrics::count_dropped_event;

/// Finds the sessions of users on all nodes; cheap to clone.
#[derive(Clone)]
pub struct EventRouter {
    pub(in crate::actors) registry: Arc<SessionRegistry>,
    peer_nodes: PeerNodes,
    /// Set while this node drains: its devices reconnect to other nodes.
    draining: Arc<AtomicBool>,
}

impl EventRouter {
    /// Creates a router without sessions.
    pub fn new(peer_nodes: PeerNodes) -> Self {
        let registry = Arc::new(SessionRegistry::new(peer_nodes.clone()));
        Self { registry, peer_nodes, draining: Arc::default() }
    }

    /// Sends an event to every session of these users on all nodes.
    pub fn publish(&self, users: &[UserId], event: &OutboundEvent) {
        self.publish_local(users, event);
        self.peer_nodes.deliver(users, event.priority(), || event.to_raw());
    }

    /// Sends an event to every session of these users on this node.
    pub fn publish_local(&self, users: &[UserId], event: &OutboundEvent) {
        for user in users {
            self.registry.each(*user, |entry| {
                if entry.call_only {
                    return;
                }
                if entry.deliver(DeliverEvent(event.clone())) == Err(SendError::Full) {
                    count_dropped_event("session-full");
                    entry.request_resync();
                }
            });
        }
    }

    /// Announces to every session of these users how far a conversation is, without its content: a
    /// session that lacks something, and may see it, reads it from the database.
    pub fn publish_head(&self, users: &[UserId], place: SequencePosition) {
        self.publish_position(users, place, false);
    }

    /// Announces to every session of these users that this number of a sequence is not visible to
    /// them.
    pub fn publish_skipped(&self, users: &[UserId], place: SequencePosition) {
        self.publish_position(users, place, true);
    }

    fn publish_position(&self, users: &[UserId], place: SequencePosition, passed: bool) {
        self.publish_head_local(users, place, passed);
        self.peer_nodes.publish_head(users, place, passed);
    }

    /// As [`EventRouter::publish_head`] and [`EventRouter::publish_skipped`], on this node only.
    pub fn publish_head_local(&self, users: &[UserId], place: SequencePosition, passed: bool) {
        let head = ObserveHead { position: place, is_skipped: passed };
        for user in users {
            self.registry.each(*user, |entry| {
                if entry.call_only {
                    return;
                }
                if entry.mailbox.observe_head.tell(head) == Err(SendError::Full) {
                    count_dropped_event("session-full");
                    entry.request_resync();
                }
            });
        }
    }

    /// Sends an event to one session of this node; false if it has ended. What does not fit its
    /// mailbox is lost and counted: a device that is so far behind is about to be disconnected.
    pub fn send_to_local_session(
        &self,
        user: UserId,
        session: SessionId,
        event: &OutboundEvent,
    ) -> bool {
        let Some(entry) = self.registry.get(user, session) else { return false };
        if entry.deliver(DeliverEvent(event.clone())) == Err(SendError::Full) {
            count_dropped_event("session-full");
        }
        true
    }

    /// Sends an event to one session on the given node.
    pub fn send_to_session(
        &self,
        node: NodeId,
        user: UserId,
        session: SessionId,
        event: &OutboundEvent,
    ) {
        if node != self.peer_nodes.local_node() {
            self.peer_nodes.deliver_to_session(node, user, session, event.to_raw());
        } else if !self.send_to_local_session(user, session, event) {
            count_dropped_event("no-such-session");
        }
    }

    /// Whether a session of this node has a socket.
    pub fn is_attached(&self, user: UserId, session: SessionId) -> bool {
        let entry = self.registry.get(user, session);
        entry.is_some_and(|entry| entry.attached.load(Ordering::Acquire))
    }

    /// Whether no other node is known.
    pub fn is_single_node(&self) -> bool {
        self.peer_nodes.is_alone()
    }

    /// Whether the user has a socket on this node.
    pub fn is_connected_local(&self, user: UserId) -> bool {
        self.registry.is_connected(user)
    }

    /// Whether a session exists on this node, with or without a socket.
    pub fn has_local_session(&self, user: UserId, session: SessionId) -> bool {
        self.registry.get(user, session).is_some()
    }

    /// Makes every session of all nodes resync from the database, after a possible loss of events.
    pub fn resync(&self) {
        self.resync_local();
        self.peer_nodes.publish(&NodeEvent::Resync);
    }

    /// Makes every session of this node resync from the database.
    pub fn resync_local(&self) {
        for entry in self.registry.all() {
            entry.request_resync();
        }
    }

    /// Ends the sessions of a device that was signed out, on all nodes.
    pub fn close_device_sessions(&self, user: UserId, device: DeviceId) {
        self.close_device_sessions_local(user, device);
        self.peer_nodes.publish(&NodeEvent::DeviceSignedOut(DeviceKey { user, device }));
    }

    /// Notifies the other nodes that a user changed their status.
    pub(in crate::actors) fn status_changed(&self, user: UserId) {
        self.peer_nodes.publish(&NodeEvent::StatusChanged(user));
    }

    /// Ends the sessions of a device on this node.
    pub fn close_device_sessions_local(&self, user: UserId, device: DeviceId) {
        for entry in self.registry.of_device(user, device) {
            entry.end(CloseReason::SignedOut);
        }
    }

    /// Ends all sessions of a user, on all nodes.
    pub fn close_user_sessions(&self, user: UserId) {
        self.close_user_sessions_local(user);
        self.peer_nodes.publish(&NodeEvent::UserSignedOut(user));
    }

    /// Ends all sessions of a user on this node.
    pub fn close_user_sessions_local(&self, user: UserId) {
        self.registry.each(user, |entry| {
            entry.end(CloseReason::SignedOut);
        });
    }

    /// The devices of all sessions of this node, except call-only ones.
    pub fn local_devices(&self) -> Vec<DeviceId> {
        let is_full_session = |entry: &SessionEntry| !entry.call_only;
        self.registry.all().into_iter().filter(is_full_session).map(|entry| entry.device).collect()
    }

    /// The users with a call-only session on this node, whose device exists only for that session.
    pub fn local_call_only_users(&self) -> Vec<UserId> {
        self.registry.call_only_users()
    }

    /// Ends the sessions of these devices on this node, whose sign-out this node missed.
    pub fn close_sessions_of_devices(&self, devices: &[DeviceId]) {
        for entry in self.registry.all() {
            if devices.contains(&entry.device) {
                entry.end(CloseReason::SignedOut);
            }
        }
    }

    /// Asks every device of this node to reconnect after `after_ms` milliseconds, then ends all
    /// sessions.
    pub fn start_draining(&self, after_ms: u64) {
        self.draining.store(true, Ordering::Release);
        let event = OutboundEvent::new(&ServerEvent::Reconnect(Reconnect { after_ms }));
        for entry in self.registry.all() {
            // fails only if the session has ended
            let _ = entry.mailbox.deliver.tell_control(DeliverEvent(event.clone()));
            entry.end(CloseReason::NodeDraining);
        }
    }

    /// Whether the devices of this node were asked to reconnect elsewhere.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// The number of users with an open socket on this node.
    pub fn local_connected_users(&self) -> usize {
        self.registry.connected_users()
    }

    /// The number of users with an open socket on any node.
    pub fn connected_users(&self) -> usize {
        let remote = self.peer_nodes.remote_users(|user| self.registry.is_connected(user));
        self.local_connected_users() + remote
    }
}
