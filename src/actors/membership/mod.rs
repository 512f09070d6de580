//! This node's place among the others: says that it lives, hears who else does, and acts when
//! somebody does not.

mod event_handler;
mod node_services;

pub use event_handler::ClusterEventHandler;
pub use node_services::{LocalNodeServices, NodeServices};

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use base::ids::{NodeId, SessionId};
use metrics::gauge;
use store::NodeState;
use tokio::time::Instant;

use super::peer_nodes::PeerNodes;
use super::supervision::SupervisedContext;
use crate::cluster::directory::HEARTBEAT_INTERVAL;
use crate::cluster::{DirectoryError, LiveNodes, NodeLeases, OwnershipDirectory};
use crate::telemetry::metrics::CLUSTER_NODES;

/// How often the others get a sign of life over the bus, and suspects are looked at.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// How often seats of sessions on other nodes are looked after.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(5);
/// How long somebody whose node died has to come back before their place in a call is free.
const REJOIN_GRACE: Duration = Duration::from_secs(30);

/// What a membership is made of, now and after a restart.
#[derive(Clone)]
pub struct MembershipDeps {
    /// This node's word that it lives.
    pub leases: NodeLeases,
    /// The others.
    pub peer_nodes: PeerNodes,
    /// Calls and sessions.
    pub services: Arc<dyn NodeServices>,
}

/// The actor.
pub struct Membership {
    parts: MembershipDeps,
    state: NodeState,
    /// Whether what is owned was surely ours when last looked at.
    sure: bool,
    /// Nodes at which nobody listened.
    suspects: BTreeSet<NodeId>,
    /// Nodes that are being asked for all they know.
    learning: HashSet<NodeId>,
    /// Sessions in calls whose node is dead, and since when.
    adrift: HashMap<SessionId, Instant>,
}

crate::actors::supervision::supervised!(Membership);

impl Membership {
    /// A node that is up.
    pub fn new(parts: MembershipDeps) -> Self {
        Self {
            parts,
            state: NodeState::Up,
            sure: true,
            suspects: BTreeSet::new(),
            learning: HashSet::new(),
            adrift: HashMap::new(),
        }
    }

    /// Says in the database that this node lives, and reads who else does.
    fn beat(&mut self, ctx: &mut SupervisedContext<Self>) {
        let (leases, state) = (self.parts.leases.clone(), self.state);
        let beat = async move {
            let roster = leases.beat(state).await?;
            if roster.alive {
                return Ok(roster);
            }
            // The others took us for dead. What was ours is not; we come back with nothing.
            tracing::warn!("node was declared dead, rejoining cluster");
            let again = leases.join().await?;
            Ok(LiveNodes { alive: false, nodes: again.nodes })
        };
        ctx.spawn(beat.into_actor(self).map(|beaten: Result<_, DirectoryError>, member, ctx| {
            match beaten {
                Ok(roster) => member.roster(&roster, ctx),
                Err(error) => tracing::warn!(%error, "heartbeat write failed"),
            }
            ctx.run_later(HEARTBEAT_INTERVAL, Self::beat);
        }));
    }

    fn roster(&mut self, roster: &LiveNodes, ctx: &mut SupervisedContext<Self>) {
        if !roster.alive {
            self.parts.services.relinquish_ownership();
            self.parts.services.resync();
        }
        let living: HashSet<_> = roster.nodes.iter().map(|node| node.id).collect();
        for dead in self.parts.peer_nodes.set_members(&living) {
            self.died(dead, ctx);
        }
        let others = u32::try_from(living.len().saturating_sub(1)).unwrap_or(u32::MAX);
        gauge!(CLUSTER_NODES).set(f64::from(others));
    }

    fn died(&mut self, node: NodeId, ctx: &mut SupervisedContext<Self>) {
        self.suspects.remove(&node);
        if !self.parts.peer_nodes.remove(node) {
            return; // found by its word and by its silence
        }
        tracing::warn!(%node, "node declared dead");
        // What it committed last, it may have told nobody.
        self.parts.services.resync();
        let residents = self.parts.services.clone();
        ctx.spawn(async move { residents.node_died(node).await }.into_actor(self));
    }

    fn pulse(&mut self, ctx: &mut SupervisedContext<Self>) {
        let sure = self.parts.leases.lease_is_valid();
        if self.sure && !sure {
            self.parts.services.relinquish_ownership();
        }
        self.sure = sure;
        let load = self.parts.services.load();
        self.parts.peer_nodes.send_heartbeat(load, self.state == NodeState::Up && sure);
        self.look_at_suspects(ctx);
    }

