//! One who takes part: a transport, what is published over it, what is received over it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::api::{LayerLimit, MediaKind, ParticipantId, TrackId};
use crate::congestion::CongestionController;
use crate::connection::PeerTransport;
use crate::settings::RoomConfig;
use crate::stream::BitrateMeter;
use crate::subscription::DownTrack;
use crate::twcc::TwccSender;

/// A section of the client's offers; its place never changes (RFC 8829 §5.2.2).
pub(crate) struct MidSlot {
    /// Its name, until it is used for something else.
    pub(crate) mid: String,
    /// Where the track is that is published here.
    pub(crate) publishes: Option<usize>,
    /// What is received here.
    pub(crate) receives: Option<Box<DownTrack>>,
}

/// A participant.
pub(crate) struct RoomPeer {
    /// Its number.
    pub(crate) participant: ParticipantId,
    /// From the first offer on.
    pub(crate) connection: Option<PeerTransport>,
    /// In the order of the last offer.
    pub(crate) lines: Vec<MidSlot>,
    /// Muted: sound, picture.
    pub(crate) muted: [bool; 2],
    /// Counts answers.
    pub(crate) answers: u64,
    /// When the offer came after which no media flowed yet.
    pub(crate) offered: Option<Instant>,
    /// As measured from its reports.
    pub(crate) round_trip: Option<Duration>,
    /// What is known of its link.
    pub(crate) congestion: CongestionController,
    /// What comes from it.
    pub(crate) up: BitrateMeter,
    /// What goes to it.
    pub(crate) down: BitrateMeter,
    /// The most that it wants of tracks, as it said.
    pub(crate) limits: BTreeMap<TrackId, LayerLimit>,
    /// When it is to be looked after.
    pub(crate) wake: Instant,
    /// When to ask for key frames again that did not come.
    pub(crate) insists: Option<Instant>,
    /// When reports are due.
    pub(crate) report: Instant,
    /// When its quality is told next.
    pub(crate) quality: Instant,
    /// Where in `lines` a track is received: by the place of the track.
    routes: Vec<u16>,
}

const NOWHERE: u16 = u16::MAX;

impl RoomPeer {
    /// Has just joined.
    pub(crate) fn new(now: Instant, participant: ParticipantId, settings: &RoomConfig) -> Self {
        Self {
            participant,
            connection: None,
            lines: Vec::new(),
            muted: [false; 2],
            answers: 0,
            offered: None,
            round_trip: None,
            congestion: CongestionController::new(now, settings),
            up: BitrateMeter::default(),
            down: BitrateMeter::default(),
            limits: BTreeMap::new(),
            wake: now,
            insists: None,
            report: now,
            quality: now + settings.quality_interval,
            routes: Vec::new(),
        }
    }

    /// Whether its own media of this kind are muted.
    pub(crate) fn is_muted(&self, kind: MediaKind) -> bool {
        self.muted[usize::from(kind == MediaKind::Video)]
    }

    /// Mutes or unmutes.
    pub(crate) fn mute(&mut self, kind: MediaKind, muted: bool) {
        self.muted[usize::from(kind == MediaKind::Video)] = muted;
    }

    /// Wakes it earlier.
    pub(crate) fn wake_by(&mut self, at: Instant) {
        self.wake = self.wake.min(at);
    }

    /// Finds subscriptions by the place of their track; to be called when `lines` changed.
    pub(crate) fn index(&mut self) {
        self.routes.clear();
        for (line, place) in self
            .lines
            .iter()
            .enumerate()
            .filter_map(|(at, line)| Some((at, line.receives.as_ref()?.place)))
        {
            if self.routes.len() <= place {
                self.routes.resize(place + 1, NOWHERE);
            }
            self.routes[place] = u16::try_from(line).unwrap_or(NOWHERE);
        }
    }

    /// Where in `lines` the track at this place is received.
    pub(crate) fn route(&self, place: usize) -> Option<usize> {
        self.routes.get(place).filter(|line| **line != NOWHERE).map(|line| usize::from(*line))
    }

    /// All it receives.
    pub(crate) fn subscriptions(&mut self) -> impl Iterator<Item = &mut DownTrack> {
        self.lines.iter_mut().filter_map(|line| line.receives.as_deref_mut())
    }

    /// All that it takes to send what is received in a line.
    pub(crate) fn sending(&mut self, line: usize) -> Option<SubscriberSide<'_>> {
        let line = self.lines.get_mut(line)?;
        Some(SubscriberSide {
            connection: self.connection.as_mut()?,
            departures: &mut self.congestion.departures,
            subscription: line.receives.as_deref_mut()?,
            mid: &line.mid,
        })
    }
}

/// One who receives something: the parts of a member that sending changes.
pub(crate) struct SubscriberSide<'a> {
    /// Its keys and path.
    pub(crate) connection: &'a mut PeerTransport,
    /// What is sent to it.
    pub(crate) departures: &'a mut TwccSender,
    /// What it receives.
    pub(crate) subscription: &'a mut DownTrack,
    /// In which section.
    pub(crate) mid: &'a str,
}
