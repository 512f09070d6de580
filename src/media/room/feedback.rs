//! RTCP from clients (RFC 3550, RFC 4585, RFC 5104): reports and feedback.

use std::time::{Duration, Instant};

use super::SfuRoom;
use crate::member::RoomPeer;
use crate::rtcp::{self, ReportBlock, RtcpPacket, SenderInfo};
use crate::rtp_munger::SenderReportTiming;

impl SfuRoom {
    /// Handles a compound RTCP packet of a peer.
    pub(super) fn on_rtcp(&mut self, now: Instant, slot: usize, datagram: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let Some(transport) = &mut peer.transport else { return };
        let length = match transport.open_rtcp(datagram) {
            Ok(length) => length,
            Err(reason) => return self.count_drop(reason),
        };
        for packet in rtcp::packets(datagram.get(..length).unwrap_or_default()) {
            self.on_rtcp_packet(now, slot, &packet);
        }
    }

    fn on_rtcp_packet(&mut self, now: Instant, slot: usize, packet: &RtcpPacket<'_>) {
        match (packet.packet_type, packet.count) {
            (rtcp::SENDER_REPORT, _) => {
                if let Some(report) = packet.sender_info() {
                    self.on_sender_report(now, slot, report);
                }
                self.on_report_blocks(now, slot, packet);
            }
            (rtcp::RECEIVER_REPORT, _) => self.on_report_blocks(now, slot, packet),
            (rtcp::TRANSPORT_FEEDBACK, rtcp::NACK) => self.on_nack(now, slot, packet),
            (rtcp::PAYLOAD_FEEDBACK, rtcp::PLI) => {
                if let Some(ssrc) = packet.media_ssrc() {
                    self.on_key_frame_request(now, slot, ssrc);
                }
            }
            (rtcp::PAYLOAD_FEEDBACK, rtcp::FIR) => {
                packet.fir_ssrcs().for_each(|ssrc| self.on_key_frame_request(now, slot, ssrc));
            }
            (rtcp::PAYLOAD_FEEDBACK, rtcp::APPLICATION_LAYER_FEEDBACK) => {
                let peer = self.peers.get_mut(slot);
                if let Some((bps, peer)) = packet.remb_bps().zip(peer)
                    && peer.congestion.on_remb(now, bps)
                {
                    self.reallocate(now, slot);
                }
            }
            (rtcp::TRANSPORT_FEEDBACK, rtcp::TWCC) => {
                let body = packet.body.get(8..).unwrap_or_default();
                if let Some(peer) = self.peers.get_mut(slot)
                    && peer.congestion.on_twcc_feedback(now, body)
                {
                    // A probe that found capacity is followed by the next one at once.
                    peer.wake_by(now);
                    self.wake_at = self.wake_at.min(now);
                    self.reallocate(now, slot);
                }
            }
            _ => {}
        }
    }

    fn on_sender_report(&mut self, now: Instant, slot: usize, report: SenderInfo) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let Some(transport) = &mut peer.transport else { return };
        let ssrc_entry = transport.ssrcs.find(report.ssrc);
        let ssrc_entry = ssrc_entry.and_then(|at| transport.ssrcs.get_mut(at));
        let Some(binding) =
            ssrc_entry.and_then(|ssrc_entry| ssrc_entry.binding).filter(|binding| !binding.is_rtx)
        else {
            return;
        };
        let track = self.tracks.get_mut(binding.track_slot);
        let Some(stream) = track.and_then(|track| track.streams.get_mut(binding.stream)) else {
            return;
        };
        stream.stats.on_sender_report(now, report.ntp);
        let timing = SenderReportTiming { ntp: report.ntp, timestamp: report.timestamp };
        stream.sender_report = Some((timing, now));
        // With the report, timestamps can be aligned exactly at a layer switch.
        let stream_id = stream.stream_id;
        for (_, peer) in self.peers.iter_mut() {
            if let Some(mid_index) = peer.mid_index(binding.track_slot)
                && let Some(subscriber) = peer.subscriber_side(mid_index)
            {
                subscriber.down_track.rtp_munger.on_sender_report(stream_id, timing);
            }
        }
    }

    fn on_report_blocks(&mut self, now: Instant, slot: usize, packet: &RtcpPacket<'_>) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let needs_reallocation =
            packet.report_blocks().filter(|block| peer.on_report_block(now, block)).count() > 0; // visits all blocks
        if needs_reallocation {
            self.reallocate(now, slot);
        }
    }

    /// Requests a key frame for a subscriber that cannot continue without one.
    fn on_key_frame_request(&mut self, now: Instant, slot: usize, ssrc: u32) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let Some(down_track) =
            peer.down_tracks().find(|down_track| down_track.section.ssrc == ssrc)
        else {
            return;
        };
        let track_slot = down_track.track_slot;
        let Some(track) = self.tracks.get_mut(track_slot) else { return };
        let stream = down_track.current_stream(track).or(down_track.target_stream);
        if let Some(stream) = stream.and_then(|at| track.streams.get_mut(at)) {
            self.counters.pli_in += 1;
            stream.key_frames.request();
            self.wake_owner(now, track_slot);
        }
    }
}

impl RoomPeer {
    /// Handles a report block about a stream sent to the peer. True if bitrates must be reallocated.
    fn on_report_block(&mut self, now: Instant, block: &ReportBlock) -> bool {
        let found = self.down_tracks().find(|down_track| down_track.section.ssrc == block.ssrc);
        let Some(down_track) = found else { return false };
        let loss = f32::from(block.fraction_lost) / 256.0;
        let clock_rate = f64::from(down_track.format.codec.clock_rate());
        down_track.reported_loss =
            (loss, Duration::from_secs_f64(f64::from(block.jitter) / clock_rate));
        let is_video = down_track.is_video();
        let last_report = down_track.last_sender_report.filter(|(lsr, _)| *lsr == block.last_sr);
        if let Some((_, sent_at)) = last_report {
            let remote_delay =
                Duration::from_secs_f64(f64::from(block.delay_since_last_sr) / 65_536.0);
            let elapsed = now.saturating_duration_since(sent_at);
            self.round_trip = Some(elapsed.saturating_sub(remote_delay));
        }
        is_video && self.congestion.on_loss_report(now, loss)
    }
}
