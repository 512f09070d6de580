//! Hears what other nodes tell, and answers what they ask.

use base::ids::NodeId;
use serde::Serialize;

use super::{BusEventsLost, Membership, SuspectNode};
use crate::actors::admin::AdminService;
use crate::actors::calls::CallService;
use crate::actors::peer_nodes::PeerNodes;
use crate::actors::presence::PresenceHandle;
use crate::actors::sessions::{EventRouter, OutboundEvent};
use crate::actors::supervision::ActorRef;
use crate::cluster::{BoxFuture, BusHandler};
use crate::protocol::cluster::{NodeEvent, NodeRequest, Priority, RoomHandOff};
use crate::telemetry::metrics::dropped;

/// The listener of a node in a cluster; cheap to clone.
#[derive(Clone)]
pub struct ClusterEventHandler {
    /// What is known of the others.
    pub peer_nodes: PeerNodes,
    /// The sessions that are here.
    pub event_router: EventRouter,
    /// The calls that go on here.
    pub calls: CallService,
    /// Who is here, as contacts see it.
    pub presence: PresenceHandle,
    /// Who acts when a node is gone.
    pub membership: ActorRef<Membership>,
    /// Who sees and does what operators want.
    pub admin: AdminService,
}

impl BusHandler for ClusterEventHandler {
    fn hear(&self, from: NodeId, event: NodeEvent) {
        match event {
            NodeEvent::Heartbeat(beat) => self.peer_nodes.on_heartbeat(from, &beat),
            NodeEvent::Changes(changes) => {
                for change in self.peer_nodes.on_state_delta(from, changes) {
                    self.calls.on_remote_change(from, change);
                }
            }
            NodeEvent::Deliver(news) => {
                let event = OutboundEvent::from_raw(news.event, news.urgency);
                self.event_router.publish_local(&news.to, &event);
            }
            NodeEvent::DeliverTo(news) => {
                let event = OutboundEvent::from_raw(news.event, Priority::High);
                if !self.event_router.send_to_local_session(news.user, news.session, &event) {
                    dropped("no-such-session");
                }
            }
            NodeEvent::Known(known) => {
                self.event_router.publish_head_local(&known.to, known.place, known.passed);
            }
            NodeEvent::Resync => self.event_router.resync_local(),
            NodeEvent::EndDevice(gone) => {
                self.event_router.close_device_sessions_local(gone.user, gone.device)
            }
            NodeEvent::EndPerson(user) => self.event_router.close_user_sessions_local(user),
            NodeEvent::StatusChanged(user) => self.presence.changed(user),
            NodeEvent::Lost(session) => self.calls.on_session_lost_local(session),
            NodeEvent::Unknown => dropped("unknown-to-this-version"),
        }
    }

    fn answer(&self, from: NodeId, request: NodeRequest) -> BoxFuture<'static, Option<String>> {
        let ear = self.clone();
        Box::pin(async move {
            match request {
                NodeRequest::Ping => json(&()),
                NodeRequest::Snapshot => json(&ear.peer_nodes.snapshot()),
                NodeRequest::Call(ask) => json(&ear.calls.handle_forwarded(*ask).await),
                NodeRequest::Gone(sessions) => json(&ear.calls.missing_sessions(sessions)),
                NodeRequest::TakeRoom(room) => {
                    let RoomHandOff { key, epoch, call } = *room;
                    let Ok(call) = serde_json::from_str(call.get()) else { return json(&false) };
                    json(&ear.calls.accept_hand_off(from, &key, epoch, call).await)
                }
                NodeRequest::Calls => json(&ear.calls.local_views().await),
                NodeRequest::Actors => json(&ear.admin.local_actors().ok()?),
                NodeRequest::ActOn(act) => {
                    let refused = ear.admin.execute_local(act).await.err();
                    json(&refused.map(|error| error.to_string()))
                }
                NodeRequest::Drain => {
                    ear.admin.drain_local();
                    json(&())
                }
                NodeRequest::Unknown => None,
            }
        })
    }

    fn missed(&self) {
        let _ = self.membership.tell_control(BusEventsLost); // it ends: so does the node
    }

    fn unreachable(&self, node: NodeId) {
        let _ = self.membership.tell_control(SuspectNode(node)); // it ends: so does the node
    }
}

fn json<T: Serialize>(answer: &T) -> Option<String> {
    serde_json::to_string(answer).ok()
}
