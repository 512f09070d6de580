//! What clients say about what they send and receive.

use std::time::{Duration, Instant};

use super::SfuRoom;
use crate::member::RoomPeer;
use crate::rtcp::{self, ReportBlock, RtcpPacket, SenderInfo};
use crate::rtp_munger::SenderReportTiming;

impl SfuRoom {
    /// A compound of a member.
    pub(super) fn control_packet(&mut self, now: Instant, place: usize, datagram: &mut [u8]) {
        let Some(member) = self.members.get_mut(place) else { return };
        let Some(connection) = &mut member.connection else { return };
        let length = match connection.open_rtcp(datagram) {
            Ok(length) => length,
            Err(why) => return self.dropped(why),
        };
        for part in rtcp::parts(datagram.get(..length).unwrap_or_default()) {
            self.part(now, place, &part);
        }
    }

    fn part(&mut self, now: Instant, place: usize, part: &RtcpPacket<'_>) {
        match (part.kind, part.count) {
            (rtcp::SENDER, _) => {
                if let Some(report) = part.sender_report() {
                    self.sender_report(now, place, report);
                }
                self.blocks(now, place, part);
            }
            (rtcp::RECEIVER, _) => self.blocks(now, place, part),
            (rtcp::TRANSPORT, rtcp::NACK) => self.repair(now, place, part),
            (rtcp::PAYLOAD, rtcp::PICTURE_LOSS) => {
                if let Some(ssrc) = part.media() {
                    self.key_frame_for(now, place, ssrc);
                }
            }
            (rtcp::PAYLOAD, rtcp::FULL_INTRA) => {
                part.intra().for_each(|ssrc| self.key_frame_for(now, place, ssrc));
            }
            (rtcp::PAYLOAD, rtcp::APPLICATION) => {
                let member = self.members.get_mut(place);
                if let Some((rate, member)) = part.maximum_bitrate().zip(member)
                    && member.congestion.told(now, rate)
                {
                    self.adapt(now, place);
                }
            }
            (rtcp::TRANSPORT, rtcp::TRANSPORT_WIDE) => {
                let body = part.body.get(8..).unwrap_or_default();
                if let Some(member) = self.members.get_mut(place)
                    && member.congestion.feedback(now, body)
                {
                    // A probe that found room is followed by the next one at once.
                    member.wake_by(now);
                    self.wake = self.wake.min(now);
                    self.adapt(now, place);
                }
            }
            _ => {}
        }
    }

    fn sender_report(&mut self, now: Instant, place: usize, report: SenderInfo) {
        let Some(member) = self.members.get_mut(place) else { return };
        let Some(connection) = &mut member.connection else { return };
        let source = connection.sources.find(report.ssrc);
        let source = source.and_then(|at| connection.sources.get_mut(at));
        let Some(bound) = source.and_then(|source| source.bound).filter(|bound| !bound.repair)
        else {
            return;
        };
        let track = self.tracks.get_mut(bound.track);
        let Some(stream) = track.and_then(|track| track.streams.get_mut(bound.stream)) else {
            return;
        };
        stream.reception.sender_report(now, report.ntp);
        let clocks = SenderReportTiming { ntp: report.ntp, timestamp: report.timestamp };
        stream.report = Some((clocks, now));
        // With it the timestamps of another layer will fit exactly.
        let source = stream.source;
        for (_, member) in self.members.iter_mut() {
            if let Some(line) = member.route(bound.track)
                && let Some(to) = member.sending(line)
            {
                to.subscription.rewriter.reported(source, clocks);
            }
        }
    }

    fn blocks(&mut self, now: Instant, place: usize, part: &RtcpPacket<'_>) {
        let Some(member) = self.members.get_mut(place) else { return };
        let short = part.blocks().filter(|block| member.told(now, block)).count() > 0; // asks all
        if short {
            self.adapt(now, place);
        }
    }

    /// A subscriber cannot go on without a key frame.
    fn key_frame_for(&mut self, now: Instant, place: usize, ssrc: u32) {
        let Some(member) = self.members.get_mut(place) else { return };
        let Some(subscription) = member.subscriptions().find(|sub| sub.sending.ssrc == ssrc) else {
            return;
        };
        let track_at = subscription.place;
        let Some(track) = self.tracks.get_mut(track_at) else { return };
        let stream = subscription.current(track).or(subscription.target);
        if let Some(stream) = stream.and_then(|at| track.streams.get_mut(at)) {
            self.counters.pli_in += 1;
            stream.requests.want();
            self.wake_owner(now, track_at);
        }
    }
}

impl RoomPeer {
    /// A subscriber's report about a stream of ours. True if there is clearly less room than before.
    fn told(&mut self, now: Instant, block: &ReportBlock) -> bool {
        let found = self.subscriptions().find(|sub| sub.sending.ssrc == block.ssrc);
        let Some(subscription) = found else { return false };
        let loss = f32::from(block.fraction_lost) / 256.0;
        let rate = f64::from(subscription.format.codec.clock_rate());
        subscription.suffers = (loss, Duration::from_secs_f64(f64::from(block.jitter) / rate));
        let video = subscription.is_video();
        let reported = subscription.reported.filter(|(word, _)| *word == block.last_report);
        if let Some((_, sent)) = reported {
            let held = Duration::from_secs_f64(f64::from(block.delay) / 65_536.0);
            let elapsed = now.saturating_duration_since(sent);
            self.round_trip = Some(elapsed.saturating_sub(held));
        }
        video && self.congestion.lost(now, loss)
    }
}
