//! What a simulated node does with what is asked of it, as `actors/calls` does it: finds the owner,
//! passes on, claims, takes over, lets go.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::ids::{DeviceId, NodeId, SessionId, UserId};
use securevox::actors::membership::{BusEventsLost, Membership, NodeServices, SuspectNode};
use securevox::actors::peer_nodes::{PeerNodes, REQUEST_TIMEOUT};
use securevox::actors::supervision::{ActorRef, DynamicSupervisor};
use securevox::cluster::{
    BoxFuture, BusError, BusHandler, ClaimOutcome, NodeLeases, OwnershipDirectory,
};
use securevox::protocol::cluster::{
    ForwardedCallRequest, NodeEvent, NodeLoad, NodeRequest, NodeStateChange, ParticipantLocation,
    RemoteCallSummary, RoomHandOff,
};
use serde_json::value::to_raw_value;

use super::Shared;
use super::database::Client;
use super::post::{Said, Say};
use super::room::{HandOver, LetGo, Room, Seed, Speak};

/// Cheap to clone.
#[derive(Clone)]
pub struct House(pub Arc<Parts>);

pub struct Parts {
    pub leases: NodeLeases,
    pub client: Client,
    pub neighbours: PeerNodes,
    pub rooms: DynamicSupervisor<Room>,
    pub shared: Shared,
}

/// A key as a name in the tree.
fn name(key: &str) -> String {
    key.replace('/', "-")
}

impl House {
    pub fn me(&self) -> NodeId {
        self.0.neighbours.local_node()
    }

    /// Writes a word down where the call lives.
    pub async fn say(&self, say: Say, passed_on: bool) -> Said {
        if let Some(room) = self.0.rooms.get(&name(&say.key)) {
            return room.ask(Speak(say)).await.unwrap_or(Said::Moved);
        }
        let Ok(held) = self.0.leases.owner_of(&say.key).await else { return Said::Moved };
        if let Some(held) = held
            && held.owner != self.me()
            && self.0.neighbours.is_live(held.owner)
        {
            return self.pass_on(held.owner, &say, passed_on).await;
        }
        match self.take_over(&say.key).await {
            Some(owner) if owner != self.me() => self.pass_on(owner, &say, passed_on).await,
            _ => match self.0.rooms.get(&name(&say.key)) {
                Some(room) => room.ask(Speak(say)).await.unwrap_or(Said::Moved),
                None => Said::Moved,
            },
        }
    }

    async fn pass_on(&self, owner: NodeId, say: &Say, passed_on: bool) -> Said {
        if passed_on {
            return Said::Moved;
        }
        let nobody = uuid::Uuid::nil();
        let seat = ParticipantLocation {
            user: UserId::from_uuid(nobody),
            device: DeviceId::from_uuid(nobody),
            session: SessionId::from_uuid(nobody),
            node: self.me(),
            guest: false,
        };
        let ask = NodeRequest::Call(Box::new(ForwardedCallRequest {
            participant: seat,
            name: String::new(),
            grant: None,
            event: "say".to_owned(),
            data: to_raw_value(say).unwrap(),
        }));
        match self.0.neighbours.ask(owner, &ask, REQUEST_TIMEOUT).await {
            Ok(said) => said,
            Err(BusError::NodeUnreachable) => {
                if let Ok(true) = self.0.leases.is_dead(owner).await {
                    self.died(owner).await;
                }
                Said::Moved
            }
            Err(_) => Said::Moved,
        }
    }

    /// Claims a call, and gives its owner if that can be told.
    async fn take_over(&self, key: &str) -> Option<NodeId> {
        match self.0.leases.claim(key, key).await.ok()? {
            ClaimOutcome::Owned { epoch, .. } => self.live(key, epoch).await,
            ClaimOutcome::Held(held) if self.0.leases.owns(&held) => {
                self.live(key, held.epoch).await
            }
            ClaimOutcome::Held(held) => return Some(held.owner),
        }
        Some(self.me())
    }

    async fn live(&self, key: &str, epoch: u64) {
        let seed = Seed {
            house: self.clone(),
            leases: self.0.leases.clone(),
            client: self.0.client.clone(),
            shared: self.0.shared.clone(),
            key: key.to_owned(),
            epoch,
        };
        // If its name is taken, the one before is about to go: whoever asks will ask again.
        let _ = self.0.rooms.start(&name(key), move |_| Room::new(seed.clone())).await;
    }

    async fn died(&self, node: NodeId) {
        self.0.neighbours.remove(node);
        let Ok(orphans) = self.0.leases.orphaned_leases("call/").await else { return };
        for (key, _) in orphans.into_iter().filter(|(_, held)| held.owner == node) {
            self.take_over(&key).await;
        }
    }

