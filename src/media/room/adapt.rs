//! Which layers are sent to whom, and which layers publishers need to send at all.

use std::time::{Duration, Instant};

use super::SfuRoom;
use crate::allocation::{TrackDemand, needed};
use crate::api::{LayerLimit, MediaKind, ParticipantId, RoomEvent, SimulcastLayer, TrackSource};
use crate::stream::LayerStream;
use crate::track::{PublishedTrack, layer};

/// What is expected of a layer that was never measured, lowest first, in bits per second.
const EXPECTED: [u64; 3] = [150_000, 500_000, 1_500_000];
/// The same for sound.
const EXPECTED_SOUND: u64 = 40_000;
/// A publisher that was told to send a layer does so within this time, or not at all: its picture is
/// too small, or its uplink too narrow.
const LAYER_START_TIMEOUT: Duration = Duration::from_secs(3);
/// What a publisher did not send is expected again after this time: a browser that was short of
/// processor or network for a moment has recovered by then. One that still does not send it is left
/// alone for twice as long each time, up to a limit.
const LAYER_RETRY_MIN: Duration = Duration::from_secs(5);
const LAYER_RETRY_MAX: Duration = Duration::from_secs(40);
/// Where more is to be sent soon, it is looked at again after this time.
const REALLOCATION_DELAY: Duration = Duration::from_millis(250);
/// A layer is given up only after nobody wanted it for so long.
const HOLD: Duration = Duration::from_secs(2);

impl SfuRoom {
    /// Divides what a member's downlink carries among the tracks that it receives.
    pub(super) fn adapt(&mut self, now: Instant, place: usize) {
        let Self { members, tracks, speakers, settings, .. } = self;
        let Some(member) = members.get_mut(place) else { return };
        let (mut demands, mut choices, mut soon) = (Vec::new(), Vec::new(), Vec::new());
        let mut changed = Vec::new();
        for subscription in member.lines.iter().filter_map(|line| line.receives.as_deref()) {
            let Some(track) = tracks.get(subscription.place) else { continue };
            let owner = speakers.speaking().iter().position(|who| *who == track.owner);
            demands.push(TrackDemand {
                source: track.source,
                limit: limit(subscription.limit, track),
                current: subscription.chosen,
                rates: track.rates(now),
                speaker: owner.and_then(|at| u32::try_from(at).ok()),
            });
        }
        let congestion = &mut member.congestion;
        congestion.budget = congestion.budget(now, settings.max_downlink_bps);
        congestion.allocator.allocate(now, congestion.budget, &demands, &mut choices);
        congestion.wanted = needed(&demands, &choices);
        congestion.allocator.foresee(congestion.budget, &demands, &mut soon);
        congestion.again = (soon != choices).then_some(now + REALLOCATION_DELAY);
        let subscriptions = member.lines.iter_mut().filter_map(|line| line.receives.as_deref_mut());
        for (subscription, (choice, soon)) in subscriptions.zip(choices.into_iter().zip(soon)) {
            let Some(track) = tracks.get(subscription.place) else { continue };
            if (subscription.chosen, subscription.soon) != (choice, soon) {
                (subscription.chosen, subscription.soon) = (choice, soon);
                changed.push(subscription.place);
            }
            let before = subscription.target;
            subscription.aim(choice.map(|layer| track.sendable(now, layer)));
            subscription.hold_back(now, track, member.congestion.budget);
            if subscription.target != before {
                member.wake = now;
            }
        }
        self.wake = self.wake.min(member.wake);
        changed.into_iter().for_each(|track| self.review(now, track));
    }

    /// Tells a publisher which layers somebody watches, if that changed.
    pub(super) fn review(&mut self, now: Instant, place: usize) {
        let Self { members, tracks, events, .. } = self;
        let Some(track) = tracks.get_mut(place).filter(|track| track.kind == MediaKind::Video)
        else {
            return;
        };
        let mut watched = [false; 3];
        for (_, member) in members.iter() {
            let line = member.route(place).and_then(|at| member.lines.get(at));
            let Some(subscription) = line.and_then(|line| line.receives.as_ref()) else { continue };
            // What is forwarded until a key frame of the chosen layer comes is watched, too.
            let current = subscription.current(track).filter(|_| !subscription.waiting);
            let current = current.map(|stream| track.layer(stream));
            let current = current.filter(|_| subscription.chosen.is_some());
            let layers = [subscription.chosen, subscription.soon, current];
            for layer in layers.into_iter().flatten().filter(|_| !track.unheard) {
                watched[layer as usize] = true;
            }
        }
        let count = track.streams.len();
        let all = (0..count).map(|at| layer(at, count));
        // Whose way narrows is shown the lowest at once: a publisher that had stopped it may take
        // seconds to begin again.
        if let Some(lowest) = all.clone().next().filter(|_| watched.contains(&true)) {
            watched[lowest as usize] = true;
        }
        let is_watched = |layer: &SimulcastLayer| watched[*layer as usize];
        let more = all.clone().any(|layer| is_watched(&layer) && !track.wanted.contains(&layer));
        let fewer = track.wanted.iter().any(|layer| !is_watched(layer));
        if !fewer {
            track.unwanted_since = None;
        }
        let held = fewer && now >= *track.unwanted_since.get_or_insert(now) + HOLD;
        if !more && !held {
            if fewer && let Some(owner) = members.get_mut(track.member) {
                owner.wake_by(now + HOLD);
            }
            return;
        }
        let keep =
            |layer: &SimulcastLayer| is_watched(layer) || !held && track.wanted.contains(layer);
        let wanted: Vec<SimulcastLayer> = all.filter(keep).collect();
        for (at, stream) in track.streams.iter_mut().enumerate() {
            let layer = layer(at, count);
            match (wanted.contains(&layer), track.wanted.contains(&layer)) {
                (true, true) => {}
                (true, false) => stream.ask(now),
                (false, _) => stream.asked = None,
            }
        }
        track.unwanted_since = None;
        track.wanted.clone_from(&wanted);
        events.push_back(RoomEvent::Wanted(track.owner, track.id, wanted));
    }

