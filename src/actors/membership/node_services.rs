//! What depends on the membership of a node: calls and sessions, or substitutes in simulations.

use base::ids::{NodeId, SessionId};
use store::Store;

use crate::actors::calls::CallService;
use crate::actors::delivery::EventRouter;
use crate::cluster::BoxFuture;
use crate::protocol::cluster::{NodeLoad, NodeStateChange, RemoteCallSummary};

/// The interface of a membership to the services of its node.
pub trait NodeServices: Send + Sync + 'static {
    /// The load of the node.
    fn load(&self) -> NodeLoad;
    /// Gives up everything the node owns, as it is no longer sure to own it.
    fn relinquish_ownership(&self);
    /// Makes all sessions resync from the database, as events may be lost.
    fn resync(&self);
    /// Handles the death of a node.
    fn node_died(&self, node: NodeId) -> BoxFuture<'_, ()>;
    /// Replaces the known calls of another node.
    fn set_remote_calls(&self, node: NodeId, calls: Vec<RemoteCallSummary>);
    /// Applies a change of a call on another node.
    fn on_remote_change(&self, node: NodeId, change: NodeStateChange);
    /// Asks the other nodes for their sessions that take part in calls of this one; returns those
    /// whose node is dead.
    fn reconcile_participants(&self) -> BoxFuture<'_, Vec<SessionId>>;
    /// A session has ended.
    fn on_session_lost(&self, session: SessionId);
    /// Ends the sessions of devices that were signed out, and of users who were suspended, without
    /// this node being notified.
    fn revalidate_devices(&self) -> BoxFuture<'_, ()>;
}

/// The services of a real node.
pub struct LocalNodeServices {
    /// The calls of this node.
    pub calls: CallService,
    /// Routes events to the sessions of this node.
    pub event_router: EventRouter,
    /// The database with devices and users.
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
        let (devices, call_only_users) =
            (self.event_router.local_devices(), self.event_router.local_call_only_users());
        Box::pin(async move {
            match self.store.signed_out_devices(devices).await {
                Ok(devices) => self.event_router.close_sessions_of_devices(&devices),
                Err(error) => tracing::warn!(%error, "revoked-device check failed"),
            }
            match self.store.suspended_users(call_only_users).await {
                Ok(users) => users
                    .into_iter()
                    .for_each(|user| self.event_router.close_user_sessions_local(user)),
                Err(error) => tracing::warn!(%error, "suspended-user check failed"),
            }
        })
    }
}