    /// Asks the database whether those are dead whom nobody finds.
    fn look_at_suspects(&mut self, ctx: &mut SupervisedContext<Self>) {
        for suspect in std::mem::take(&mut self.suspects) {
            let leases = self.parts.leases.clone();
            let asked = async move { leases.is_dead(suspect).await };
            ctx.spawn(asked.into_actor(self).map(move |dead, member, ctx| match dead {
                Ok(true) => member.died(suspect, ctx),
                Ok(false) => {} // suspected again with the next sign of life that finds nobody
                Err(error) => tracing::warn!(%error, "node liveness check failed"),
            }));
        }
    }

    /// Tells what changed, and asks for what is missing.
    fn stir(&mut self, ctx: &mut SupervisedContext<Self>) {
        self.parts.peer_nodes.publish_changes();
        for node in self.parts.peer_nodes.nodes_without_snapshot() {
            if !self.learning.insert(node) {
                continue;
            }
            let neighbours = self.parts.peer_nodes.clone();
            let learn = async move { neighbours.fetch_snapshot(node).await };
            ctx.spawn(learn.into_actor(self).map(move |learned, member, _| {
                member.learning.remove(&node);
                match learned {
                    Ok((calls, since)) => {
                        member.parts.services.set_remote_calls(node, calls);
                        for change in since {
                            member.parts.services.on_remote_change(node, change);
                        }
                    }
                    Err(error) => tracing::debug!(%error, %node, "peer snapshot fetch failed"),
                }
            }));
        }
        let neighbours = self.parts.peer_nodes.clone();
        let stirred = async move { neighbours.changed().await };
        ctx.spawn(stirred.into_actor(self).map(|(), member, ctx| member.stir(ctx)));
    }

    /// Frees the places of those who do not come back.
    fn look_after_seats(&mut self, ctx: &mut SupervisedContext<Self>) {
        let residents = self.parts.services.clone();
        let look = async move { residents.reconcile_participants().await };
        ctx.spawn(look.into_actor(self).map(|adrift, member, ctx| {
            let now = Instant::now();
            let before = std::mem::take(&mut member.adrift);
            for session in adrift {
                let since = before.get(&session).copied().unwrap_or(now);
                if now - since > REJOIN_GRACE {
                    member.parts.services.on_session_lost(session);
                } else {
                    member.adrift.insert(session, since);
                }
            }
            if !member.parts.peer_nodes.is_up() {
                member.look_at_devices(ctx); // nobody could tell us of those that were signed out
            }
            ctx.run_later(RECONCILE_INTERVAL, Self::look_after_seats);
        }));
    }

    /// Ends the sessions of devices that were signed out without our hearing of it.
    fn look_at_devices(&self, ctx: &mut SupervisedContext<Self>) {
        let residents = self.parts.services.clone();
        ctx.spawn(async move { residents.revalidate_devices().await }.into_actor(self));
    }
}

impl Actor for Membership {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.beat(ctx);
        self.stir(ctx);
        self.look_after_seats(ctx);
        ctx.run_interval(CHECK_INTERVAL, Self::pulse);
    }
}

/// Nobody listens at this node, says the broker.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SuspectNode(pub NodeId);

impl Handler<SuspectNode> for Membership {
    type Result = ();

    fn handle(&mut self, SuspectNode(node): SuspectNode, ctx: &mut Self::Context) {
        // No sign of life is sent for it: that would find nobody again, and at once.
        if self.suspects.insert(node) && self.suspects.len() == 1 {
            ctx.run_later(Duration::ZERO, Self::look_at_suspects);
        }
    }
}

/// The bus may have lost something that was told to this node.
#[derive(Message)]
#[rtype(result = "()")]
pub struct BusEventsLost;

impl Handler<BusEventsLost> for Membership {
    type Result = ();

    fn handle(&mut self, _: BusEventsLost, ctx: &mut Self::Context) {
        self.parts.services.resync();
        self.look_at_devices(ctx);
    }
}

/// This node takes no new rooms from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LeaveCluster;

impl Handler<LeaveCluster> for Membership {
    type Result = ();

    fn handle(&mut self, _: LeaveCluster, ctx: &mut Self::Context) {
        self.state = NodeState::Draining;
        self.pulse(ctx);
    }
}
