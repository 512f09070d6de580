//! The place of a call that is about to begin.

use base::ids::{CallId, ConversationId};

use super::super::room::CallRoom;
use super::CallIndex;
use crate::actors::supervision::ActorRef;

/// A place on the board for a call that is about to begin. Let go of before the room lives, it is
/// free again: whoever asked for the call may go away at any time.
pub(in crate::actors::calls) struct CallReservation {
    board: CallIndex,
    id: CallId,
    begun: bool,
}

impl CallReservation {
    pub(super) const fn new(board: CallIndex, id: CallId) -> Self {
        Self { board, id, begun: false }
    }

    /// Which call it is for.
    pub(in crate::actors::calls) const fn id(&self) -> CallId {
        self.id
    }

    /// It is not a new call that begins, but this one that goes on.
    pub(in crate::actors::calls) fn rename(
        &mut self,
        id: CallId,
        conversation: Option<ConversationId>,
    ) {
        self.board.rename(self.id, id, conversation);
        self.id = id;
    }

    /// The room lives.
    pub(in crate::actors::calls) fn begun(mut self, room: ActorRef<CallRoom>) {
        self.begun = true;
        self.board.begun(self.id, Ok(room));
    }
}

impl Drop for CallReservation {
    fn drop(&mut self) {
        if !self.begun {
            self.board.begun(self.id, Err(()));
        }
    }
}
