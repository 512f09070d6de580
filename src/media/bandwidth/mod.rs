//! What a subscriber's downlink carries: Google congestion control (draft-ietf-rmcat-gcc-02) on
//! transport-wide feedback; REMB and reported loss for those who give none.

mod acked_bitrate;
mod aimd;
mod inter_arrival;
mod loss;
mod probe;
mod trendline;

pub(crate) use probe::ProbeCluster;

use std::time::{Duration, Instant};

use crate::twcc::PacketResult;
use acked_bitrate::AckedBitrateEstimator;
use aimd::AimdRateControl;
use inter_arrival::InterArrivalDelta;
use loss::LossController;
use probe::ProbeController;
use trendline::{BandwidthUsage, TrendlineEstimator};

/// Sending less than this share of what is allowed is no test of the allowed.
const UNUSED: f64 = 0.65;
/// So much of what arrives is what may be sent at least.
const COMES_THROUGH: f64 = 0.85;
/// A receiver's own estimate (REMB) is believed for so long.
const REMB_LASTS: Duration = Duration::from_secs(10);
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Estimates one downlink, in bits per second of everything that is sent with a transport-wide
/// sequence number.
#[derive(Debug)]
pub(crate) struct BandwidthEstimator {
    least: f64,
    most: f64,
    begin: Instant,
    groups: InterArrivalDelta,
    trend: TrendlineEstimator,
    arriving: AckedBitrateEstimator,
    sending: AckedBitrateEstimator,
    delay: AimdRateControl,
    loss: LossController,
    prober: ProbeController,
    round_trip: Duration,
    remb: Option<(Instant, f64)>,
    /// Whether there was any transport-wide feedback.
    heard: bool,
}

impl BandwidthEstimator {
    /// Begins with `start`; the estimate stays between `least` and `most` bits per second.
    pub(crate) fn new(now: Instant, start: u64, least: u64, most: u64) -> Self {
        let (least, most) = (least as f64, most.max(least) as f64);
        Self {
            least,
            most,
            begin: now,
            groups: InterArrivalDelta::default(),
            trend: TrendlineEstimator::new(),
            arriving: AckedBitrateEstimator::default(),
            sending: AckedBitrateEstimator::default(),
            delay: AimdRateControl::new(now, (start as f64).clamp(least, most)),
            loss: LossController::new(now),
            prober: ProbeController::new(now),
            round_trip: FIRST_ROUND_TRIP,
            remb: None,
            heard: false,
        }
    }

    /// What one feedback told, in the order of sending; afterwards they lie in the order of arrival.
    pub(crate) fn feedback(&mut self, now: Instant, packets: &mut [PacketResult]) {
        let (mut sent, mut lost) = (0, 0);
        let mut probed = None;
        for packet in packets.iter() {
            sent += 1;
            self.prober.earn(packet.bytes);
            lost += u32::from(packet.arrived.is_none());
            self.sending.add(packet.sent.saturating_duration_since(self.begin), packet.bytes);
            let found = self.prober.result(now, packet, self.delay.rate());
            probed = found.or(probed);
        }
        let Some(last_sent) = packets.last().map(|packet| packet.sent) else { return };
        let overused = self.arrivals(packets);
        self.heard = true;
        let round_trip = now.saturating_duration_since(last_sent);
        self.round_trip = self.round_trip.mul_f64(0.9) + round_trip.mul_f64(0.1);
        let usage = if overused { BandwidthUsage::Over } else { self.trend.usage() };
        if usage == BandwidthUsage::Over {
            self.loss.stand_back(now);
        }
        let allowed = self.allowed(now);
        let lower = self.loss.packets(now, (sent, lost), allowed, self.round_trip);
        // Whatever is lost, what comes through has room.
        let came = self.arriving.rate().map_or(0.0, |arriving| arriving * COMES_THROUGH);
        let lower = lower.map(|lower| lower.max(came).min(allowed));
        self.conclude(now, usage, probed, lower);
        self.delay.bound(self.least, self.most);
    }

