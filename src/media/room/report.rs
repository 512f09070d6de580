//! RTCP to clients: receiver reports about what they publish, sender reports about what they receive
//! (RFC 3550), NACK and PLI (RFC 4585), REMB and transport-wide feedback.

use std::time::{Duration, Instant};

use super::SfuRoom;
use crate::api::MediaKind;
use crate::connection::PeerTransport;
use crate::rtcp::{ReportBlock, SenderInfo};
use crate::slots::Slots;
use crate::stream::LayerStream;
use crate::subscription::DownTrack;
use crate::track::PublishedTrack;

/// Interval of RTCP reports.
pub(super) const RTCP_REPORT_INTERVAL: Duration = Duration::from_secs(1);

impl SfuRoom {
    /// Sends all reports of a peer.
    pub(super) fn send_reports(&mut self, now: Instant, slot: usize) {
        let Self { peers, tracks, compound, control, next_ssrc, settings, .. } = self;
        let Some(peer) = peers.get_mut(slot) else { return };
        let Some(transport) = &mut peer.transport else { return };
        if !transport.can_carry_media() {
            return;
        }
        let room_ssrc = *next_ssrc & 1; // SSRC 1 stands for the room, which sends no media of its own
        let (mut blocks, mut video_ssrcs) = (Vec::new(), Vec::new());
        for track in peer.mid_slots.iter().filter_map(|mid_slot| mid_slot.published_slot) {
            let Some(track) = tracks.get_mut(track) else { continue };
            for stream in &mut track.streams {
                blocks.extend(report_block(now, stream));
                video_ssrcs.extend(stream.ssrc.filter(|_| track.kind == MediaKind::Video));
            }
        }
        compound.clear();
        compound.receiver_report(room_ssrc, &blocks);
        if !video_ssrcs.is_empty() {
            compound.remb(room_ssrc, settings.max_uplink_bps, &video_ssrcs);
        }
        transport.send_rtcp(compound.bytes(), control);
        compound.clear();
        for down_track in
            peer.mid_slots.iter_mut().filter_map(|mid_slot| mid_slot.down_track.as_deref_mut())
        {
            if let Some(report) = sender_info(now, down_track, tracks) {
                compound.sender_report(&report, down_track.packets_sent, down_track.octets_sent);
                down_track.last_sender_report = Some(((report.ntp >> 16) as u32, now));
            }
            if compound.is_full() {
                transport.send_rtcp(compound.bytes(), control);
                compound.clear();
            }
        }
        if !compound.bytes().is_empty() {
            transport.send_rtcp(compound.bytes(), control);
        }
    }

    /// Sends transport-wide feedback to a publisher, from which it estimates its uplink.
    pub(super) fn send_twcc_feedback(&mut self, now: Instant, slot: usize) {
        let Self { peers, tracks, compound, control, next_ssrc, .. } = self;
        let Some(peer) = peers.get_mut(slot) else { return };
        if peer.congestion.twcc_receiver.next_due().is_none_or(|due| due > now) {
            return;
        }
        let mut published =
            peer.mid_slots.iter().filter_map(|mid_slot| tracks.get(mid_slot.published_slot?));
        let media_ssrc =
            published.find_map(|track| track.streams.iter().find_map(|stream| stream.ssrc));
        let Some(transport) = &mut peer.transport else { return };
        peer.congestion.twcc_receiver.write(
            *next_ssrc & 1,
            media_ssrc.unwrap_or(0),
            compound.start_external(),
        );
        for packet in compound.packets() {
            transport.send_rtcp(packet, control);
        }
    }

    /// Sends NACKs and key frame requests to a publisher.
    pub(super) fn send_feedback(&mut self, now: Instant, slot: usize) {
        let Self { peers, tracks, compound, control, next_ssrc, settings, counters, .. } = self;
        let Some(peer) = peers.get_mut(slot) else { return };
        let round_trip = peer.round_trip.unwrap_or(Duration::from_millis(100));
        let Some(transport) = &mut peer.transport else { return };
        let room_ssrc = *next_ssrc & 1;
        compound.clear();
        for track in peer.mid_slots.iter().filter_map(|mid_slot| mid_slot.published_slot) {
            let Some(track) = tracks.get_mut(track).filter(|track| track.kind == MediaKind::Video)
            else {
                continue;
            };
            let supports_rtx =
                track.format.supports_feedback("nack") && track.format.rtx_payload_type.is_some();
            for stream in &mut track.streams {
                let Some(ssrc) = stream.ssrc else { continue };
                let mut missing = Vec::new();
                stream.nacks.take_due(now, round_trip, &mut missing);
                if stream.nacks.take_abandoned() > 0 {
                    stream.key_frames.request();
                }
                if supports_rtx && !missing.is_empty() {
                    counters.nack_out += missing.len() as u64;
                    compound.nack(room_ssrc, ssrc, &missing);
                }
                let min_interval = stream.key_frame_interval(now, settings.min_key_frame_interval);
                if transport.can_carry_media() && stream.key_frames.take_due(now, min_interval) {
                    counters.pli_out += 1;
                    compound.pli(room_ssrc, ssrc);
                }
                flush_if_full(transport, compound, control);
            }
        }
        if !compound.bytes().is_empty() {
            transport.send_rtcp(compound.bytes(), control);
        }
    }
}

fn flush_if_full(
    transport: &mut PeerTransport,
    compound: &mut crate::rtcp::CompoundWriter,
    control: &mut crate::path::TransmitBuffer,
) {
    if compound.is_full() {
        transport.send_rtcp(compound.bytes(), control);
        compound.clear();
    }
}

fn report_block(now: Instant, stream: &mut LayerStream) -> Option<ReportBlock> {
    let ssrc = stream.ssrc?;
    let report = stream.stats.report(now)?;
    stream.loss_fraction = f32::from(report.fraction_lost) / 256.0;
    Some(ReportBlock {
        ssrc,
        fraction_lost: report.fraction_lost,
        cumulative_lost: report.cumulative_lost,
        highest_sequence: report.highest_sequence,
        jitter: report.jitter,
        last_sr: report.last_sr,
        delay_since_last_sr: report.delay_since_last_sr,
    })
}

/// The publisher's clock, extrapolated to `now`, with the timestamp of the down track. Audio and video of one
/// publisher share this clock, and so do all subscribers, which keeps them in sync.
fn sender_info(
    now: Instant,
    down_track: &DownTrack,
    tracks: &Slots<PublishedTrack>,
) -> Option<SenderInfo> {
    let track = tracks.get(down_track.track_slot)?;
    let (report, received_at) =
        track.stream_by_id(down_track.rtp_munger.stream_id()?)?.sender_report?;
    let elapsed = now.saturating_duration_since(received_at).as_secs_f64();
    let clock_rate = f64::from(down_track.format.codec.clock_rate());
    let timestamp = report.timestamp.wrapping_add((elapsed * clock_rate) as u32);
    Some(SenderInfo {
        ssrc: down_track.section.ssrc,
        ntp: report.ntp.wrapping_add((elapsed * 4_294_967_296.0) as u64),
        timestamp: down_track.rtp_munger.timestamp(timestamp)?,
    })
}
