//! Adaptation: which layer each subscriber is sent, and which layers publishers need to send at all.

use std::time::{Duration, Instant};

use super::SfuRoom;
use crate::allocation::{TrackDemand, needed_bps};
use crate::api::{LayerLimit, MediaKind, ParticipantId, RoomEvent, SimulcastLayer, TrackSource};
use crate::limits::{MAX_LAYER_RETRY_BACKOFF, MIN_LAYER_RETRY_BACKOFF};
use crate::stream::LayerStream;
use crate::track::{PublishedTrack, layer_at};

/// Expected bitrate of a layer that was never measured, lowest first, in bits per second.
const EXPECTED_LAYER_BPS: [u64; 3] = [150_000, 500_000, 1_500_000];
/// Expected bitrate of audio that was never measured, in bits per second.
const EXPECTED_AUDIO_BPS: u64 = 40_000;
/// Time within which a publisher starts a requested layer. If it does not, the layer is unavailable: its
/// picture is too small or its uplink too slow.
const LAYER_START_TIMEOUT: Duration = Duration::from_secs(3);
/// When an upgrade is due soon, bitrates are reallocated again after this time.
const REALLOCATION_DELAY: Duration = Duration::from_millis(250);
/// A layer is stopped only after nobody has watched it for this time.
const LAYER_STOP_DELAY: Duration = Duration::from_secs(2);

impl SfuRoom {
    /// Divides the downlink budget of a peer among its down tracks.
    pub(super) fn reallocate(&mut self, now: Instant, slot: usize) {
        let Self { peers, tracks, speakers, settings, .. } = self;
        let Some(peer) = peers.get_mut(slot) else { return };
        let (mut demands, mut choices, mut upcoming) = (Vec::new(), Vec::new(), Vec::new());
        let mut changed = Vec::new();
        for down_track in
            peer.mid_slots.iter().filter_map(|mid_slot| mid_slot.down_track.as_deref())
        {
            let Some(track) = tracks.get(down_track.track_slot) else { continue };
            let speaker_rank =
                speakers.speaking().iter().position(|participant| *participant == track.owner);
            demands.push(TrackDemand {
                source: track.source,
                limit: effective_limit(down_track.limit, track),
                current_layer: down_track.allocated_layer,
                layer_bps: track.layer_bps(now),
                speaker_rank: speaker_rank.and_then(|rank| u32::try_from(rank).ok()),
            });
        }
        let congestion = &mut peer.congestion;
        congestion.budget_bps = congestion.current_budget_bps(now, settings.max_downlink_bps);
        congestion.allocator.allocate(now, congestion.budget_bps, &demands, &mut choices);
        congestion.needed_bps = needed_bps(&demands, &choices);
        congestion.allocator.preview(congestion.budget_bps, &demands, &mut upcoming);
        congestion.reallocate_at = (upcoming != choices).then_some(now + REALLOCATION_DELAY);
        let down_tracks =
            peer.mid_slots.iter_mut().filter_map(|mid_slot| mid_slot.down_track.as_deref_mut());
        for (down_track, (choice, upcoming)) in down_tracks.zip(choices.into_iter().zip(upcoming)) {
            let Some(track) = tracks.get(down_track.track_slot) else { continue };
            if (down_track.allocated_layer, down_track.upcoming_layer) != (choice, upcoming) {
                (down_track.allocated_layer, down_track.upcoming_layer) = (choice, upcoming);
                changed.push(down_track.track_slot);
            }
            let previous = down_track.target_stream;
            down_track.set_target(choice.map(|layer| track.stream_to_send(now, layer)));
            down_track.stop_if_excessive(now, track, peer.congestion.budget_bps);
            if down_track.target_stream != previous {
                peer.wake_at = now;
            }
        }
        self.wake_at = self.wake_at.min(peer.wake_at);
        changed.into_iter().for_each(|track| self.update_requested_layers(now, track));
    }

    /// Tells a publisher which layers are watched, if that changed.
    pub(super) fn update_requested_layers(&mut self, now: Instant, slot: usize) {
        let Self { peers, tracks, events, .. } = self;
        let Some(track) = tracks.get_mut(slot).filter(|track| track.kind == MediaKind::Video)
        else {
            return;
        };
        let mut watched = [false; 3];
        for (_, peer) in peers.iter() {
            let mid_slot = peer.mid_index(slot).and_then(|at| peer.mid_slots.get(at));
            let Some(down_track) = mid_slot.and_then(|mid_slot| mid_slot.down_track.as_ref())
            else {
                continue;
            };
            // The stream that is forwarded until a key frame of the allocated layer comes is watched, too.
            let current = down_track.current_stream(track).filter(|_| !down_track.awaits_key_frame);
            let current = current.map(|stream| track.layer_of(stream));
            let current = current.filter(|_| down_track.allocated_layer.is_some());
            let layers = [down_track.allocated_layer, down_track.upcoming_layer, current];
            for layer in layers.into_iter().flatten().filter(|_| !track.is_outside_last_n) {
                watched[layer as usize] = true;
            }
        }
        let count = track.streams.len();
        let all = (0..count).map(|at| layer_at(at, count));
        // A subscriber whose link degrades needs the lowest layer at once, and a publisher that had stopped it may
        // take seconds to start it again.
        if let Some(lowest) = all.clone().next().filter(|_| watched.contains(&true)) {
            watched[lowest as usize] = true;
        }
        let is_watched = |layer: &SimulcastLayer| watched[*layer as usize];
        let has_more =
            all.clone().any(|layer| is_watched(&layer) && !track.requested_layers.contains(&layer));
        let has_fewer = track.requested_layers.iter().any(|layer| !is_watched(layer));
        if !has_fewer {
            track.unwanted_since = None;
        }
        let stop_is_due =
            has_fewer && now >= *track.unwanted_since.get_or_insert(now) + LAYER_STOP_DELAY;
        if !has_more && !stop_is_due {
            if has_fewer && let Some(owner) = peers.get_mut(track.owner_slot) {
                owner.wake_by(now + LAYER_STOP_DELAY);
            }
            return;
        }
        let is_requested = |layer: &SimulcastLayer| {
            is_watched(layer) || !stop_is_due && track.requested_layers.contains(layer)
        };
        let requested: Vec<SimulcastLayer> = all.filter(is_requested).collect();
        for (at, stream) in track.streams.iter_mut().enumerate() {
            let layer = layer_at(at, count);
            match (requested.contains(&layer), track.requested_layers.contains(&layer)) {
                (true, true) => {}
                (true, false) => stream.request(now),
                (false, _) => stream.requested_at = None,
            }
        }
        track.unwanted_since = None;
        track.requested_layers.clone_from(&requested);
        events.push_back(RoomEvent::LayersRequested(track.owner, track.id, requested));
    }

