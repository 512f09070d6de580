//! A participant within a room: its transport, the tracks it publishes and the tracks it receives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::api::{LayerLimit, MediaKind, ParticipantId, TrackId};
use crate::congestion::CongestionController;
use crate::connection::PeerTransport;
use crate::settings::RoomConfig;
use crate::stream::BitrateMeter;
use crate::subscription::DownTrack;
use crate::twcc::TwccSender;

/// A media section of the client's offers; its index never changes (RFC 8829 §5.2.2).
pub(crate) struct MidSlot {
    /// Its `mid`; the section may be recycled with another one.
    pub(crate) mid: String,
    /// Slot of the track that is published here.
    pub(crate) published_slot: Option<usize>,
    /// The track that is received here.
    pub(crate) down_track: Option<Box<DownTrack>>,
}

/// A participant and its media state.
pub(crate) struct RoomPeer {
    /// The participant's number.
    pub(crate) participant: ParticipantId,
    /// Present from the first offer on.
    pub(crate) transport: Option<PeerTransport>,
    /// Media sections in the order of the last offer.
    pub(crate) mid_slots: Vec<MidSlot>,
    /// Whether its audio and its video are muted.
    pub(crate) muted: [bool; 2],
    /// Number of SDP answers sent so far.
    pub(crate) answer_count: u64,
    /// When the offer was received after which no media has flowed yet.
    pub(crate) offered_at: Option<Instant>,
    /// Round trip time, measured from receiver reports.
    pub(crate) round_trip: Option<Duration>,
    /// Congestion control of its transport.
    pub(crate) congestion: CongestionController,
    /// Bitrate received from the client.
    pub(crate) uplink: BitrateMeter,
    /// Bitrate sent to the client.
    pub(crate) downlink: BitrateMeter,
    /// The layer limits that the client has set.
    pub(crate) layer_limits: BTreeMap<TrackId, LayerLimit>,
    /// When its timers are handled next.
    pub(crate) wake_at: Instant,
    /// When key frame requests that were not fulfilled are repeated.
    pub(crate) key_frame_retry_at: Option<Instant>,
    /// When RTCP reports are due.
    pub(crate) report_at: Instant,
    /// When its quality is reported next.
    pub(crate) quality_at: Instant,
    /// Index into `mid_slots` of the section that receives a track, by the slot of the track.
    mid_index_by_track: Vec<u16>,
}

/// Marks a track that the peer does not receive.
const NOT_RECEIVED: u16 = u16::MAX;

impl RoomPeer {
    /// A peer that has just joined.
    pub(crate) fn new(now: Instant, participant: ParticipantId, settings: &RoomConfig) -> Self {
        Self {
            participant,
            transport: None,
            mid_slots: Vec::new(),
            muted: [false; 2],
            answer_count: 0,
            offered_at: None,
            round_trip: None,
            congestion: CongestionController::new(now, settings),
            uplink: BitrateMeter::default(),
            downlink: BitrateMeter::default(),
            layer_limits: BTreeMap::new(),
            wake_at: now,
            key_frame_retry_at: None,
            report_at: now,
            quality_at: now + settings.quality_interval,
            mid_index_by_track: Vec::new(),
        }
    }

    /// Whether the peer's media of this kind is muted.
    pub(crate) fn is_muted(&self, kind: MediaKind) -> bool {
        self.muted[usize::from(kind == MediaKind::Video)]
    }

    /// Mutes or unmutes media of this kind.
    pub(crate) fn set_muted(&mut self, kind: MediaKind, muted: bool) {
        self.muted[usize::from(kind == MediaKind::Video)] = muted;
    }

    /// Handles the timers at `at` at the latest.
    pub(crate) fn wake_by(&mut self, at: Instant) {
        self.wake_at = self.wake_at.min(at);
    }

    /// Rebuilds the index of down tracks; must be called after `mid_slots` changed.
    pub(crate) fn rebuild_index(&mut self) {
        self.mid_index_by_track.clear();
        for (index, track_slot) in
            self.mid_slots.iter().enumerate().filter_map(|(index, mid_slot)| {
                Some((index, mid_slot.down_track.as_ref()?.track_slot))
            })
        {
            if self.mid_index_by_track.len() <= track_slot {
                self.mid_index_by_track.resize(track_slot + 1, NOT_RECEIVED);
            }
            self.mid_index_by_track[track_slot] = u16::try_from(index).unwrap_or(NOT_RECEIVED);
        }
    }

    /// Index into `mid_slots` of the section that receives the track in this slot.
    pub(crate) fn mid_index(&self, track_slot: usize) -> Option<usize> {
        self.mid_index_by_track
            .get(track_slot)
            .filter(|index| **index != NOT_RECEIVED)
            .map(|index| usize::from(*index))
    }

    /// All tracks that the peer receives.
    pub(crate) fn down_tracks(&mut self) -> impl Iterator<Item = &mut DownTrack> {
        self.mid_slots.iter_mut().filter_map(|mid_slot| mid_slot.down_track.as_deref_mut())
    }

    /// The state needed to send the track received in a section.
    pub(crate) fn subscriber_side(&mut self, mid_slot: usize) -> Option<SubscriberSide<'_>> {
        let mid_slot = self.mid_slots.get_mut(mid_slot)?;
        Some(SubscriberSide {
            transport: self.transport.as_mut()?,
            twcc_sender: &mut self.congestion.twcc_sender,
            down_track: mid_slot.down_track.as_deref_mut()?,
            mid: &mid_slot.mid,
        })
    }
}

/// The parts of a subscribing peer that sending a packet changes.
pub(crate) struct SubscriberSide<'a> {
    /// Its SRTP contexts and path.
    pub(crate) transport: &'a mut PeerTransport,
    /// Its transport-wide sequence numbers.
    pub(crate) twcc_sender: &'a mut TwccSender,
    /// The track that it receives.
    pub(crate) down_track: &'a mut DownTrack,
    /// The `mid` of the receiving section.
    pub(crate) mid: &'a str,
}
