//! What came before that which it follows, kept for a moment: nodes that write into one
//! conversation at the same time are not heard in the order in which they wrote.

use std::time::Duration;

use super::outbound_event::{OutboundEvent, SequencePosition};

/// How long what is missing may take to come before it is read from the database.
pub(super) const REORDER_TIMEOUT: Duration = Duration::from_millis(50);
/// More is not kept: whoever lacks so much reads.
const MAX_REORDERED_EVENTS: usize = 64;

/// The events of one session that came too early.
#[derive(Debug, Default)]
pub(super) struct ReorderBuffer(Vec<(SequencePosition, OutboundEvent)>);

impl ReorderBuffer {
    /// Keeps an event until it is taken; false if there is no room.
    pub(super) fn push(&mut self, place: SequencePosition, event: OutboundEvent) -> bool {
        let room = self.0.len() < MAX_REORDERED_EVENTS;
        if room {
            self.0.push((place, event));
        }
        room
    }

    /// The event that follows `place`, if it is here.
    pub(super) fn take_successors(
        &mut self,
        place: SequencePosition,
    ) -> Option<(SequencePosition, OutboundEvent)> {
        let next = SequencePosition { number: place.number + 1, ..place };
        let found = self.0.iter().position(|(place, _)| *place == next)?;
        Some(self.0.swap_remove(found))
    }

    /// Gives everything up; the places, of which some may have been passed meanwhile.
    pub(super) fn take_expired(&mut self) -> Vec<SequencePosition> {
        std::mem::take(&mut self.0).into_iter().map(|(place, _)| place).collect()
    }
}
