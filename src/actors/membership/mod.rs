//! Cluster membership: writes the heartbeat of this node, tracks which nodes are alive, and acts
//! when one is dead.

mod event_handler;
mod node_services;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use base::ids::{NodeId, SessionId};
pub use event_handler::ClusterEventHandler;
use metrics::gauge;
pub use node_services::{LocalNodeServices, NodeServices};
use store::NodeState;
use tokio::time::Instant;

use super::peer_nodes::PeerNodes;
use super::supervision::SupervisedContext;
use crate::cluster::directory::HEARTBEAT_INTERVAL;
use crate::cluster::{DirectoryError, LiveNodes, NodeLeases, OwnershipDirectory};
use crate::telemetry::metrics::CLUSTER_NODES;

/// How often heartbeats are sent over the bus and suspected nodes are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// How often participants whose sessions are on other nodes are checked.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(5);
/// How long a participant whose node died has to rejoin before they are removed from the call.
const REJOIN_GRACE: Duration = Duration::from_secs(30);

/// The dependencies of a [`Membership`], at its start and after a restart.
#[derive(Clone)]
pub struct MembershipDeps {
    /// The heartbeat lease of this node.
    pub leases: NodeLeases,
    /// The other nodes.
    pub peer_nodes: PeerNodes,
    /// The calls and sessions of this node.
    pub services: Arc<dyn NodeServices>,
}

/// The actor that maintains the cluster membership of this node.
pub struct Membership {
    deps: MembershipDeps,
    state: NodeState,
    /// Whether this node surely owned its leases at the last check.
    owns_leases: bool,
    /// Nodes that could not be reached.
    suspects: BTreeSet<NodeId>,
    /// Nodes whose snapshot is being fetched.
    fetching: HashSet<NodeId>,
    /// Sessions in calls whose node is dead, and since when.
    orphaned_sessions: HashMap<SessionId, Instant>,
}

crate::actors::supervision::supervised!(Membership);

impl Membership {
    /// A node in the state `up`.
    pub fn new(deps: MembershipDeps) -> Self {
        Self {
            deps,
            state: NodeState::Up,
            owns_leases: true,
            suspects: BTreeSet::new(),
            fetching: HashSet::new(),
            orphaned_sessions: HashMap::new(),
        }
    }

    /// Writes the heartbeat of this node to the database and reads the live nodes.
    fn write_heartbeat(&mut self, ctx: &mut SupervisedContext<Self>) {
        let (leases, state) = (self.deps.leases.clone(), self.state);
        let heartbeat = async move {
            let members = leases.heartbeat(state).await?;
            if members.is_alive {
                return Ok(members);
            }
            // The others declared this node dead, so it owns nothing any more and joins with no
            // state.
            tracing::warn!("node was declared dead, rejoining cluster");
            let rejoined = leases.join().await?;
            Ok(LiveNodes { is_alive: false, nodes: rejoined.nodes })
        };
        ctx.spawn(heartbeat.into_actor(self).map(
            |result: Result<_, DirectoryError>, membership, ctx| {
                match result {
                    Ok(members) => membership.update_members(&members, ctx),
                    Err(error) => tracing::warn!(%error, "heartbeat write failed"),
                }
                ctx.run_later(HEARTBEAT_INTERVAL, Self::write_heartbeat);
            },
        ));
    }

    fn update_members(&mut self, members: &LiveNodes, ctx: &mut SupervisedContext<Self>) {
        if !members.is_alive {
            self.deps.services.relinquish_ownership();
            self.deps.services.resync();
        }
        let live_nodes: HashSet<_> = members.nodes.iter().map(|node| node.id).collect();
        for node in self.deps.peer_nodes.set_members(&live_nodes) {
            self.on_node_dead(node, ctx);
        }
        let peer_count = u32::try_from(live_nodes.len().saturating_sub(1)).unwrap_or(u32::MAX);
        gauge!(CLUSTER_NODES).set(f64::from(peer_count));
    }

    fn on_node_dead(&mut self, node: NodeId, ctx: &mut SupervisedContext<Self>) {
        self.suspects.remove(&node);
        if !self.deps.peer_nodes.remove(node) {
            return; // detected both by the directory and by an unreachable bus route
        }
        tracing::warn!(%node, "node declared dead");
        // Its last commits may not have been announced.
        self.deps.services.resync();
        let services = self.deps.services.clone();
        ctx.spawn(async move { services.node_died(node).await }.into_actor(self));
    }

    fn send_heartbeat(&mut self, ctx: &mut SupervisedContext<Self>) {
        let owns_leases = self.deps.leases.lease_is_valid();
        if self.owns_leases && !owns_leases {
            self.deps.services.relinquish_ownership();
        }
        self.owns_leases = owns_leases;
        let load = self.deps.services.load();
        self.deps.peer_nodes.send_heartbeat(load, self.state == NodeState::Up && owns_leases);
        self.check_suspects(ctx);
    }

