//! Congestion control of one client: transport-wide feedback for its uplink, a bandwidth estimate of its downlink.

use std::time::{Duration, Instant};

use crate::allocation::BitrateAllocator;
use crate::bandwidth::{BandwidthEstimator, ProbeCluster};
use crate::limits::MIN_RTX_BURST_BYTES;
use crate::settings::RoomConfig;
use crate::twcc::{PacketResult, TwccReceiver, TwccSender};

/// Minimum time between two packets of a probe.
const PROBE_PACKET_INTERVAL: Duration = Duration::from_millis(2);
/// Maximum share of the budget of a constrained link that is used for retransmissions: on a congested link they
/// would only be lost and requested again.
const RTX_SHARE: f64 = 0.5;
/// Seconds of unused retransmission budget that accumulate.
const RTX_BURST_SECONDS: f64 = 0.25;

/// Congestion control in both directions of one transport.
pub(crate) struct CongestionController {
    /// Generates feedback about packets from the client, for its own estimate.
    pub(crate) twcc_receiver: TwccReceiver,
    /// Numbers packets to the client and interprets its feedback.
    pub(crate) twcc_sender: TwccSender,
    /// Estimates the capacity of the client's downlink.
    pub(crate) estimator: BandwidthEstimator,
    /// Divides the estimate among the down tracks.
    pub(crate) allocator: BitrateAllocator,
    /// The budget of the last allocation, in bits per second.
    pub(crate) budget_bps: u64,
    /// The budget needed to send everything that is wanted, in bits per second.
    pub(crate) needed_bps: u64,
    /// Congestion was detected once, or the client sent a REMB message: from then on the estimate limits
    /// the budget. Before that, everything is sent, since nothing indicates a constrained link.
    is_constrained: bool,
    /// When to allocate again because an upgrade is due.
    pub(crate) reallocate_at: Option<Instant>,
    /// Bytes that may be retransmitted, negative after a large packet; and as of when.
    rtx_budget: (f64, Instant),
    active_probe: Option<ActiveProbe>,
    results: Vec<PacketResult>,
}

/// A probe cluster that is being sent.
struct ActiveProbe {
    cluster: ProbeCluster,
    started_at: Instant,
    bytes_sent: usize,
}

impl CongestionController {
    /// The state before the first packet.
    pub(crate) fn new(now: Instant, settings: &RoomConfig) -> Self {
        let RoomConfig {
            initial_downlink_bps: initial_bps,
            min_downlink_bps: min_bps,
            max_downlink_bps: max_bps,
            ..
        } = *settings;
        Self {
            twcc_receiver: TwccReceiver::new(now),
            twcc_sender: TwccSender::default(),
            estimator: BandwidthEstimator::new(now, initial_bps, min_bps, max_bps),
            allocator: BitrateAllocator::default(),
            budget_bps: max_bps,
            needed_bps: 0,
            is_constrained: false,
            reallocate_at: None,
            rtx_budget: (MIN_RTX_BURST_BYTES, now),
            active_probe: None,
            results: Vec::new(),
        }
    }

    /// Handles transport-wide feedback of the client. True if the budget changed so much that bitrates must be
    /// reallocated immediately.
    pub(crate) fn on_twcc_feedback(&mut self, now: Instant, body: &[u8]) -> bool {
        self.results.clear();
        self.twcc_sender.on_feedback(body, &mut self.results);
        self.estimator.on_twcc_feedback(now, &mut self.results);
        self.is_constrained |= self.estimator.is_congested();
        self.needs_reallocation(now)
    }

    /// Handles a REMB message with bits per second; returns as [`on_twcc_feedback`](Self::on_twcc_feedback).
    pub(crate) fn on_remb(&mut self, now: Instant, bps: u64) -> bool {
        self.is_constrained = true;
        self.estimator.on_remb(now, bps);
        self.needs_reallocation(now)
    }

    /// Handles the loss share of a receiver report; returns as [`on_twcc_feedback`](Self::on_twcc_feedback).
    pub(crate) fn on_loss_report(&mut self, now: Instant, share: f32) -> bool {
        self.estimator.on_loss_report(now, share);
        self.is_constrained |= self.estimator.is_congested();
        self.needs_reallocation(now)
    }

    /// The budget for the down tracks in bits per second, at most `max_bps`.
    pub(crate) fn current_budget_bps(&self, now: Instant, max_bps: u64) -> u64 {
        if self.is_constrained { self.estimator.target_bps(now).min(max_bps) } else { max_bps }
    }

    /// Whether the budget is clearly below the last one, or above it while more is wanted.
    fn needs_reallocation(&self, now: Instant) -> bool {
        let (budget, allocated) =
            (self.current_budget_bps(now, u64::MAX) as f64, self.budget_bps as f64);
        let is_lower = budget < 0.9 * allocated;
        is_lower
            || self.is_constrained && self.needed_bps > self.budget_bps && budget > 1.1 * allocated
    }

    /// Whether the link is known to carry less than everything.
    pub(crate) fn is_constrained(&self) -> bool {
        self.is_constrained
    }

    /// Whether a packet may be retransmitted now.
    pub(crate) fn may_retransmit(&mut self, now: Instant) -> bool {
        let bytes_per_second = self.current_budget_bps(now, u64::MAX) as f64 / 8.0 * RTX_SHARE;
        let (remaining, updated) = self.rtx_budget;
        let earned = bytes_per_second * now.saturating_duration_since(updated).as_secs_f64();
        let max_bytes = (bytes_per_second * RTX_BURST_SECONDS).max(MIN_RTX_BURST_BYTES);
        self.rtx_budget = ((remaining + earned).min(max_bytes), now);
        self.rtx_budget.0 >= 0.0
    }

    /// Records retransmitted bytes.
    pub(crate) fn on_retransmitted(&mut self, bytes: usize) {
        self.rtx_budget.0 -= bytes as f64;
    }

    /// The number of bytes of a probe to send now; starts a probe if one is due.
    pub(crate) fn probe_bytes_due(&mut self, now: Instant) -> usize {
        if self.active_probe.is_none()
            && let Some(cluster) =
                self.estimator.next_probe(now, self.needed_bps, self.twcc_sender.next_index())
        {
            self.active_probe = Some(ActiveProbe { cluster, started_at: now, bytes_sent: 0 });
        }
        let Some(active) = &self.active_probe else { return 0 };
        let elapsed = now.saturating_duration_since(active.started_at) + PROBE_PACKET_INTERVAL;
        let due = (active.cluster.bps as f64 / 8.0 * elapsed.as_secs_f64()) as usize;
        due.min(active.cluster.bytes).saturating_sub(active.bytes_sent)
    }

    /// Records sent bytes of a probe; returns when to continue.
    pub(crate) fn on_probe_sent(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let active = self.active_probe.as_mut()?;
        active.bytes_sent += bytes;
        if active.bytes_sent < active.cluster.bytes {
            return Some(now + PROBE_PACKET_INTERVAL);
        }
        self.active_probe = None;
        self.estimator.on_probe_sent(now, self.twcc_sender.next_index());
        None
    }

    /// Ends a probe that cannot be sent because there is no stream to send it on.
    pub(crate) fn abort_probe(&mut self) {
        self.active_probe = None;
    }
}