    /// Decides whose voices and cameras are forwarded at all.
    pub(super) fn choose_heard(&mut self, now: Instant) {
        let mut changed = Vec::new();
        let Self { tracks, speakers, settings, members, .. } = self;
        for (source, most) in [
            (TrackSource::Microphone, settings.last_n_audio),
            (TrackSource::Camera, settings.last_n_video),
        ] {
            let of_source = |track: &&PublishedTrack| track.source == source && !track.muted;
            let owners = || tracks.iter().map(|(_, track)| track).filter(of_source);
            let count = owners().count();
            let mut chosen: Vec<ParticipantId> = speakers
                .loudest(usize::MAX)
                .filter(|who| owners().any(|track| track.owner == *who))
                .take(most)
                .collect();
            // Those who never spoke fill what is left, in the order of their tracks.
            for track in owners() {
                if chosen.len() < most && !chosen.contains(&track.owner) {
                    chosen.push(track.owner);
                }
            }
            for (at, track) in tracks.iter_mut().filter(|(_, track)| track.source == source) {
                let unheard = count > most && !chosen.contains(&track.owner);
                if unheard != track.unheard {
                    changed.push(at);
                }
                if track.hide(track.muted, unheard)
                    && let Some(owner) = members.get_mut(track.member)
                {
                    owner.wake_by(now);
                    self.wake = self.wake.min(now);
                }
            }
        }
        changed.into_iter().for_each(|track| self.review(now, track));
    }
}

/// The only layer there is counts as the highest, but any limit allows it.
fn limit(limit: LayerLimit, track: &PublishedTrack) -> LayerLimit {
    match limit {
        LayerLimit::Most(_) if track.streams.len() == 1 => LayerLimit::Most(SimulcastLayer::High),
        other => other,
    }
}

impl PublishedTrack {
    /// Bits per second of each layer as the allocation counts them; zero for what is not to be had.
    fn rates(&self, now: Instant) -> [u64; 3] {
        let mut rates = [0; 3];
        for (at, stream) in self.streams.iter().enumerate() {
            let layer = self.layer(at) as usize;
            let guess =
                if self.kind == MediaKind::Audio { EXPECTED_SOUND } else { EXPECTED[layer] };
            rates[layer] = stream.cost(now, guess);
        }
        rates
    }

    /// Finds out which layers are not to be had: others come, these do not.
    pub(super) fn find_refused(&mut self, now: Instant) {
        if !self.streams.iter().any(|stream| stream.is_active(now)) {
            return; // it is the publisher that is missing, not a layer
        }
        for stream in &mut self.streams {
            let late = stream.asked.is_some_and(|asked| now > asked + LAYER_START_TIMEOUT);
            if stream.is_active(now) {
                stream.refused = None;
            } else if late
                && stream.refused.is_none_or(|(_, until)| now > until + LAYER_START_TIMEOUT)
            {
                let again = |(at, until)| (until - at) * 2;
                let pause = stream.refused.map_or(LAYER_RETRY_MIN, again).min(LAYER_RETRY_MAX);
                stream.refused = Some((now, now + pause));
            }
        }
    }

    /// The stream to send for a layer: the best one at most as high that is being sent, or its own if
    /// none is.
    fn sendable(&self, now: Instant, most: SimulcastLayer) -> usize {
        let allowed = || {
            let all = self.streams.iter().enumerate();
            all.filter(|(at, _)| self.layer(*at) <= most)
        };
        let flows = allowed().rfind(|(_, stream)| stream.flows(now));
        let active = flows.or_else(|| allowed().rfind(|(_, stream)| stream.is_active(now)));
        active.or_else(|| allowed().next_back()).map_or(0, |(at, _)| at)
    }
}

impl LayerStream {
    /// Bits per second to expect; zero if the publisher does not send it though it was asked to.
    fn cost(&self, now: Instant, guess: u64) -> u64 {
        if self.is_active(now) {
            return self.meter.rate(now).max(1_000);
        }
        let refused = self.refused.is_some_and(|(_, until)| now < until);
        if refused { 0 } else { self.meter.last().unwrap_or(guess) }
    }
}
