//! A short-lived buffer for events that arrive before their predecessors: nodes that write to one
//! conversation at the same time are not received in the order in which they wrote.

use std::time::Duration;

use crate::actors::delivery::{OutboundEvent, SequencePosition};
use crate::limits::MAX_REORDERED_EVENTS;

/// How long a missing predecessor may take to arrive before it is read from the database.
pub(super) const REORDER_TIMEOUT: Duration = Duration::from_millis(50);

/// The events of one session that arrived out of order.
#[derive(Debug, Default)]
pub(super) struct ReorderBuffer(Vec<(SequencePosition, OutboundEvent)>);

impl ReorderBuffer {
    /// Stores an event until it is taken; false if the buffer is full.
    pub(super) fn push(&mut self, position: SequencePosition, event: OutboundEvent) -> bool {
        let has_room = self.0.len() < MAX_REORDERED_EVENTS;
        if has_room {
            self.0.push((position, event));
        }
        has_room
    }

    /// Removes and returns the event that follows `position`, if it is buffered.
    pub(super) fn take_successors(
        &mut self,
        position: SequencePosition,
    ) -> Option<(SequencePosition, OutboundEvent)> {
        let successor = SequencePosition { number: position.number + 1, ..position };
        let index = self.0.iter().position(|(position, _)| *position == successor)?;
        Some(self.0.swap_remove(index))
    }

    /// Empties the buffer and returns the positions; some of them may have been passed meanwhile.
    pub(super) fn take_expired(&mut self) -> Vec<SequencePosition> {
        std::mem::take(&mut self.0).into_iter().map(|(position, _)| position).collect()
    }
}