    /// In the order of their paths, so that a seed repeats.
    pub fn rooms(&self) -> Vec<ActorRef<Room>> {
        let mut rooms = self.0.rooms.children();
        rooms.sort_by(|a, b| a.path().cmp(b.path()));
        rooms
    }

    /// Gives every room to somebody else.
    pub async fn hand_over_all(&self) {
        for room in self.rooms() {
            let mut loads: Vec<_> = self.0.neighbours.loads().into_iter().collect();
            loads.retain(|(_, (_, takes))| *takes);
            loads.sort_by_key(|(node, _)| *node);
            if let Some((to, _)) = loads.first() {
                let _ = room.ask(HandOver(*to)).await; // else it is claimed when this node is gone
            }
        }
    }

    pub async fn hand(&self, to: NodeId, request: &NodeRequest) -> bool {
        self.0.neighbours.ask(to, request, REQUEST_TIMEOUT).await.unwrap_or(false)
    }

    async fn take(&self, from: NodeId, room: RoomHandOff) -> bool {
        match self.0.leases.take_over(&room.key, from, room.epoch).await {
            Ok(Some(epoch)) => {
                self.live(&room.key, epoch).await;
                true
            }
            _ => false,
        }
    }

    /// What is not as it should be when all faults are over.
    pub fn complaints(&self, others: usize, people: usize) -> Vec<String> {
        let Parts { leases, neighbours, .. } = &*self.0;
        let mut wrong = Vec::new();
        let mut check = |is: bool, what: String| {
            if !is {
                wrong.push(format!("{}: {what}", self.me()));
            }
        };
        check(leases.lease_is_valid(), "is not sure of what it owns".to_owned());
        check(neighbours.is_up(), "is deaf".to_owned());
        check(
            neighbours.nodes_without_snapshot().is_empty(),
            "does not know all of the others".to_owned(),
        );
        let known = neighbours.nodes().len();
        check(known == others, format!("knows {known} of {others} others"));
        let met = neighbours.remote_users(|_| false);
        check(met == people, format!("knows of {met} people elsewhere, there are {people}"));
        wrong
    }
}

impl NodeServices for House {
    fn load(&self) -> NodeLoad {
        NodeLoad::default()
    }

    fn relinquish_ownership(&self) {
        for room in self.rooms() {
            let _ = room.tell_control(LetGo); // gone already is as good
        }
    }

    fn resync(&self) {}

    fn node_died(&self, node: NodeId) -> BoxFuture<'_, ()> {
        Box::pin(self.died(node))
    }

    fn set_remote_calls(&self, _: NodeId, _: Vec<RemoteCallSummary>) {}

    fn on_remote_change(&self, _: NodeId, _: NodeStateChange) {}

    fn reconcile_participants(&self) -> BoxFuture<'_, Vec<SessionId>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn on_session_lost(&self, _: SessionId) {}

    fn revalidate_devices(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What of a node's ear concerns what is simulated.
pub struct Ear {
    pub house: House,
    pub membership: ActorRef<Membership>,
}

impl BusHandler for Ear {
    fn on_event(&self, from: NodeId, event: NodeEvent) {
        let neighbours = &self.house.0.neighbours;
        match event {
            NodeEvent::Heartbeat(beat) => neighbours.on_heartbeat(from, &beat),
            NodeEvent::StateChanged(changes) => drop(neighbours.on_state_delta(from, changes)),
            _ => {}
        }
    }

    fn handle_request(
        &self,
        from: NodeId,
        request: NodeRequest,
    ) -> BoxFuture<'static, Option<String>> {
        let house = self.house.clone();
        Box::pin(async move {
            match request {
                NodeRequest::Snapshot => serde_json::to_string(&house.0.neighbours.snapshot()).ok(),
                NodeRequest::Call(ask) => {
                    let say = serde_json::from_str(ask.data.get()).ok()?;
                    serde_json::to_string(&house.say(say, true).await).ok()
                }
                NodeRequest::TakeRoom(room) => {
                    serde_json::to_string(&house.take(from, *room).await).ok()
                }
                _ => None,
            }
        })
    }

    fn on_events_lost(&self) {
        let _ = self.membership.tell_control(BusEventsLost);
    }

    fn on_unreachable(&self, node: NodeId) {
        let _ = self.membership.tell_control(SuspectNode(node));
    }
}

/// The names of the rooms that `paths` show.
pub fn rooms_of(paths: impl Iterator<Item = String>) -> BTreeSet<String> {
    paths
        .filter(|path| path.starts_with("/node/rooms/") && path.matches('/').count() == 4)
        .collect()
}
