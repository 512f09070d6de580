//! A call that was looked up, and how its room is reached.

use std::time::Duration;

use base::ids::{CallId, ConversationId, NodeId};
use tokio::sync::watch;

use super::RoomState;
use crate::domain::calls::CallError;

/// A call that was found, with the route to its room.
pub(in crate::actors::calls) struct LocatedCall<R> {
    /// Id of the call.
    pub(in crate::actors::calls) id: CallId,
    /// The conversation it belongs to.
    pub(in crate::actors::calls) conversation: Option<ConversationId>,
    /// The session name by which it is joined.
    pub(in crate::actors::calls) name: Option<String>,
    pub(super) route: RoomRoute<R>,
}

/// Where the room of a call runs.
#[derive(Clone)]
pub(super) enum RoomRoute<R> {
    Local(watch::Receiver<RoomState<R>>),
    Remote(NodeId),
}

/// How long a reserved call may take to start.
const ROOM_START_TIMEOUT: Duration = Duration::from_secs(5);

impl<R: Clone> LocatedCall<R> {
    /// The other node on which it runs; `None` if it runs here.
    pub(in crate::actors::calls) const fn remote_node(&self) -> Option<NodeId> {
        match self.route {
            RoomRoute::Local(_) => None,
            RoomRoute::Remote(node) => Some(node),
        }
    }

    /// Its room, once it is running.
    ///
    /// # Errors
    /// [`CallError::Migrating`] if it runs on another node or its reservation was dropped: retry then.
    pub(in crate::actors::calls) async fn room(self) -> Result<R, CallError> {
        let RoomRoute::Local(mut room) = self.route else { return Err(CallError::Migrating) };
        let started =
            tokio::time::timeout(ROOM_START_TIMEOUT, room.wait_for(Option::is_some)).await;
        match started {
            Ok(Ok(room_state)) => {
                room_state.clone().unwrap_or(Err(())).map_err(|()| CallError::Migrating)
            }
            _ => Err(CallError::Unavailable),
        }
    }
}