    /// Looks how the delay develops; true if the way filled up meanwhile. What was overtaken on the
    /// way must be seen when it came: its delay is its own, not that of the queue.
    fn arrivals(&mut self, packets: &mut [PacketResult]) -> bool {
        packets.sort_unstable_by_key(|packet| (packet.arrived, packet.index));
        let mut overused = false;
        for packet in packets.iter() {
            let Some(arrived) = packet.arrived else { continue };
            self.arriving.add(arrived, packet.bytes);
            if let Some(step) = self.groups.arrived(packet) {
                self.trend.step(step);
                overused |= self.trend.usage() == BandwidthUsage::Over;
            }
        }
        overused
    }

    fn conclude(
        &mut self,
        now: Instant,
        usage: BandwidthUsage,
        probed: Option<f64>,
        lower: Option<f64>,
    ) {
        let lossy = self.loss.is_excessive();
        let tried = self.loss.bound().is_some();
        if usage == BandwidthUsage::Over || tried {
            self.prober.postpone(now);
        }
        match (usage, probed, lower) {
            (_, _, Some(lower)) => self.delay.set(now, lower),
            (BandwidthUsage::Normal | BandwidthUsage::Under, Some(rate), _) if !tried => {
                self.delay.set(now, rate)
            }
            (BandwidthUsage::Normal, ..) if lossy => self.delay.wait(now),
            _ => {
                let unused = self.is_unused(now);
                self.delay.update(now, usage, self.arriving.rate(), self.round_trip, unused);
            }
        }
    }

    /// The receiver's own estimate (draft-alvestrand-rmcat-remb-03), for subscribers who give no
    /// transport-wide feedback: it takes the place of ours.
    pub(crate) fn remb(&mut self, now: Instant, rate: u64) {
        self.remb = Some((now, rate as f64));
    }

    /// The share of packets that a subscriber without transport-wide feedback reports as lost,
    /// 0 to 1, since its last report. Without REMB the estimate also grows by this alone.
    pub(crate) fn loss(&mut self, now: Instant, share: f32) {
        if self.heard || !share.is_finite() {
            return;
        }
        let allowed = self.allowed(now);
        let loss = f64::from(share).clamp(0.0, 1.0);
        if let Some(lower) = self.loss.judge(now, loss, allowed, self.round_trip) {
            self.delay.set(now, lower);
        } else if self.loss.is_excessive() {
            self.delay.wait(now);
        } else {
            let rate = Some(self.delay.rate());
            self.delay.update(now, BandwidthUsage::Normal, rate, self.round_trip, false);
        }
        self.delay.bound(self.least, self.most);
    }

    /// What may be sent, in bits per second.
    pub(crate) fn target(&self, now: Instant) -> u64 {
        self.allowed(now) as u64
    }

    /// Whether the way was found full just now: no time to send more.
    pub(crate) fn is_congested(&self) -> bool {
        self.trend.usage() == BandwidthUsage::Over || self.loss.bound().is_some()
    }

    /// A burst to send, if more than the estimate is `wanted` and it is time to try. To be asked
    /// whenever there is a chance to send one. The burst begins with the packet `next`
    /// ([`crate::twcc::TwccSender::next_index`]) and consists of all that is sent until it is over,
    /// whatever the packets carry.
    pub(crate) fn probe(&mut self, now: Instant, wanted: u64, next: u64) -> Option<ProbeCluster> {
        if !self.heard
            || self.trend.usage() != BandwidthUsage::Normal
            || self.loss.bound().is_some()
        {
            return None;
        }
        let wanted = (wanted as f64).min(self.most);
        self.prober.order(now, self.allowed(now), wanted, next)
    }

    /// The burst was sent: it ended before the packet `end`.
    pub(crate) fn probed(&mut self, now: Instant, end: u64) {
        self.prober.sent(now, end);
    }

    fn allowed(&self, now: Instant) -> f64 {
        let remb = self.remb.filter(|(at, _)| now.saturating_duration_since(*at) < REMB_LASTS);
        let rate = match remb {
            Some((_, remb)) if !self.heard => remb,
            Some((_, remb)) => self.delay.rate().min(remb),
            None => self.delay.rate(),
        };
        rate.min(self.loss.bound().unwrap_or(rate)).clamp(self.least, self.most)
    }

    fn is_unused(&self, now: Instant) -> bool {
        self.sending.rate().is_some_and(|sending| sending < UNUSED * self.allowed(now))
    }
}

#[cfg(test)]
mod link;
#[cfg(test)]
mod tests;
