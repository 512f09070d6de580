//! Ingress of published media: SSRC binding, statistics, NACK tracking, packet cache.

use std::time::{Duration, Instant};

use super::{PendingForward, SfuRoom};
use crate::api::{MediaKind, TrackSource};
use crate::codec::{Codec, starts_key_frame};
use crate::connection::DecryptedRtp;
use crate::limits::{MAX_OVERHEAD_BYTES, MAX_RTP_BYTES, MAX_RTP_HEADER_BYTES};
use crate::rtp::RtpPacket;
use crate::srtp::{self};
use crate::ssrc_table::SsrcBinding;
use crate::track::PublishedTrack;

/// Interval at which packets of silence are forwarded, as an encoder in DTX mode sends them (RFC 7587 §3.1.3).
const DTX_FORWARD_INTERVAL: Duration = Duration::from_millis(400);

impl SfuRoom {
    /// Handles an RTP packet of a peer.
    pub(super) fn on_rtp(&mut self, now: Instant, slot: usize, datagram: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let Some(transport) = &mut peer.transport else { return };
        let decrypted = match transport.open_rtp(datagram) {
            Ok(decrypted) => decrypted,
            Err(reason) => return self.count_drop(reason),
        };
        let Ok(packet) = RtpPacket::parse(datagram.get(..decrypted.length).unwrap_or_default())
        else {
            self.counters.dropped_malformed += 1;
            return;
        };
        let binding = transport.ssrcs.get_mut(decrypted.ssrc_index).and_then(|entry| entry.binding);
        let binding = binding.or_else(|| self.bind_ssrc(slot, decrypted.ssrc_index, &packet));
        match binding {
            Some(binding) => {
                self.record_twcc_arrival(now, slot, binding.track_slot, &packet);
                self.on_media(now, binding, &decrypted, &packet);
            }
            None => self.counters.dropped_unbound += 1,
        }
    }

    /// Finds out what an SSRC is used for: as announced, by header extensions (RFC 9143 §9.2), or by a payload
    /// type that only one section has.
    fn bind_ssrc(
        &mut self,
        slot: usize,
        ssrc_index: usize,
        packet: &RtpPacket<'_>,
    ) -> Option<SsrcBinding> {
        let peer = self.peers.get_mut(slot)?;
        let published = peer.mid_slots.iter().filter_map(|mid_slot| mid_slot.published_slot);
        let mut matching = published.filter_map(|track_slot| {
            let track = self.tracks.get(track_slot)?;
            let (track_match, stream, is_rtx) = track.match_packet(packet)?;
            Some((track_match, SsrcBinding { track_slot, stream, is_rtx }))
        });
        let (mut best, mut is_unique) = (matching.next()?, true);
        for candidate in matching {
            match candidate.0.cmp(&best.0) {
                std::cmp::Ordering::Greater => (best, is_unique) = (candidate, true),
                std::cmp::Ordering::Equal => is_unique = false,
                std::cmp::Ordering::Less => {}
            }
        }
        let binding = is_unique.then_some(best.1)?;
        let stream = self.tracks.get_mut(binding.track_slot)?.streams.get_mut(binding.stream)?;
        let ssrc = if binding.is_rtx { &mut stream.rtx_ssrc } else { &mut stream.ssrc };
        let previous = ssrc.replace(packet.ssrc());
        if !binding.is_rtx && previous.is_some_and(|previous| previous != packet.ssrc()) {
            self.next_stream_id = self.next_stream_id.wrapping_add(1);
            stream.reset(self.next_stream_id);
        }
        let ssrcs = &mut peer.transport.as_mut()?.ssrcs;
        ssrcs.get_mut(ssrc_index)?.binding = Some(binding);
        Some(binding)
    }

