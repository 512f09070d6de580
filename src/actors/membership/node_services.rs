//! Who lives on a node and depends on its membership: calls and sessions; others in simulations.

use base::ids::{NodeId, SessionId};
use store::Store;

use crate::actors::calls::CallService;
use crate::actors::sessions::EventRouter;
use crate::cluster::BoxFuture;
use crate::protocol::cluster::{NodeLoad, NodeStateChange, RemoteCallSummary};

/// What a membership tells those who live on its node.
pub trait NodeServices: Send + Sync + 'static {
    /// What the node carries.
    fn load(&self) -> NodeLoad;
    /// The node is not sure any more that what it owns is its own.
    fn relinquish_ownership(&self);
    /// Something was perhaps not heard: everybody is to look into the database.
    fn resync(&self);
    /// A node is dead.
    fn node_died(&self, node: NodeId) -> BoxFuture<'_, ()>;
    /// All calls that go on at another node.
    fn all_there(&self, node: NodeId, calls: Vec<RemoteCallSummary>);
    /// Something is different about a call at another node.
    fn changed_there(&self, node: NodeId, change: NodeStateChange);
    /// Asks for the sessions of other nodes that are in calls of this one; gives those whose node
    /// is dead.
    fn reconcile_participants(&self) -> BoxFuture<'_, Vec<SessionId>>;
    /// A session is no more.
    fn lost(&self, session: SessionId);
    /// Ends the sessions of devices that were signed out, and of people who were put out, without
    /// this node's hearing of it.
    fn revalidate_devices(&self) -> BoxFuture<'_, ()>;
}

/// Those of a real node.
pub struct LocalNodeServices {
    /// The calls that go on here.
    pub calls: CallService,
    /// The sessions that are here.
    pub switchboard: EventRouter,
    /// Where devices are.
    pub store: Store,
}

impl NodeServices for LocalNodeServices {
    fn changed_there(&self, node: NodeId, change: NodeStateChange) {
        self.calls.changed_there(node, change);
    }

    fn load(&self) -> NodeLoad {
        self.calls.load()
    }

    fn relinquish_ownership(&self) {
        self.calls.let_go();
    }

    fn resync(&self) {
        self.switchboard.resync_here();
    }

    fn node_died(&self, node: NodeId) -> BoxFuture<'_, ()> {
        Box::pin(self.calls.node_died(node))
    }

    fn all_there(&self, node: NodeId, calls: Vec<RemoteCallSummary>) {
        self.calls.all_there(node, calls);
    }

    fn reconcile_participants(&self) -> BoxFuture<'_, Vec<SessionId>> {
        Box::pin(self.calls.look_after_seats())
    }

    fn lost(&self, session: SessionId) {
        self.calls.lost_here(session);
    }

    fn revalidate_devices(&self) -> BoxFuture<'_, ()> {
        let (devices, guests) = (self.switchboard.devices(), self.switchboard.guests());
        Box::pin(async move {
            match self.store.signed_out_devices(devices).await {
                Ok(gone) => self.switchboard.end_devices(&gone),
                Err(error) => tracing::warn!(%error, "revoked-device check failed"),
            }
            match self.store.suspended_users(guests).await {
                Ok(gone) => {
                    gone.into_iter().for_each(|user| self.switchboard.end_person_here(user))
                }
                Err(error) => tracing::warn!(%error, "suspended-user check failed"),
            }
        })
    }
}
