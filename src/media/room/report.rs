//! Reports to clients: what arrives of what they publish, and on which clock runs what they receive.

use std::time::{Duration, Instant};

use super::SfuRoom;
use crate::api::MediaKind;
use crate::connection::PeerTransport;
use crate::rtcp::{ReportBlock, SenderInfo};
use crate::slots::Slots;
use crate::stream::LayerStream;
use crate::subscription::DownTrack;
use crate::track::PublishedTrack;

/// How often reports are sent.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

impl SfuRoom {
    /// Writes and sends all reports of a member.
    pub(super) fn reports(&mut self, now: Instant, place: usize) {
        let Self { members, tracks, compound, control, next_ssrc, settings, .. } = self;
        let Some(member) = members.get_mut(place) else { return };
        let Some(connection) = &mut member.connection else { return };
        if !connection.flows() {
            return;
        }
        let ours = *next_ssrc & 1; // one stands for the room: it receives, and sends nothing itself
        let (mut blocks, mut pictures) = (Vec::new(), Vec::new());
        for track in member.lines.iter().filter_map(|line| line.publishes) {
            let Some(track) = tracks.get_mut(track) else { continue };
            for stream in &mut track.streams {
                blocks.extend(block(now, stream));
                pictures.extend(stream.ssrc.filter(|_| track.kind == MediaKind::Video));
            }
        }
        compound.clear();
        compound.receiver(ours, &blocks);
        if !pictures.is_empty() {
            compound.maximum_bitrate(ours, settings.max_uplink_bps, &pictures);
        }
        connection.send_rtcp(compound.bytes(), control);
        compound.clear();
        for subscription in member.lines.iter_mut().filter_map(|line| line.receives.as_deref_mut())
        {
            if let Some(report) = clock(now, subscription, tracks) {
                compound.sender(&report, subscription.packets, subscription.octets);
                subscription.reported = Some(((report.ntp >> 16) as u32, now));
            }
            if compound.is_full() {
                connection.send_rtcp(compound.bytes(), control);
                compound.clear();
            }
        }
        if !compound.bytes().is_empty() {
            connection.send_rtcp(compound.bytes(), control);
        }
    }

    /// Tells a publisher when its packets came, from which it learns what its uplink carries.
    pub(super) fn tell_arrivals(&mut self, now: Instant, place: usize) {
        let Self { members, tracks, compound, control, next_ssrc, .. } = self;
        let Some(member) = members.get_mut(place) else { return };
        if member.congestion.arrivals.next().is_none_or(|due| due > now) {
            return;
        }
        let mut published = member.lines.iter().filter_map(|line| tracks.get(line.publishes?));
        let media = published.find_map(|track| track.streams.iter().find_map(|it| it.ssrc));
        let Some(connection) = &mut member.connection else { return };
        member.congestion.arrivals.write(*next_ssrc & 1, media.unwrap_or(0), compound.begin());
        for packet in compound.packets() {
            connection.send_rtcp(packet, control);
        }
    }

    /// Sends what a publisher is asked for: missing packets and key frames.
    pub(super) fn requests(&mut self, now: Instant, place: usize) {
        let Self { members, tracks, compound, control, next_ssrc, settings, counters, .. } = self;
        let Some(member) = members.get_mut(place) else { return };
        let round_trip = member.round_trip.unwrap_or(Duration::from_millis(100));
        let Some(connection) = &mut member.connection else { return };
        let ours = *next_ssrc & 1;
        compound.clear();
        for track in member.lines.iter().filter_map(|line| line.publishes) {
            let Some(track) = tracks.get_mut(track).filter(|it| it.kind == MediaKind::Video) else {
                continue;
            };
            let repairs = track.format.has("nack") && track.format.repair.is_some();
            for stream in &mut track.streams {
                let Some(ssrc) = stream.ssrc else { continue };
                let mut missing = Vec::new();
                stream.missing.due(now, round_trip, &mut missing);
                if stream.missing.take_given_up() > 0 {
                    stream.requests.want();
                }
                if repairs && !missing.is_empty() {
                    counters.nack_out += missing.len() as u64;
                    compound.nack(ours, ssrc, &missing);
                }
                let pause = stream.pause(now, settings.min_key_frame_interval);
                if connection.flows() && stream.requests.due(now, pause) {
                    counters.pli_out += 1;
                    compound.picture_loss(ours, ssrc);
                }
                flush_if_full(connection, compound, control);
            }
        }
        if !compound.bytes().is_empty() {
            connection.send_rtcp(compound.bytes(), control);
        }
    }
}

fn flush_if_full(
    connection: &mut PeerTransport,
    compound: &mut crate::rtcp::CompoundWriter,
    control: &mut crate::path::TransmitBuffer,
) {
    if compound.is_full() {
        connection.send_rtcp(compound.bytes(), control);
        compound.clear();
    }
}

fn block(now: Instant, stream: &mut LayerStream) -> Option<ReportBlock> {
    let ssrc = stream.ssrc?;
    let report = stream.reception.report(now)?;
    stream.lost = f32::from(report.fraction_lost) / 256.0;
    Some(ReportBlock {
        ssrc,
        fraction_lost: report.fraction_lost,
        lost: report.cumulative_lost,
        highest: report.highest,
        jitter: report.jitter,
        last_report: report.last_report,
        delay: report.delay,
    })
}

/// The publisher's clock, run on until now, in the subscriber's timestamps: sound and picture of one
/// publisher share it, and so do all subscribers.
fn clock(
    now: Instant,
    subscription: &DownTrack,
    tracks: &Slots<PublishedTrack>,
) -> Option<SenderInfo> {
    let track = tracks.get(subscription.place)?;
    let (report, at) = track.of_source(subscription.rewriter.source()?)?.report?;
    let elapsed = now.saturating_duration_since(at).as_secs_f64();
    let rate = f64::from(subscription.format.codec.clock_rate());
    let timestamp = report.timestamp.wrapping_add((elapsed * rate) as u32);
    Some(SenderInfo {
        ssrc: subscription.sending.ssrc,
        ntp: report.ntp.wrapping_add((elapsed * 4_294_967_296.0) as u64),
        timestamp: subscription.rewriter.timestamp(timestamp)?,
    })
}
