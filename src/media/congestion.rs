//! What is known of one client's link: feedback about what it sends, an estimate of what it can take.

use std::time::{Duration, Instant};

use crate::allocation::BitrateAllocator;
use crate::bandwidth::{BandwidthEstimator, ProbeCluster};
use crate::settings::RoomConfig;
use crate::twcc::{PacketResult, TwccReceiver, TwccSender};

/// Between two packets of a probe at least so much time passes.
const PACE: Duration = Duration::from_millis(2);
/// On a narrow link this share of what it carries is for retransmissions: on a full one they would only
/// be lost again, and be asked for again.
const REPAIRS: f64 = 0.5;
/// What was not used of it counts for so long, but is never less than a packet or two.
const REPAIRS_KEPT: f64 = 0.25;
const LEAST_REPAIRS: f64 = 2_500.0;

/// Both directions of one transport.
pub(crate) struct CongestionController {
    /// What came from the client, for its own estimate.
    pub(crate) arrivals: TwccReceiver,
    /// What went to the client.
    pub(crate) departures: TwccSender,
    /// What the client's downlink carries.
    pub(crate) estimator: BandwidthEstimator,
    /// How that is divided.
    pub(crate) allocator: BitrateAllocator,
    /// With which budget it was divided last.
    pub(crate) budget: u64,
    /// What would be sent if there were room for everything.
    pub(crate) wanted: u64,
    /// The link was found full once, or the client said how much it takes: from then on the estimate
    /// counts. Before, everything is sent: no link is known to be narrow.
    narrow: bool,
    /// When to divide again, since more is to be sent soon.
    pub(crate) again: Option<Instant>,
    /// How many bytes may be sent again, less than nothing after a large packet; and as of when.
    repairs: (f64, Instant),
    burst: Option<ActiveProbe>,
    results: Vec<PacketResult>,
}

/// A probe that is being sent.
struct ActiveProbe {
    probe: ProbeCluster,
    began: Instant,
    sent: usize,
}

impl CongestionController {
    /// Nothing is known yet.
    pub(crate) fn new(now: Instant, settings: &RoomConfig) -> Self {
        let RoomConfig {
            initial_downlink_bps: first_down,
            min_downlink_bps: least_down,
            max_downlink_bps: most_down,
            ..
        } = *settings;
        Self {
            arrivals: TwccReceiver::new(now),
            departures: TwccSender::default(),
            estimator: BandwidthEstimator::new(now, first_down, least_down, most_down),
            allocator: BitrateAllocator::default(),
            budget: most_down,
            wanted: 0,
            narrow: false,
            again: None,
            repairs: (LEAST_REPAIRS, now),
            burst: None,
            results: Vec::new(),
        }
    }

    /// Transport-wide feedback of the client. True if so much less or more room was found that the
    /// division must not wait for its turn.
    pub(crate) fn feedback(&mut self, now: Instant, body: &[u8]) -> bool {
        self.results.clear();
        self.departures.feedback(body, &mut self.results);
        self.estimator.feedback(now, &mut self.results);
        self.narrow |= self.estimator.is_congested();
        self.is_news(now)
    }

    /// The client says how many bits per second it takes; as [`feedback`](Self::feedback).
    pub(crate) fn told(&mut self, now: Instant, rate: u64) -> bool {
        self.narrow = true;
        self.estimator.remb(now, rate);
        self.is_news(now)
    }

    /// The client says which share was lost; as [`feedback`](Self::feedback).
    pub(crate) fn lost(&mut self, now: Instant, share: f32) -> bool {
        self.estimator.loss(now, share);
        self.narrow |= self.estimator.is_congested();
        self.is_news(now)
    }

    /// What may be divided now, of at most so much.
    pub(crate) fn budget(&self, now: Instant, most: u64) -> u64 {
        if self.narrow { self.estimator.target(now).min(most) } else { most }
    }

    /// Whether there is clearly less room than was divided, or more that is wanted.
    fn is_news(&self, now: Instant) -> bool {
        let (room, divided) = (self.budget(now, u64::MAX) as f64, self.budget as f64);
        let less = room < 0.9 * divided;
        less || self.narrow && self.wanted > self.budget && room > 1.1 * divided
    }

    /// Whether the link was found to carry less than everything.
    pub(crate) fn is_narrow(&self) -> bool {
        self.narrow
    }

    /// Whether something may be sent again now.
    pub(crate) fn may_repair(&mut self, now: Instant) -> bool {
        let share = self.budget(now, u64::MAX) as f64 / 8.0 * REPAIRS;
        let (left, at) = self.repairs;
        let earned = share * now.saturating_duration_since(at).as_secs_f64();
        let most = (share * REPAIRS_KEPT).max(LEAST_REPAIRS);
        self.repairs = ((left + earned).min(most), now);
        self.repairs.0 >= 0.0
    }

    /// So many bytes were sent again.
    pub(crate) fn repaired(&mut self, bytes: usize) {
        self.repairs.0 -= bytes as f64;
    }

    /// How many bytes of a probe are to be sent now; begins one if it is time to.
    pub(crate) fn probe(&mut self, now: Instant) -> usize {
        if self.burst.is_none()
            && let Some(probe) =
                self.estimator.probe(now, self.wanted, self.departures.next_index())
        {
            self.burst = Some(ActiveProbe { probe, began: now, sent: 0 });
        }
        let Some(burst) = &self.burst else { return 0 };
        let elapsed = now.saturating_duration_since(burst.began) + PACE;
        let due = (burst.probe.rate as f64 / 8.0 * elapsed.as_secs_f64()) as usize;
        due.min(burst.probe.bytes).saturating_sub(burst.sent)
    }

    /// So much of a probe was sent; gives when to go on.
    pub(crate) fn probed(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let burst = self.burst.as_mut()?;
        burst.sent += bytes;
        if burst.sent < burst.probe.bytes {
            return Some(now + PACE);
        }
        self.burst = None;
        self.estimator.probed(now, self.departures.next_index());
        None
    }

    /// A probe cannot be sent: there is nothing to send it with.
    pub(crate) fn abandon(&mut self) {
        self.burst = None;
    }
}