    /// Records the arrival of a packet for transport-wide feedback, from which the client estimates its uplink.
    fn record_twcc_arrival(
        &mut self,
        now: Instant,
        slot: usize,
        track: usize,
        packet: &RtpPacket<'_>,
    ) {
        let Some(id) =
            self.tracks.get(track).and_then(|track| track.extension_ids.transport_sequence)
        else {
            return;
        };
        let value =
            packet.extensions().find(|(candidate, _)| *candidate == id).map(|(_, value)| value);
        let Some(&[high, low]) = value else { return };
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let receiver = &mut peer.congestion.twcc_receiver;
        receiver.on_packet(now, u16::from_be_bytes([high, low]));
        if let Some(due) = receiver.next_due() {
            peer.wake_by(due);
            self.wake_at = self.wake_at.min(due);
        }
    }

    /// Handles a decrypted packet with a known binding.
    fn on_media(
        &mut self,
        now: Instant,
        binding: SsrcBinding,
        decrypted: &DecryptedRtp,
        packet: &RtpPacket<'_>,
    ) {
        let Some(track) = self.tracks.get_mut(binding.track_slot) else { return };
        let ends_frame = packet.marker() && !binding.is_rtx && track.kind == MediaKind::Video;
        let mut has_new_layer = ends_frame && track.on_frame_complete(now, binding.stream);
        let Some(stream) = track.streams.get_mut(binding.stream) else { return };
        let mut payload = packet.payload();
        let mut index = decrypted.index;
        if binding.is_rtx {
            // The original sequence number comes first (RFC 4588 §4); padding-only probes carry no payload.
            let (Some((sequence, rest)), Some(highest)) =
                (payload.split_first_chunk(), stream.highest_index)
            else {
                return;
            };
            if rest.is_empty() {
                return;
            }
            payload = rest;
            index = srtp::extend_sequence(highest, u16::from_be_bytes(*sequence));
            if !stream.nacks.on_retransmission(index) {
                return; // not missing: a probe made of an old packet
            }
            self.counters.rtx_in += 1;
        } else {
            stream.stats.on_packet(now, index, packet.timestamp());
            if !stream.nacks.on_packet(now, index) {
                return; // repaired before it arrived: a sequence number must not be used twice
            }
            stream.highest_index =
                Some(stream.highest_index.map_or(index, |highest| highest.max(index)));
        }
        if payload.len() > MAX_RTP_BYTES - MAX_RTP_HEADER_BYTES - MAX_OVERHEAD_BYTES {
            self.counters.dropped_malformed += 1;
            return;
        }
        let was_steady = stream.is_steady(now);
        stream.on_packet(now, payload.len());
        has_new_layer |= track.kind == MediaKind::Video && !was_steady && stream.is_steady(now);
        if has_new_layer {
            self.tracks_to_reallocate.push(binding.track_slot);
            self.wake_at = self.wake_at.min(now);
        }
        let audio_level =
            packet.extensions().find(|(id, _)| Some(*id) == track.extension_ids.audio_level);
        let audio_level = audio_level.and_then(|(_, value)| value.first().copied());
        let is_red = track.red_format.as_ref();
        let is_red = is_red.is_some_and(|red| red.payload_type == packet.payload_type());
        let codec = if is_red { Codec::Red } else { track.format.codec };
        let is_key_frame = track.kind == MediaKind::Video && starts_key_frame(codec, payload);
        if is_key_frame {
            stream.nacks.discard_before(index);
            stream.key_frames.on_key_frame();
        }
        if track.kind == MediaKind::Video
            && let Some(due) = stream.nacks.next_due()
            && let Some(owner) = self.peers.get_mut(track.owner_slot)
        {
            owner.wake_by(due);
            self.wake_at = self.wake_at.min(due);
        }
        let level = audio_level.map(|audio_level| audio_level & 0x7f); // the highest bit is the sender's voice activity flag
        if let Some(level) = level.filter(|_| track.source == TrackSource::Microphone)
            && !track.is_muted
        {
            self.speakers.on_level(now, track.owner, level);
            let next = *self.speaker_update_at.get_or_insert(now);
            self.wake_at = self.wake_at.min(next);
        }
        let is_silence = track.kind == MediaKind::Audio
            && self.settings.use_dtx
            && !track.dtx_gate.should_forward(level)
            && track.last_forwarded.is_some_and(|last| now < last + DTX_FORWARD_INTERVAL);
        if track.is_muted || track.is_outside_last_n || is_silence {
            stream.is_interrupted = true;
            self.counters.dropped_suppressed += 1;
            return;
        }
        track.last_forwarded = Some(now);
        if std::mem::take(&mut stream.is_interrupted) {
            stream.segment = stream.segment.wrapping_add(1);
            if track.kind == MediaKind::Video && !is_key_frame {
                stream.key_frames.request(); // again, since the first one may have been lost
            }
        }
        let Some(entry) = stream.cache.insert(index, packet, payload) else { return };
        entry.audio_level = audio_level;
        (entry.is_key_frame, entry.is_red, entry.segment) = (is_key_frame, is_red, stream.segment);
        self.pending.push(PendingForward {
            track: binding.track_slot,
            stream: binding.stream,
            index,
        });
    }
}

