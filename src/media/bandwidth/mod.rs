//! Bandwidth estimator of a subscriber's downlink: Google congestion control (draft-ietf-rmcat-gcc-02, libwebrtc)
//! based on transport-wide feedback, or on REMB and reported loss for clients that send none.

mod acked_bitrate;
mod aimd;
mod inter_arrival;
mod loss;
mod probe;
mod trendline;

use std::time::{Duration, Instant};

use acked_bitrate::AckedBitrateEstimator;
use aimd::AimdRateControl;
use inter_arrival::InterArrivalDelta;
use loss::LossController;
pub(crate) use probe::ProbeCluster;
use probe::ProbeController;
use trendline::{BandwidthUsage, TrendlineEstimator};

use crate::limits::MIN_ACKED_RATIO;
use crate::twcc::PacketResult;

/// A sender that uses less than this share of the allowed rate is application limited and does not test it.
const APPLICATION_LIMITED_RATIO: f64 = 0.65;
/// Time for which a REMB of the receiver is valid.
const REMB_TTL: Duration = Duration::from_secs(10);
/// Round trip time before the first measurement.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Estimates one downlink. Rates are bits per second of all packets sent with a transport-wide sequence
/// number.
#[derive(Debug)]
pub(crate) struct BandwidthEstimator {
    min_bps: f64,
    max_bps: f64,
    epoch: Instant,
    inter_arrival: InterArrivalDelta,
    trendline: TrendlineEstimator,
    acked_bitrate: AckedBitrateEstimator,
    sent_bitrate: AckedBitrateEstimator,
    rate_control: AimdRateControl,
    loss_control: LossController,
    probe_control: ProbeController,
    round_trip: Duration,
    remb: Option<(Instant, f64)>,
    /// Whether transport-wide feedback was received.
    has_twcc: bool,
}

impl BandwidthEstimator {
    /// Starts with `start` bits per second; the estimate stays between `min` and `max` bits per second.
    pub(crate) fn new(now: Instant, start: u64, min: u64, max: u64) -> Self {
        let (min_bps, max_bps) = (min as f64, max.max(min) as f64);
        Self {
            min_bps,
            max_bps,
            epoch: now,
            inter_arrival: InterArrivalDelta::default(),
            trendline: TrendlineEstimator::new(),
            acked_bitrate: AckedBitrateEstimator::default(),
            sent_bitrate: AckedBitrateEstimator::default(),
            rate_control: AimdRateControl::new(now, (start as f64).clamp(min_bps, max_bps)),
            loss_control: LossController::new(now),
            probe_control: ProbeController::new(now),
            round_trip: INITIAL_ROUND_TRIP,
            remb: None,
            has_twcc: false,
        }
    }

    /// Handles the results of one feedback in sending order; afterwards they are sorted by arrival.
    pub(crate) fn on_twcc_feedback(&mut self, now: Instant, packets: &mut [PacketResult]) {
        let (mut sent, mut lost) = (0, 0);
        let mut probe_result = None;
        for packet in packets.iter() {
            sent += 1;
            self.probe_control.add_credit(packet.bytes);
            lost += u32::from(packet.arrived_at.is_none());
            self.sent_bitrate
                .add(packet.sent_at.saturating_duration_since(self.epoch), packet.bytes);
            let result = self.probe_control.on_packet(now, packet, self.rate_control.bps());
            probe_result = result.or(probe_result);
        }
        let Some(last_sent) = packets.last().map(|packet| packet.sent_at) else { return };
        let is_overused = self.update_delay(packets);
        self.has_twcc = true;
        let round_trip = now.saturating_duration_since(last_sent);
        self.round_trip = self.round_trip.mul_f64(0.9) + round_trip.mul_f64(0.1);
        let usage = if is_overused { BandwidthUsage::Over } else { self.trendline.usage() };
        if usage == BandwidthUsage::Over {
            self.loss_control.on_overuse(now);
        }
        let allowed = self.allowed_bps(now);
        let loss_limit = self.loss_control.on_packets(now, (sent, lost), allowed, self.round_trip);
        // Whatever the loss, the link carries what was acknowledged.
        let acked_floor =
            self.acked_bitrate.bitrate_bps().map_or(0.0, |acked| acked * MIN_ACKED_RATIO);
        let loss_limit = loss_limit.map(|loss_limit| loss_limit.max(acked_floor).min(allowed));
        self.update_rate(now, usage, probe_result, loss_limit);
        self.rate_control.clamp(self.min_bps, self.max_bps);
    }

    /// Updates the delay trend; true if overuse was detected meanwhile. A reordered packet must be processed when
    /// it arrived: its delay is its own and not that of the queue.
    fn update_delay(&mut self, packets: &mut [PacketResult]) -> bool {
        packets.sort_unstable_by_key(|packet| (packet.arrived_at, packet.index));
        let mut is_overused = false;
        for packet in packets.iter() {
            let Some(arrived) = packet.arrived_at else { continue };
            self.acked_bitrate.add(arrived, packet.bytes);
            if let Some(delta) = self.inter_arrival.on_packet(packet) {
                self.trendline.update(delta);
                is_overused |= self.trendline.usage() == BandwidthUsage::Over;
            }
        }
        is_overused
    }

