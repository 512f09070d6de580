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
    fn set_remote_calls(&self, node: NodeId, calls: Vec<RemoteCallSummary>);
    /// Something is different about a call at another node.
    fn on_remote_change(&self, node: NodeId, change: NodeStateChange);
    /// Asks for the sessions of other nodes that are in calls of this one; gives those whose node
    /// is dead.
    fn reconcile_participants(&self) -> BoxFuture<'_, Vec<SessionId>>;
    /// A session is no more.
    fn on_session_lost(&self, session: SessionId);
    /// Ends the sessions of devices that were signed out, and of people who were put out, without
    /// this node's hearing of it.
    fn revalidate_devices(&self) -> BoxFuture<'_, ()>;
}

/// Those of a real node.
pub struct LocalNodeServices {
    /// The calls that go on here.
    pub calls: CallService,
    /// The sessions that are here.
    pub event_router: EventRouter,
    /// Where devices are.
    pub store: Store,
}

impl NodeServices for LocalNodeServices {
    fn on_remote_change(&self, node: NodeId, change: NodeStateChange) {
        self.calls.on_remote_change(node, change);
    }

    fn load(&self) -> NodeLoad {
        self.calls.load()
    }

    fn relinquish_ownership(&self) {
        self.calls.relinquish_all();
    }

    fn resync(&self) {
        self.event_router.resync_local();
    }

    fn node_died(&self, node: NodeId) -> BoxFuture<'_, ()> {
        Box::pin(self.calls.node_died(node))
    }

    fn set_remote_calls(&self, node: NodeId, calls: Vec<RemoteCallSummary>) {
        self.calls.set_remote_calls(node, calls);
    }

    fn reconcile_participants(&self) -> BoxFuture<'_, Vec<SessionId>> {
        Box::pin(self.calls.reconcile_remote_participants())
    }

    fn on_session_lost(&self, session: SessionId) {
        self.calls.on_session_lost_local(session);
    }

    fn revalidate_devices(&self) -> BoxFuture<'_, ()> {
        let (devices, guests) =
            (self.event_router.local_devices(), self.event_router.local_call_only_users());
        Box::pin(async move {
            match self.store.signed_out(devices).await {
                Ok(gone) => self.event_router.close_sessions_of_devices(&gone),
                Err(error) => tracing::warn!(%error, "revoked-device check failed"),
            }
            match self.store.kept_out(guests).await {
                Ok(gone) => gone
                    .into_iter()
                    .for_each(|user| self.event_router.close_user_sessions_local(user)),
                Err(error) => tracing::warn!(%error, "suspended-user check failed"),
            }
        })
    }
}
