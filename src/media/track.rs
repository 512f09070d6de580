//! Something that a participant publishes.

use std::time::Instant;

use crate::api::{MediaKind, ParticipantId, SimulcastLayer, TrackId, TrackInfo, TrackSource};
use crate::sdp::{ExtensionIds, PayloadFormat};
use crate::speaker::DtxGate;
use crate::stream::LayerStream;

/// The most layers of simulcast.
pub(crate) const MAX_SIMULCAST_LAYERS: usize = 3;

/// A published track, with its layers.
pub(crate) struct PublishedTrack {
    /// Its number.
    pub(crate) id: TrackId,
    /// Who publishes it.
    pub(crate) owner: ParticipantId,
    /// Where its owner is.
    pub(crate) member: usize,
    /// In which section.
    pub(crate) mid: String,
    /// Sound or picture.
    pub(crate) kind: MediaKind,
    /// What it shows.
    pub(crate) source: TrackSource,
    /// What it is sent as.
    pub(crate) format: PayloadFormat,
    /// The payload type of sound with redundancy, if that was agreed on.
    pub(crate) redundant: Option<PayloadFormat>,
    /// Header extensions of its section.
    pub(crate) ids: ExtensionIds,
    /// Lowest first; one without simulcast.
    pub(crate) streams: Vec<LayerStream>,
    /// Which layers its publisher was told to send, and since when fewer would do.
    pub(crate) wanted: Vec<SimulcastLayer>,
    /// See there.
    pub(crate) unwanted_since: Option<Instant>,
    /// Nothing of it was forwarded yet.
    pub(crate) unseen: bool,
    /// Its owner, or a moderator, muted it.
    pub(crate) muted: bool,
    /// Its owner is not among those whose pictures, or voices, are forwarded.
    pub(crate) unheard: bool,
    /// When something of it was forwarded last.
    pub(crate) forwarded: Option<Instant>,
    /// Leaves out silence.
    pub(crate) silence: DtxGate,
}

/// Which layer a stream is, of so many.
pub(crate) fn layer(position: usize, count: usize) -> SimulcastLayer {
    match (position, count) {
        (0, 2 | 3) => SimulcastLayer::Low,
        (1, 3) => SimulcastLayer::Medium,
        _ => SimulcastLayer::High,
    }
}

impl PublishedTrack {
    /// What others are told of it.
    pub(crate) fn info(&self) -> TrackInfo {
        let count = self.streams.len();
        TrackInfo {
            id: self.id,
            owner: self.owner,
            kind: self.kind,
            source: self.source,
            layers: (0..count).map(|position| layer(position, count)).collect(),
        }
    }

    /// Which layer a stream is.
    pub(crate) fn layer(&self, position: usize) -> SimulcastLayer {
        layer(position, self.streams.len())
    }

    /// The stream of this name.
    pub(crate) fn of_source(&self, source: u32) -> Option<&LayerStream> {
        self.streams.iter().find(|stream| stream.source == source)
    }

    /// Hides or reveals it; what is revealed needs a key frame. True if that changed anything.
    pub(crate) fn hide(&mut self, muted: bool, unheard: bool) -> bool {
        let before = self.is_hidden();
        (self.muted, self.unheard) = (muted, unheard);
        let hidden = self.is_hidden();
        if before && !hidden && self.kind == MediaKind::Video {
            self.streams.iter_mut().for_each(|stream| stream.requests.want());
        }
        before != hidden
    }

    /// Whether nothing of it is forwarded.
    pub(crate) fn is_hidden(&self) -> bool {
        self.muted || self.unheard
    }
}

/// Orders layers from low to high. Their names decide where they are of a well-known kind; otherwise
/// the first one of the offer is the lowest, as clients do it.
pub(crate) fn ordered(mut rids: Vec<String>) -> Vec<String> {
    const KNOWN: [[&str; 3]; 4] =
        [["q", "h", "f"], ["l", "m", "h"], ["low", "medium", "high"], ["lo", "mid", "hi"]];
    let rank = |names: &[&str; 3], rid: &str| names.iter().position(|name| *name == rid);
    let known = KNOWN.iter().find(|names| rids.iter().all(|rid| rank(names, rid).is_some()));
    if let Some(names) = known {
        rids.sort_by_key(|rid| rank(names, rid));
    }
    rids.truncate(MAX_SIMULCAST_LAYERS);
    rids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulcast_rids_are_ordered_by_known_names_or_offer_order() {
        let order = |rids: &[&str]| ordered(rids.iter().map(|rid| (*rid).to_owned()).collect());
        assert_eq!(order(&["h", "m", "l"]), ["l", "m", "h"]);
        assert_eq!(order(&["f", "h", "q"]), ["q", "h", "f"]);
        assert_eq!(order(&["hi", "lo"]), ["lo", "hi"]);
        assert_eq!(order(&["1", "2", "0", "9"]), ["1", "2", "0"]);
    }

    #[test]
    fn track_without_simulcast_has_only_high_layer() {
        assert_eq!(layer(0, 1), SimulcastLayer::High);
        assert_eq!([0, 1].map(|at| layer(at, 2)), [SimulcastLayer::Low, SimulcastLayer::High]);
        assert_eq!(
            [0, 1, 2].map(|at| layer(at, 3)),
            [SimulcastLayer::Low, SimulcastLayer::Medium, SimulcastLayer::High]
        );
    }
}
