//! Fan-out: forwards a batch of packets peer by peer, so that the datagrams of one destination are adjacent.

use std::time::Instant;

use super::forward::{ForwardContext, ForwardForm};
use super::{PendingForward, SfuRoom};
use crate::api::RoomEvent;
use crate::counters::RoomCounters;
use crate::limits::MAX_BATCH_BYTES;
use crate::member::RoomPeer;
use crate::packet_cache::CachedPacket;
use crate::path::TransmitBuffer;
use crate::slots::Slots;
use crate::subscription::DownTrack;
use crate::track::PublishedTrack;

/// What stays constant during a batch.
struct TransmitBatch<'a> {
    context: ForwardContext,
    tracks: &'a Slots<PublishedTrack>,
    pending: &'a [PendingForward],
}

impl SfuRoom {
    /// Appends the datagrams to send to `out`. True if there are more: send them and call again. Packets received
    /// between two calls are forwarded in the next batch.
    pub fn transmit(&mut self, now: Instant, out: &mut TransmitBuffer) -> bool {
        let (datagrams_before, bytes_before) = (out.datagrams.len(), out.used);
        for datagram in self.control.datagrams() {
            out.push(datagram.to, &self.control.bytes()[datagram.start..][..datagram.length]);
        }
        self.control.clear();
        if self.next_peer == 0 {
            self.batch_len = self.pending.len();
        }
        let pending = self.pending.get(..self.batch_len).unwrap_or(&self.pending);
        let context = ForwardContext { now, epoch: self.send_time_epoch };
        let batch = TransmitBatch { context, tracks: &self.tracks, pending };
        while !pending.is_empty()
            && self.next_peer < self.peers.slot_count()
            && out.used <= MAX_BATCH_BYTES
        {
            if let Some(peer) = self.peers.get_mut(self.next_peer) {
                batch.deliver(peer, out, &mut self.counters);
            }
            self.next_peer += 1;
        }
        self.counters.packets_out += (out.datagrams.len() - datagrams_before) as u64;
        self.counters.bytes_out += (out.used - bytes_before) as u64;
        if !pending.is_empty() && self.next_peer < self.peers.slot_count() {
            return true;
        }
        self.report_first_media(now);
        self.pending.drain(..self.batch_len.min(self.pending.len()));
        self.next_peer = 0;
        !self.pending.is_empty()
    }

    /// Reports the time from the offer of a participant to its first forwarded packet.
    fn report_first_media(&mut self, now: Instant) {
        for pending in &self.pending {
            let Some(track) =
                self.tracks.get_mut(pending.track).filter(|track| track.is_never_forwarded)
            else {
                continue;
            };
            let received = |peer: &RoomPeer| {
                let mid_slot = peer.mid_index(pending.track).and_then(|at| peer.mid_slots.get(at));
                mid_slot
                    .and_then(|mid_slot| mid_slot.down_track.as_ref())
                    .is_some_and(|down_track| down_track.packets_sent > 0)
            };
            if !self.peers.iter().any(|(_, peer)| received(peer)) {
                continue;
            }
            track.is_never_forwarded = false;
            let Some(owner) = self.peers.get_mut(track.owner_slot) else { continue };
            if let Some(offered_at) = owner.offered_at.take() {
                let elapsed = now.saturating_duration_since(offered_at);
                self.events.push_back(RoomEvent::FirstMedia(owner.participant, elapsed));
            }
        }
    }
}

impl TransmitBatch<'_> {
    fn deliver(&self, peer: &mut RoomPeer, out: &mut TransmitBuffer, counters: &mut RoomCounters) {
        let bytes_before = out.used;
        for pending in self.pending {
            let Some(mid_index) = peer.mid_index(pending.track) else { continue };
            let Some(track) = self.tracks.get(pending.track) else { continue };
            let Some(stream) = track.streams.get(pending.stream) else { continue };
            let Some(entry) = stream.cache.get(pending.index) else { continue };
            let Some(subscriber) = peer.subscriber_side(mid_index) else { continue };
            if self.should_forward(subscriber.down_track, track, pending.stream, entry, counters) {
                self.context.send(subscriber, stream.stream_id, &ForwardForm::Media(entry), out);
            }
        }
        if out.used > bytes_before {
            peer.downlink.add(self.context.now, out.used - bytes_before);
        }
    }

    /// Whether to forward a packet to the subscriber. Switches the down track to the packet's stream if that is
    /// wanted and possible.
    fn should_forward(
        &self,
        down_track: &mut DownTrack,
        track: &PublishedTrack,
        stream_index: usize,
        entry: &CachedPacket,
        counters: &mut RoomCounters,
    ) -> bool {
        let Some(target) = down_track.target_stream else { return false };
        let Some(stream) = track.streams.get(stream_index) else { return false };
        let is_current = down_track.rtp_munger.stream_id() == Some(stream.stream_id);
        if is_current && entry.segment == down_track.segment && !down_track.awaits_key_frame {
            if entry.payload.is_empty() {
                down_track.rtp_munger.skip(stream.stream_id, entry.index); // a packet that holds only padding
            }
            return !entry.payload.is_empty();
        }
        // After an interruption the current stream continues, even if another one is wanted but does not come.
        let resumes = is_current && entry.segment != down_track.segment;
        if stream_index != target && !resumes || entry.payload.is_empty() {
            return false;
        }
        if down_track.is_video() && !entry.is_key_frame {
            counters.waited_for_key_frame += 1;
            return false;
        }
        if !is_current && down_track.rtp_munger.stream_id().is_some() {
            counters.layer_switches += 1;
        }
        let report = stream.sender_report.map(|(report, _)| report);
        let (index, timestamp) = (entry.index, entry.timestamp);
        down_track.rtp_munger.switch(self.context.now, stream.stream_id, index, timestamp, report);
        down_track.vp8_munger.switch(stream.stream_id);
        if down_track.segment != entry.segment {
            down_track.last_sent = None; // the gap is intended and not a freeze
        }
        down_track.segment = entry.segment;
        down_track.awaits_key_frame = false;
        true
    }
}
