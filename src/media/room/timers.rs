//! Timers of a room: reports, speaker detection, consent, handshakes, key frame requests.

use std::time::{Duration, Instant};

use super::{SfuRoom, report};
use crate::api::{DisconnectReason, MediaKind, RoomEvent};
use crate::limits::MIN_TIMER_INTERVAL;

/// Interval at which a key frame is requested again while a subscriber waits for it.
const KEY_FRAME_RETRY_INTERVAL: Duration = Duration::from_millis(300);
/// Interval of active speaker detection.
const SPEAKER_UPDATE_INTERVAL: Duration = Duration::from_millis(100);

impl SfuRoom {
    /// Runs all timers that are due.
    pub fn timeout(&mut self, now: Instant) {
        if now < self.wake_at {
            return;
        }
        self.update_speakers(now);
        self.reallocate_subscribers(now);
        for slot in 0..self.peers.slot_count() {
            let due = self.peers.get(slot).map(|peer| peer.wake_at);
            if due.is_some_and(|due| due <= now) {
                self.run_timers(now, slot);
            }
        }
        // Peers wake each other, so this is known only now.
        let next =
            self.peers.iter().map(|(_, peer)| peer.wake_at).chain(self.speaker_update_at).min();
        self.wake_at =
            next.unwrap_or(now + report::RTCP_REPORT_INTERVAL).max(now + MIN_TIMER_INTERVAL);
    }

    /// Reallocates bitrates for subscribers of a track of which a layer became available.
    fn reallocate_subscribers(&mut self, now: Instant) {
        if self.tracks_to_reallocate.is_empty() {
            return;
        }
        for slot in 0..self.peers.slot_count() {
            let peer = self.peers.get(slot);
            let receives =
                |track: &usize| peer.is_some_and(|peer| peer.mid_index(*track).is_some());
            if self.tracks_to_reallocate.iter().any(receives) {
                self.reallocate(now, slot);
            }
        }
        self.tracks_to_reallocate.clear();
    }

    /// Updates the active speakers, as long as there are voices.
    fn update_speakers(&mut self, now: Instant) {
        if self.speaker_update_at.is_none_or(|at| at > now) {
            return;
        }
        if let Some(speakers) = self.speakers.update(now) {
            self.events.push_back(RoomEvent::Speakers(speakers.to_vec()));
        }
        self.update_last_n(now);
        let has_voices = self.speakers.loudest(1).next().is_some();
        self.speaker_update_at = has_voices.then_some(now + SPEAKER_UPDATE_INTERVAL);
    }

    fn run_timers(&mut self, now: Instant, slot: usize) {
        self.maintain_transport(now, slot);
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let due = peer.report_at <= now;
        if due {
            peer.report_at = now + report::RTCP_REPORT_INTERVAL;
        }
        if due || peer.congestion.reallocate_at.is_some_and(|retry_at| retry_at <= now) {
            self.reallocate(now, slot);
        }
        if due {
            self.send_reports(now, slot);
            self.check_published_layers(now, slot);
        }
        self.request_needed_key_frames(now, slot);
        self.send_feedback(now, slot);
        self.send_twcc_feedback(now, slot);
        self.report_quality(now, slot);
        let probe_at = self.send_probe(now, slot);
        let next = self.next_timer(now, slot);
        let next = probe_at.map_or(next, |probe_at| probe_at.min(next));
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.wake_at = next;
        }
    }

    /// Timers of the transport: DTLS retransmission, consent and expiry of paths.
    fn maintain_transport(&mut self, now: Instant, slot: usize) {
        let consent = self.settings.consent_timeout;
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let Some(transport) = &mut peer.transport else { return };
        let mut datagrams = Vec::new();
        let is_alive = transport.dtls.timeout(now, &mut datagrams);
        if let Some(path) = transport.selected_path {
            datagrams.iter().for_each(|datagram| self.control.push(path, datagram));
        }
        if !is_alive {
            return self.on_transport_lost(now, slot, DisconnectReason::HandshakeFailed);
        }
        let has_expired = !transport.consent_expired && transport.is_consent_expired(now, consent);
        for path in transport.expire_paths(now, consent) {
            self.forget_path(slot, path);
        }
        if has_expired {
            self.on_transport_lost(now, slot, DisconnectReason::ConsentExpired);
        }
    }

    /// Requests the key frames without which the peer cannot display a track.
    fn request_needed_key_frames(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        if peer.transport.as_ref().is_none_or(|transport| transport.srtp.is_none()) {
            return;
        }
        let mut owner_slots = Vec::new();
        for down_track in peer.down_tracks() {
            let Some(track) = self.tracks.get_mut(down_track.track_slot) else { continue };
            let Some(stream_index) = down_track.needs_key_frame(track) else { continue };
            if let Some(stream) = track.streams.get_mut(stream_index) {
                stream.key_frames.request();
                owner_slots.push(track.owner_slot);
            }
        }
        if !owner_slots.is_empty() {
            peer.key_frame_retry_at = Some(now + KEY_FRAME_RETRY_INTERVAL);
        }
        for slot in owner_slots {
            if let Some(owner) = self.peers.get_mut(slot) {
                owner.wake_by(now);
            }
        }
    }

    fn check_published_layers(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers.get(slot) else { return };
        let published: Vec<usize> =
            peer.mid_slots.iter().filter_map(|it| it.published_slot).collect();
        for slot in published {
            if let Some(track) = self.tracks.get_mut(slot) {
                track.update_unavailable_layers(now);
            }
            self.update_requested_layers(now, slot);
        }
    }

    /// When the timers of a peer are due next.
    fn next_timer(&mut self, now: Instant, slot: usize) -> Instant {
        let Some(peer) = self.peers.get_mut(slot) else {
            return now + report::RTCP_REPORT_INTERVAL;
        };
        let mut next = peer.report_at;
        next = peer.congestion.reallocate_at.into_iter().fold(next, Instant::min);
        if let Some(retry_at) = peer.key_frame_retry_at.filter(|at| *at > now) {
            next = next.min(retry_at);
        }
        if let Some(transport) = &peer.transport {
            next = transport.dtls.next_timeout().into_iter().fold(next, Instant::min);
            if !transport.consent_expired {
                next = next.min(transport.next_expiry(self.settings.consent_timeout));
            }
        }
        next = peer.congestion.twcc_receiver.next_due().into_iter().fold(next, Instant::min);
        if peer.transport.as_ref().is_none_or(|transport| !transport.can_carry_media()) {
            return next.max(now + MIN_TIMER_INTERVAL);
        }
        for track in peer.mid_slots.iter().filter_map(|mid_slot| mid_slot.published_slot) {
            let track = self.tracks.get(track).filter(|track| track.kind == MediaKind::Video);
            let Some(track) = track else { continue };
            for stream in &track.streams {
                let min_interval =
                    stream.key_frame_interval(now, self.settings.min_key_frame_interval);
                let due = [stream.nacks.next_due(), stream.key_frames.next_due(min_interval)];
                next = due.into_iter().flatten().fold(next, Instant::min);
            }
        }
        next.max(now + MIN_TIMER_INTERVAL)
    }
}
