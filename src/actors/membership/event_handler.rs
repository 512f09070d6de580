//! Handles the events and requests of other nodes.

use base::ids::NodeId;
use serde::Serialize;

use super::{BusEventsLost, Membership, SuspectNode};
use crate::actors::admin::AdminService;
use crate::actors::calls::CallService;
use crate::actors::delivery::{EventRouter, OutboundEvent};
use crate::actors::peer_nodes::PeerNodes;
use crate::actors::presence::PresenceHandle;
use crate::actors::supervision::ActorRef;
use crate::cluster::{BoxFuture, BusHandler};
use crate::protocol::cluster::{NodeEvent, NodeRequest, Priority, RoomHandOff};
use crate::telemetry::metrics::count_dropped_event;

/// The bus handler of a node in a cluster; cheap to clone.
#[derive(Clone)]
pub struct ClusterEventHandler {
    /// The state of the other nodes.
    pub peer_nodes: PeerNodes,
    /// Routes events to the sessions of this node.
    pub event_router: EventRouter,
    /// The calls of this node.
    pub calls: CallService,
    /// Presence as contacts see it.
    pub presence: PresenceHandle,
    /// Acts on suspected and lost nodes.
    pub membership: ActorRef<Membership>,
    /// Administration of this node.
    pub admin: AdminService,
}

impl BusHandler for ClusterEventHandler {
    fn on_event(&self, from: NodeId, event: NodeEvent) {
        match event {
            NodeEvent::Heartbeat(heartbeat) => self.peer_nodes.on_heartbeat(from, &heartbeat),
            NodeEvent::StateChanged(changes) => {
                for change in self.peer_nodes.on_state_delta(from, changes) {
                    self.calls.on_remote_change(from, change);
                }
            }
            NodeEvent::Deliver(delivery) => {
                let event = OutboundEvent::from_raw(delivery.event, delivery.priority);
                self.event_router.publish_local(&delivery.to, &event);
            }
            NodeEvent::DeliverToSession(delivery) => {
                let event = OutboundEvent::from_raw(delivery.event, Priority::High);
                if !self.event_router.send_to_local_session(delivery.user, delivery.session, &event)
                {
                    count_dropped_event("no-such-session");
                }
            }
            NodeEvent::ConversationAdvanced(head) => {
                self.event_router.publish_head_local(&head.to, head.position, head.skipped);
            }
            NodeEvent::Resync => self.event_router.resync_local(),
            NodeEvent::DeviceSignedOut(ended) => {
                self.event_router.close_device_sessions_local(ended.user, ended.device)
            }
            NodeEvent::UserSignedOut(user) => self.event_router.close_user_sessions_local(user),
            NodeEvent::StatusChanged(user) => self.presence.changed(user),
            NodeEvent::SessionEnded(session) => self.calls.on_session_lost_local(session),
            NodeEvent::Unknown => count_dropped_event("unknown-to-this-version"),
        }
    }

    fn handle_request(
        &self,
        from: NodeId,
        request: NodeRequest,
    ) -> BoxFuture<'static, Option<String>> {
        let handler = self.clone();
        Box::pin(async move {
            match request {
                NodeRequest::Ping => json(&()),
                NodeRequest::Snapshot => json(&handler.peer_nodes.snapshot()),
                NodeRequest::Call(ask) => json(&handler.calls.handle_forwarded(*ask).await),
                NodeRequest::FindEndedSessions(sessions) => {
                    json(&handler.calls.missing_sessions(sessions))
                }
                NodeRequest::TakeRoom(room) => {
                    let RoomHandOff { key, epoch, call } = *room;
                    let Ok(call) = serde_json::from_str(call.get()) else { return json(&false) };
                    json(&handler.calls.accept_hand_off(from, &key, epoch, call).await)
                }
                NodeRequest::Calls => json(&handler.calls.local_views().await),
                NodeRequest::Actors => json(&handler.admin.local_actors().ok()?),
                NodeRequest::CommandActor(command) => {
                    let refusal = handler.admin.execute_local(command).await.err();
                    json(&refusal.map(|error| error.to_string()))
                }
                NodeRequest::Drain => {
                    handler.admin.drain_local();
                    json(&())
                }
                NodeRequest::Unknown => None,
            }
        })
    }

    fn on_events_lost(&self) {
        // fails only if the actor has ended, and the node with it
        let _ = self.membership.tell_control(BusEventsLost);
    }

    fn on_unreachable(&self, node: NodeId) {
        // fails only if the actor has ended, and the node with it
        let _ = self.membership.tell_control(SuspectNode(node));
    }
}

fn json<T: Serialize>(answer: &T) -> Option<String> {
    serde_json::to_string(answer).ok()
}
