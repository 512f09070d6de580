//! The SSRCs of one client: the track of each, and the SRTP packets received from it.

use crate::limits::MAX_SSRCS_PER_ASSOCIATION;
use crate::srtp::ReplayWindow;

/// What an SSRC is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SsrcBinding {
    /// Slot of the track in the room.
    pub(crate) track_slot: usize,
    /// Index of the layer's stream in the track.
    pub(crate) stream: usize,
    /// Whether it carries retransmissions (RTX) of the stream.
    pub(crate) is_rtx: bool,
}

/// An SSRC from which an authentic packet was received.
#[derive(Default)]
pub(crate) struct SsrcState {
    /// The synchronization source identifier.
    pub(crate) ssrc: u32,
    /// The replay window; retained when the track is unpublished, since the client may continue to count.
    pub(crate) window: ReplayWindow,
    /// What it is used for, if known.
    pub(crate) binding: Option<SsrcBinding>,
}

/// All known SSRCs of one SRTP association.
#[derive(Default)]
pub(crate) struct SsrcTable {
    entries: Vec<SsrcState>,
}

impl SsrcTable {
    /// Index of an SSRC.
    pub(crate) fn find(&self, ssrc: u32) -> Option<usize> {
        self.entries.iter().position(|entry| entry.ssrc == ssrc)
    }

    /// The SSRC at an index that [`find`](Self::find) returned.
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut SsrcState> {
        self.entries.get_mut(index)
    }

    /// Stores an SSRC that was authenticated and returns its index; if the table is full, the oldest unbound
    /// one (else the oldest one) is evicted.
    pub(crate) fn add(&mut self, ssrc: u32) -> usize {
        if self.entries.len() == MAX_SSRCS_PER_ASSOCIATION {
            let unbound = self.entries.iter().position(|entry| entry.binding.is_none());
            self.entries.remove(unbound.unwrap_or(0));
        }
        self.entries.push(SsrcState { ssrc, ..SsrcState::default() });
        self.entries.len() - 1
    }

    /// Removes the bindings to a track that was unpublished.
    pub(crate) fn unbind(&mut self, track_slot: usize) {
        for entry in &mut self.entries {
            entry.binding = entry.binding.filter(|binding| binding.track_slot != track_slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_unbound_ssrc_is_evicted_first() {
        let mut table = SsrcTable::default();
        for ssrc in 0..MAX_SSRCS_PER_ASSOCIATION as u32 {
            let index = table.add(ssrc);
            let track = if ssrc == 3 { 9 } else { 1 };
            table.get_mut(index).unwrap().binding =
                Some(SsrcBinding { track_slot: track, stream: 0, is_rtx: false });
        }
        table.unbind(9);
        table.add(1000);

        assert_eq!(table.find(3), None);
        assert!(table.find(0).is_some() && table.find(1000).is_some());
    }
}
