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
use crate::telemetry::metrics::count_dropped_event;

/// The listener of a node in a cluster; cheap to clone.
#[derive(Clone)]
pub struct ClusterEventHandler {
    /// What is known of the others.
    pub neighbours: PeerNodes,
    /// The sessions that are here.
    pub switchboard: EventRouter,
    /// The calls that go on here.
    pub calls: CallService,
    /// Who is here, as contacts see it.
    pub presence: PresenceHandle,
    /// Who acts when a node is gone.
    pub membership: ActorRef<Membership>,
    /// Who sees and does what operators want.
    pub operators: AdminService,
}

impl BusHandler for ClusterEventHandler {
    fn on_event(&self, from: NodeId, event: NodeEvent) {
        match event {
            NodeEvent::Heartbeat(beat) => self.neighbours.on_heartbeat(from, &beat),
            NodeEvent::StateChanged(changes) => {
                for change in self.neighbours.on_state_delta(from, changes) {
                    self.calls.changed_there(from, change);
                }
            }
            NodeEvent::Deliver(news) => {
                let event = OutboundEvent::of(news.event, news.priority);
                self.switchboard.publish_local(&news.to, &event);
            }
            NodeEvent::DeliverToSession(news) => {
                let event = OutboundEvent::of(news.event, Priority::High);
                if !self.switchboard.tell_session_here(news.user, news.session, &event) {
                    count_dropped_event("no-such-session");
                }
            }
            NodeEvent::ConversationAdvanced(known) => {
                self.switchboard.tell_place_here(&known.to, known.position, known.skipped);
            }
            NodeEvent::Resync => self.switchboard.resync_here(),
            NodeEvent::DeviceSignedOut(gone) => {
                self.switchboard.end_device_here(gone.user, gone.device)
            }
            NodeEvent::UserSignedOut(user) => self.switchboard.end_person_here(user),
            NodeEvent::StatusChanged(user) => self.presence.changed(user),
            NodeEvent::SessionEnded(session) => self.calls.lost_here(session),
            NodeEvent::Unknown => count_dropped_event("unknown-to-this-version"),
        }
    }

    fn handle_request(
        &self,
        from: NodeId,
        request: NodeRequest,
    ) -> BoxFuture<'static, Option<String>> {
        let ear = self.clone();
        Box::pin(async move {
            match request {
                NodeRequest::Ping => json(&()),
                NodeRequest::Snapshot => json(&ear.neighbours.snapshot()),
                NodeRequest::Call(ask) => json(&ear.calls.handle_forwarded(*ask).await),
                NodeRequest::FindEndedSessions(sessions) => {
                    json(&ear.calls.gone_sessions(sessions))
                }
                NodeRequest::TakeRoom(room) => {
                    let RoomHandOff { key, epoch, call } = *room;
                    let Ok(call) = serde_json::from_str(call.get()) else { return json(&false) };
                    json(&ear.calls.take_room(from, &key, epoch, call).await)
                }
                NodeRequest::Calls => json(&ear.calls.views_here().await),
                NodeRequest::Actors => json(&ear.operators.actors_here().ok()?),
                NodeRequest::CommandActor(act) => {
                    let refused = ear.operators.act_here(act).await.err();
                    json(&refused.map(|error| error.to_string()))
                }
                NodeRequest::Drain => {
                    ear.operators.drain_here();
                    json(&())
                }
                NodeRequest::Unknown => None,
            }
        })
    }

    fn on_events_lost(&self) {
        let _ = self.membership.tell_control(BusEventsLost); // it ends: so does the node
    }

    fn on_unreachable(&self, node: NodeId) {
        let _ = self.membership.tell_control(SuspectNode(node)); // it ends: so does the node
    }
}

fn json<T: Serialize>(answer: &T) -> Option<String> {
    serde_json::to_string(answer).ok()
}