    /// Selects the microphones and cameras that are forwarded (last N).
    pub(super) fn update_last_n(&mut self, now: Instant) {
        let mut changed = Vec::new();
        let Self { tracks, speakers, settings, peers, .. } = self;
        for (source, max) in [
            (TrackSource::Microphone, settings.last_n_audio),
            (TrackSource::Camera, settings.last_n_video),
        ] {
            let of_source = |track: &&PublishedTrack| track.source == source && !track.is_muted;
            let owners = || tracks.iter().map(|(_, track)| track).filter(of_source);
            let count = owners().count();
            let mut selected: Vec<ParticipantId> = speakers
                .loudest(usize::MAX)
                .filter(|participant| owners().any(|track| track.owner == *participant))
                .take(max)
                .collect();
            // Participants that never spoke fill the remaining places, in the order of their tracks.
            for track in owners() {
                if selected.len() < max && !selected.contains(&track.owner) {
                    selected.push(track.owner);
                }
            }
            for (slot, track) in tracks.iter_mut().filter(|(_, track)| track.source == source) {
                let is_outside = count > max && !selected.contains(&track.owner);
                if is_outside != track.is_outside_last_n {
                    changed.push(slot);
                }
                if track.set_suppression(track.is_muted, is_outside)
                    && let Some(owner) = peers.get_mut(track.owner_slot)
                {
                    owner.wake_by(now);
                    self.wake_at = self.wake_at.min(now);
                }
            }
        }
        changed.into_iter().for_each(|track| self.update_requested_layers(now, track));
    }
}

/// A limit in terms of the track's layers: the only layer counts as high, but any limit allows it.
fn effective_limit(limit: LayerLimit, track: &PublishedTrack) -> LayerLimit {
    match limit {
        LayerLimit::UpTo(_) if track.streams.len() == 1 => LayerLimit::UpTo(SimulcastLayer::High),
        other => other,
    }
}

impl PublishedTrack {
    /// Bits per second of each layer for the allocation; zero if unavailable.
    fn layer_bps(&self, now: Instant) -> [u64; 3] {
        let mut rates = [0; 3];
        for (at, stream) in self.streams.iter().enumerate() {
            let layer = self.layer_of(at) as usize;
            let default_bps = if self.kind == MediaKind::Audio {
                EXPECTED_AUDIO_BPS
            } else {
                EXPECTED_LAYER_BPS[layer]
            };
            rates[layer] = stream.expected_bps(now, default_bps);
        }
        rates
    }

    /// Marks layers as unavailable that were requested but do not arrive while others do.
    pub(super) fn update_unavailable_layers(&mut self, now: Instant) {
        if !self.streams.iter().any(|stream| stream.is_active(now)) {
            return; // the publisher sends nothing at all
        }
        for stream in &mut self.streams {
            let is_late = stream
                .requested_at
                .is_some_and(|requested_at| now > requested_at + LAYER_START_TIMEOUT);
            if stream.is_active(now) {
                stream.unavailable = None;
            } else if is_late
                && stream.unavailable.is_none_or(|(_, until)| now > until + LAYER_START_TIMEOUT)
            {
                let doubled = |(since, until)| (until - since) * 2;
                let backoff = stream
                    .unavailable
                    .map_or(MIN_LAYER_RETRY_BACKOFF, doubled)
                    .min(MAX_LAYER_RETRY_BACKOFF);
                stream.unavailable = Some((now, now + backoff));
            }
        }
    }

    /// The stream to send for a layer: the highest steady one up to `max`, else the highest active one, else the
    /// layer's own.
    fn stream_to_send(&self, now: Instant, max: SimulcastLayer) -> usize {
        let allowed = || {
            let all = self.streams.iter().enumerate();
            all.filter(|(at, _)| self.layer_of(*at) <= max)
        };
        let steady = allowed().rfind(|(_, stream)| stream.is_steady(now));
        let active = steady.or_else(|| allowed().rfind(|(_, stream)| stream.is_active(now)));
        active.or_else(|| allowed().next_back()).map_or(0, |(at, _)| at)
    }
}

impl LayerStream {
    /// Expected bits per second; zero if the publisher does not send the layer despite the request.
    fn expected_bps(&self, now: Instant, default_bps: u64) -> u64 {
        if self.is_active(now) {
            return self.meter.bitrate(now).max(1_000);
        }
        let is_unavailable = self.unavailable.is_some_and(|(_, until)| now < until);
        if is_unavailable { 0 } else { self.meter.last_bitrate().unwrap_or(default_bps) }
    }
}
