//! The streams of one client by their SSRC: which track each belongs to, and which packets came.

use crate::srtp::ReplayWindow;

/// The most SSRCs of one client that are remembered: three layers with their retransmissions for each
/// of eight pictures, and some that are no more.
const MAX_SSRCS_PER_ASSOCIATION: usize = 64;

/// What an SSRC is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SsrcBinding {
    /// Where the track is.
    pub(crate) track: usize,
    /// Which of its streams.
    pub(crate) stream: usize,
    /// Retransmissions of it.
    pub(crate) repair: bool,
}

/// One SSRC from which an authentic packet came.
#[derive(Default)]
pub(crate) struct SsrcState {
    /// The SSRC.
    pub(crate) ssrc: u32,
    /// Which packets came; kept when the track is no more, since the client may go on counting.
    pub(crate) window: ReplayWindow,
    /// What it is used for, if that is known.
    pub(crate) bound: Option<SsrcBinding>,
}

/// All of one association.
#[derive(Default)]
pub(crate) struct SsrcTable {
    known: Vec<SsrcState>,
}

impl SsrcTable {
    /// Where an SSRC is.
    pub(crate) fn find(&self, ssrc: u32) -> Option<usize> {
        self.known.iter().position(|source| source.ssrc == ssrc)
    }

    /// One that was found.
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut SsrcState> {
        self.known.get_mut(at)
    }

    /// Remembers an SSRC that proved authentic, instead of the oldest unused one if there are too
    /// many. Gives where it is.
    pub(crate) fn add(&mut self, ssrc: u32) -> usize {
        if self.known.len() == MAX_SSRCS_PER_ASSOCIATION {
            let unused = self.known.iter().position(|source| source.bound.is_none());
            self.known.remove(unused.unwrap_or(0));
        }
        self.known.push(SsrcState { ssrc, ..SsrcState::default() });
        self.known.len() - 1
    }

    /// A track is no more.
    pub(crate) fn unbind(&mut self, track: usize) {
        for source in &mut self.known {
            source.bound = source.bound.filter(|bound| bound.track != track);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_unbound_ssrc_is_evicted_first() {
        let mut sources = SsrcTable::default();
        for ssrc in 0..MAX_SSRCS_PER_ASSOCIATION as u32 {
            let at = sources.add(ssrc);
            let track = if ssrc == 3 { 9 } else { 1 };
            sources.get_mut(at).unwrap().bound =
                Some(SsrcBinding { track, stream: 0, repair: false });
        }
        sources.unbind(9);
        sources.add(1000);

        assert_eq!(sources.find(3), None);
        assert!(sources.find(0).is_some() && sources.find(1000).is_some());
    }
}
