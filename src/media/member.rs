//! One who takes part: a transport, what is published over it, what is received over it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::api::{Kind, Limit, Participant, TrackId};
use crate::congestion::Congestion;
use crate::connection::Connection;
use crate::settings::Settings;
use crate::stream::Meter;
use crate::subscription::Subscription;
use crate::twcc::Departures;

/// A section of the client's offers; its place never changes (RFC 8829 §5.2.2).
pub(crate) struct Line {
    /// Its name, until it is used for something else.
    pub(crate) mid: String,
    /// Where the track is that is published here.
    pub(crate) publishes: Option<usize>,
    /// What is received here.
    pub(crate) receives: Option<Box<Subscription>>,
}

/// A participant.
pub(crate) struct Member {
    /// Its number.
    pub(crate) participant: Participant,
    /// From the first offer on.
    pub(crate) connection: Option<Connection>,
    /// In the order of the last offer.
    pub(crate) lines: Vec<Line>,
    /// Muted: sound, picture.
    pub(crate) muted: [bool; 2],
    /// Counts answers.
    pub(crate) answers: u64,
    /// When the offer came after which no media flowed yet.
    pub(crate) offered: Option<Instant>,
    /// As measured from its reports.
    pub(crate) round_trip: Option<Duration>,
    /// What is known of its link.
    pub(crate) congestion: Congestion,
    /// What comes from it.
    pub(crate) up: Meter,
    /// What goes to it.
    pub(crate) down: Meter,
    /// The most that it wants of tracks, as it said.
    pub(crate) limits: BTreeMap<TrackId, Limit>,
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

impl Member {
    /// Has just joined.
    pub(crate) fn new(now: Instant, participant: Participant, settings: &Settings) -> Self {
        Self {
            participant,
            connection: None,
            lines: Vec::new(),
            muted: [false; 2],
            answers: 0,
            offered: None,
            round_trip: None,
            congestion: Congestion::new(now, settings),
            up: Meter::default(),
            down: Meter::default(),
            limits: BTreeMap::new(),
            wake: now,
            insists: None,
            report: now,
            quality: now + settings.quality,
            routes: Vec::new(),
        }
    }

    /// Whether its own media of this kind are muted.
    pub(crate) fn is_muted(&self, kind: Kind) -> bool {
        self.muted[usize::from(kind == Kind::Video)]
    }

    /// Mutes or unmutes.
    pub(crate) fn mute(&mut self, kind: Kind, muted: bool) {
        self.muted[usize::from(kind == Kind::Video)] = muted;
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
    pub(crate) fn subscriptions(&mut self) -> impl Iterator<Item = &mut Subscription> {
        self.lines.iter_mut().filter_map(|line| line.receives.as_deref_mut())
    }

    /// All that it takes to send what is received in a line.
    pub(crate) fn sending(&mut self, line: usize) -> Option<Recipient<'_>> {
        let line = self.lines.get_mut(line)?;
        Some(Recipient {
            connection: self.connection.as_mut()?,
            departures: &mut self.congestion.departures,
            subscription: line.receives.as_deref_mut()?,
            mid: &line.mid,
        })
    }
}

/// One who receives something: the parts of a member that sending changes.
pub(crate) struct Recipient<'a> {
    /// Its keys and path.
    pub(crate) connection: &'a mut Connection,
    /// What is sent to it.
    pub(crate) departures: &'a mut Departures,
    /// What it receives.
    pub(crate) subscription: &'a mut Subscription,
    /// In which section.
    pub(crate) mid: &'a str,
}
