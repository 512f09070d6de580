//! The reservation of a call that is about to start.

use base::ids::{CallId, ConversationId};

use super::CallIndex;

/// An entry in the call index for a call that is about to start. Dropping it before the room runs
/// frees the entry: the request that starts the call may be cancelled at any time.
pub(in crate::actors::calls) struct CallReservation<R: Clone> {
    call_index: CallIndex<R>,
    id: CallId,
    is_started: bool,
}

impl<R: Clone> CallReservation<R> {
    pub(super) const fn new(call_index: CallIndex<R>, id: CallId) -> Self {
        Self { call_index, id, is_started: false }
    }

    /// Id of the reserved call.
    pub(in crate::actors::calls) const fn id(&self) -> CallId {
        self.id
    }

    /// Changes the id: it is not a new call that starts, but an existing one that continues.
    pub(in crate::actors::calls) fn rename(
        &mut self,
        id: CallId,
        conversation: Option<ConversationId>,
    ) {
        self.call_index.rename(self.id, id, conversation);
        self.id = id;
    }

    /// Publishes the running room.
    pub(in crate::actors::calls) fn start(mut self, room: R) {
        self.is_started = true;
        self.call_index.set_room(self.id, Ok(room));
    }
}

impl<R: Clone> Drop for CallReservation<R> {
    fn drop(&mut self) {
        if !self.is_started {
            self.call_index.set_room(self.id, Err(()));
        }
    }
}