/// How certainly a packet belongs to a track; higher values win.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TrackMatch {
    /// Its payload type is one of the section's.
    PayloadType,
    /// Its header names the section (`mid`), but not which of several layers.
    Mid,
    /// Its SSRC was announced, or its header names the layer (`rid`).
    Exact,
}

impl PublishedTrack {
    /// A frame of a layer is complete; true if a higher layer has just stalled.
    fn on_frame_complete(&mut self, now: Instant, stream: usize) -> bool {
        let higher = self.streams.iter_mut().skip(stream + 1);
        higher.filter_map(|stream| stream.on_lower_layer_frame(now).then_some(())).count() > 0 // visits all streams
    }

    /// Whether a packet may belong to this track: how certainly, to which stream, and whether it is RTX.
    fn match_packet(&self, packet: &RtpPacket<'_>) -> Option<(TrackMatch, usize, bool)> {
        let ssrc = Some(packet.ssrc());
        let announced = self.streams.iter().enumerate().find_map(|(index, stream)| {
            let is_rtx = stream.rtx_ssrc == ssrc;
            (stream.ssrc == ssrc || is_rtx).then_some((index, is_rtx))
        });
        let (mut mid, mut rid, mut repaired_rid) = (None, None, None);
        for (id, value) in packet.extensions() {
            match Some(id) {
                id if id == self.extension_ids.mid => mid = Some(value),
                id if id == self.extension_ids.rid => rid = Some(value),
                id if id == self.extension_ids.repaired_rid => repaired_rid = Some(value),
                _ => {}
            }
        }
        if mid.is_some_and(|mid| mid != self.mid.as_bytes()) {
            return None;
        }
        if let Some((index, is_rtx)) = announced {
            return Some((TrackMatch::Exact, index, is_rtx));
        }
        let payload_type = packet.payload_type();
        let is_rtx = self.format.rtx_payload_type == Some(payload_type);
        let has_payload_type =
            |format: &crate::sdp::PayloadFormat| format.payload_type == payload_type;
        let is_media = has_payload_type(&self.format)
            || self.red_format.as_ref().is_some_and(has_payload_type);
        if !is_rtx && !is_media {
            return None;
        }
        if let Some(name) = repaired_rid.or(rid) {
            let index = self
                .streams
                .iter()
                .position(|stream| stream.rid.as_ref().is_some_and(|rid| rid.as_bytes() == name));
            if let Some(index) = index {
                return Some((TrackMatch::Exact, index, is_rtx));
            }
        }
        if self.streams.len() > 1 {
            return None; // the layer is unknown
        }
        let track_match = if mid.is_some() { TrackMatch::Mid } else { TrackMatch::PayloadType };
        Some((track_match, 0, is_rtx))
    }
}