    /// Applies a probe result, a loss-based limit or the delay signal to the rate, in this order of precedence.
    fn update_rate(
        &mut self,
        now: Instant,
        usage: BandwidthUsage,
        probe_result: Option<f64>,
        loss_limit: Option<f64>,
    ) {
        let is_lossy = self.loss_control.is_excessive();
        let in_trial = self.loss_control.limit_bps().is_some();
        if usage == BandwidthUsage::Over || in_trial {
            self.probe_control.postpone(now);
        }
        match (usage, probe_result, loss_limit) {
            (_, _, Some(loss_limit)) => self.rate_control.set(now, loss_limit),
            (BandwidthUsage::Normal | BandwidthUsage::Under, Some(rate), _) if !in_trial => {
                self.rate_control.set(now, rate)
            }
            (BandwidthUsage::Normal, ..) if is_lossy => self.rate_control.hold_increase(now),
            _ => {
                let application_limited = self.is_application_limited(now);
                self.rate_control.update(
                    now,
                    usage,
                    self.acked_bitrate.bitrate_bps(),
                    self.round_trip,
                    application_limited,
                );
            }
        }
    }

    /// Handles an estimate of the receiver (draft-alvestrand-rmcat-remb-03). It replaces the own estimate for
    /// clients without transport-wide feedback, and caps it for others.
    pub(crate) fn on_remb(&mut self, now: Instant, bps: u64) {
        self.remb = Some((now, bps as f64));
    }

    /// Handles the share of packets (0 to 1) that a client without transport-wide feedback reports as lost since
    /// its last report. Without REMB, the estimate also grows by this alone.
    pub(crate) fn on_loss_report(&mut self, now: Instant, loss_share: f32) {
        if self.has_twcc || !loss_share.is_finite() {
            return;
        }
        let allowed = self.allowed_bps(now);
        let loss = f64::from(loss_share).clamp(0.0, 1.0);
        if let Some(lower) = self.loss_control.on_loss(now, loss, allowed, self.round_trip) {
            self.rate_control.set(now, lower);
        } else if self.loss_control.is_excessive() {
            self.rate_control.hold_increase(now);
        } else {
            let rate = Some(self.rate_control.bps());
            self.rate_control.update(now, BandwidthUsage::Normal, rate, self.round_trip, false);
        }
        self.rate_control.clamp(self.min_bps, self.max_bps);
    }

    /// The target bitrate in bits per second.
    pub(crate) fn target_bps(&self, now: Instant) -> u64 {
        self.allowed_bps(now) as u64
    }

    /// Whether the link is congested at present, so that no more must be sent.
    pub(crate) fn is_congested(&self) -> bool {
        self.trendline.usage() == BandwidthUsage::Over || self.loss_control.limit_bps().is_some()
    }

    /// A probe to send, if `wanted` exceeds the estimate and one is due; to be called whenever a probe could be
    /// sent. The probe starts with the packet `next` ([`crate::twcc::TwccSender::next_index`]) and consists
    /// of all packets that are sent until it is complete, whatever they carry.
    pub(crate) fn next_probe(
        &mut self,
        now: Instant,
        wanted: u64,
        next: u64,
    ) -> Option<ProbeCluster> {
        if !self.has_twcc
            || self.trendline.usage() != BandwidthUsage::Normal
            || self.loss_control.limit_bps().is_some()
        {
            return None;
        }
        let wanted = (wanted as f64).min(self.max_bps);
        self.probe_control.start_probe(now, self.allowed_bps(now), wanted, next)
    }

    /// The probe was sent; it ended before the packet `end`.
    pub(crate) fn on_probe_sent(&mut self, now: Instant, end: u64) {
        self.probe_control.on_sent(now, end);
    }

    fn allowed_bps(&self, now: Instant) -> f64 {
        let remb =
            self.remb.filter(|(received, _)| now.saturating_duration_since(*received) < REMB_TTL);
        let rate = match remb {
            Some((_, remb)) if !self.has_twcc => remb,
            Some((_, remb)) => self.rate_control.bps().min(remb),
            None => self.rate_control.bps(),
        };
        rate.min(self.loss_control.limit_bps().unwrap_or(rate)).clamp(self.min_bps, self.max_bps)
    }

    fn is_application_limited(&self, now: Instant) -> bool {
        self.sent_bitrate
            .bitrate_bps()
            .is_some_and(|sending| sending < APPLICATION_LIMITED_RATIO * self.allowed_bps(now))
    }
}

#[cfg(test)]
mod link;
#[cfg(test)]
mod tests;