    /// Asks the database whether the suspected nodes are dead.
    fn check_suspects(&mut self, ctx: &mut SupervisedContext<Self>) {
        for suspect in std::mem::take(&mut self.suspects) {
            let leases = self.deps.leases.clone();
            let check = async move { leases.is_dead(suspect).await };
            ctx.spawn(check.into_actor(self).map(move |is_dead, membership, ctx| match is_dead {
                Ok(true) => membership.on_node_dead(suspect, ctx),
                Ok(false) => {} // suspected again if the next heartbeat cannot be delivered
                Err(error) => tracing::warn!(%error, "node liveness check failed"),
            }));
        }
    }

    /// Publishes changes and fetches missing snapshots, then waits for the next notification.
    fn sync_peers(&mut self, ctx: &mut SupervisedContext<Self>) {
        self.deps.peer_nodes.publish_changes();
        for node in self.deps.peer_nodes.nodes_without_snapshot() {
            if !self.fetching.insert(node) {
                continue;
            }
            let peer_nodes = self.deps.peer_nodes.clone();
            let fetch = async move { peer_nodes.fetch_snapshot(node).await };
            ctx.spawn(fetch.into_actor(self).map(move |snapshot, membership, _| {
                membership.fetching.remove(&node);
                match snapshot {
                    Ok((calls, later_changes)) => {
                        membership.deps.services.set_remote_calls(node, calls);
                        for change in later_changes {
                            membership.deps.services.on_remote_change(node, change);
                        }
                    }
                    Err(error) => tracing::debug!(%error, %node, "peer snapshot fetch failed"),
                }
            }));
        }
        let peer_nodes = self.deps.peer_nodes.clone();
        let changed = async move { peer_nodes.changed().await };
        ctx.spawn(changed.into_actor(self).map(|(), membership, ctx| membership.sync_peers(ctx)));
    }

    /// Removes participants who do not rejoin in time.
    fn reconcile_participants(&mut self, ctx: &mut SupervisedContext<Self>) {
        let services = self.deps.services.clone();
        let reconcile = async move { services.reconcile_participants().await };
        ctx.spawn(reconcile.into_actor(self).map(|orphaned_sessions, membership, ctx| {
            let now = Instant::now();
            let previously_orphaned = std::mem::take(&mut membership.orphaned_sessions);
            for session in orphaned_sessions {
                let since = previously_orphaned.get(&session).copied().unwrap_or(now);
                if now - since > REJOIN_GRACE {
                    membership.deps.services.on_session_lost(session);
                } else {
                    membership.orphaned_sessions.insert(session, since);
                }
            }
            if !membership.deps.peer_nodes.is_up() {
                membership.revalidate_devices(ctx); // sign-outs may not have been received
            }
            ctx.run_later(RECONCILE_INTERVAL, Self::reconcile_participants);
        }));
    }

    /// Ends the sessions of devices that were signed out without this node being notified.
    fn revalidate_devices(&self, ctx: &mut SupervisedContext<Self>) {
        let services = self.deps.services.clone();
        ctx.spawn(async move { services.revalidate_devices().await }.into_actor(self));
    }
}

impl Actor for Membership {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.write_heartbeat(ctx);
        self.sync_peers(ctx);
        self.reconcile_participants(ctx);
        ctx.run_interval(CHECK_INTERVAL, Self::send_heartbeat);
    }
}

/// The broker reports that this node cannot be reached.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SuspectNode(pub NodeId);

impl Handler<SuspectNode> for Membership {
    type Result = ();

    fn handle(&mut self, SuspectNode(node): SuspectNode, ctx: &mut Self::Context) {
        // No heartbeat is sent to check it: that would fail again at once.
        if self.suspects.insert(node) && self.suspects.len() == 1 {
            ctx.run_later(Duration::ZERO, Self::check_suspects);
        }
    }
}

/// Events sent to this node may be lost.
#[derive(Message)]
#[rtype(result = "()")]
pub struct BusEventsLost;

impl Handler<BusEventsLost> for Membership {
    type Result = ();

    fn handle(&mut self, _: BusEventsLost, ctx: &mut Self::Context) {
        self.deps.services.resync();
        self.revalidate_devices(ctx);
    }
}

/// This node accepts no new rooms from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LeaveCluster;

impl Handler<LeaveCluster> for Membership {
    type Result = ();

    fn handle(&mut self, _: LeaveCluster, ctx: &mut Self::Context) {
        self.state = NodeState::Draining;
        self.send_heartbeat(ctx);
    }
}
