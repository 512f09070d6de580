//! A track that a participant publishes.

use std::time::Instant;

use crate::api::{MediaKind, ParticipantId, SimulcastLayer, TrackId, TrackInfo, TrackSource};
use crate::limits::MAX_SIMULCAST_LAYERS;
use crate::sdp::{ExtensionIds, PayloadFormat};
use crate::speaker::DtxGate;
use crate::stream::LayerStream;

/// A published track with its layers.
pub(crate) struct PublishedTrack {
    /// Unique within the room.
    pub(crate) id: TrackId,
    /// The publishing participant.
    pub(crate) owner: ParticipantId,
    /// Slot of the owner among the peers of the room.
    pub(crate) owner_slot: usize,
    /// The media section in which it is published.
    pub(crate) mid: String,
    /// Sound or pictures.
    pub(crate) kind: MediaKind,
    /// What the track captures.
    pub(crate) source: TrackSource,
    /// The negotiated payload format.
    pub(crate) format: PayloadFormat,
    /// The payload format of audio with redundancy (RED), if negotiated.
    pub(crate) red_format: Option<PayloadFormat>,
    /// Header extension ids of its section.
    pub(crate) extension_ids: ExtensionIds,
    /// Layers, lowest first; one without simulcast.
    pub(crate) streams: Vec<LayerStream>,
    /// The layers that its publisher was last asked to send.
    pub(crate) requested_layers: Vec<SimulcastLayer>,
    /// Since when fewer layers would suffice; `None` if all of them are watched.
    pub(crate) unwanted_since: Option<Instant>,
    /// No packet of it was forwarded yet.
    pub(crate) is_never_forwarded: bool,
    /// Its owner or a moderator muted it.
    pub(crate) is_muted: bool,
    /// Its owner is not among the last N whose video or audio is forwarded.
    pub(crate) is_outside_last_n: bool,
    /// When a packet of it was last forwarded.
    pub(crate) last_forwarded: Option<Instant>,
    /// Suppresses packets of silence.
    pub(crate) dtx_gate: DtxGate,
}

/// The layer of the stream at `position` of `count` streams.
pub(crate) fn layer_at(position: usize, count: usize) -> SimulcastLayer {
    match (position, count) {
        (0, 2 | 3) => SimulcastLayer::Low,
        (1, 3) => SimulcastLayer::Medium,
        _ => SimulcastLayer::High,
    }
}

impl PublishedTrack {
    /// The description that is published to signalling.
    pub(crate) fn info(&self) -> TrackInfo {
        let count = self.streams.len();
        TrackInfo {
            id: self.id,
            owner: self.owner,
            kind: self.kind,
            source: self.source,
            layers: (0..count).map(|position| layer_at(position, count)).collect(),
        }
    }

    /// The layer of the stream at `position`.
    pub(crate) fn layer_of(&self, position: usize) -> SimulcastLayer {
        layer_at(position, self.streams.len())
    }

    /// The stream with this id.
    pub(crate) fn stream_by_id(&self, source: u32) -> Option<&LayerStream> {
        self.streams.iter().find(|stream| stream.stream_id == source)
    }

    /// Changes why the track is suppressed; a track that is forwarded again needs a key frame. True if
    /// it became suppressed or forwarded.
    pub(crate) fn set_suppression(&mut self, muted: bool, outside_last_n: bool) -> bool {
        let was_suppressed = self.is_suppressed();
        (self.is_muted, self.is_outside_last_n) = (muted, outside_last_n);
        let is_suppressed = self.is_suppressed();
        if was_suppressed && !is_suppressed && self.kind == MediaKind::Video {
            self.streams.iter_mut().for_each(|stream| stream.key_frames.request());
        }
        was_suppressed != is_suppressed
    }

    /// Whether no packet of it is forwarded.
    pub(crate) fn is_suppressed(&self) -> bool {
        self.is_muted || self.is_outside_last_n
    }
}

/// Orders rids from low to high. Well-known names determine the order; otherwise the first rid of the offer
/// is the lowest layer, as browsers send it. At most [`MAX_SIMULCAST_LAYERS`] remain.
pub(crate) fn order_rids(mut rids: Vec<String>) -> Vec<String> {
    const WELL_KNOWN: [[&str; 3]; 4] =
        [["q", "h", "f"], ["l", "m", "h"], ["low", "medium", "high"], ["lo", "mid", "hi"]];
    let rank = |names: &[&str; 3], rid: &str| names.iter().position(|name| *name == rid);
    let known = WELL_KNOWN.iter().find(|names| rids.iter().all(|rid| rank(names, rid).is_some()));
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
        let order = |rids: &[&str]| order_rids(rids.iter().map(|rid| (*rid).to_owned()).collect());
        assert_eq!(order(&["h", "m", "l"]), ["l", "m", "h"]);
        assert_eq!(order(&["f", "h", "q"]), ["q", "h", "f"]);
        assert_eq!(order(&["hi", "lo"]), ["lo", "hi"]);
        assert_eq!(order(&["1", "2", "0", "9"]), ["1", "2", "0"]);
    }

    #[test]
    fn track_without_simulcast_has_only_high_layer() {
        assert_eq!(layer_at(0, 1), SimulcastLayer::High);
        assert_eq!(
            [0, 1].map(|position| layer_at(position, 2)),
            [SimulcastLayer::Low, SimulcastLayer::High]
        );
        assert_eq!(
            [0, 1, 2].map(|position| layer_at(position, 3)),
            [SimulcastLayer::Low, SimulcastLayer::Medium, SimulcastLayer::High]
        );
    }
}
