//! What is known of one client's link: feedback about what it sends, an estimate of what it can take.

use std::time::{Duration, Instant};

use crate::allocation::Allocator;
use crate::bandwidth::{Estimator, Probe};
use crate::settings::Settings;
use crate::twcc::{Arrivals, Departures, PacketResult};

/// Between two packets of a probe at least so much time passes.
const PACE: Duration = Duration::from_millis(2);

/// Both directions of one transport.
pub(crate) struct Congestion {
    /// What came from the client, for its own estimate.
    pub(crate) arrivals: Arrivals,
    /// What went to the client.
    pub(crate) departures: Departures,
    /// What the client's downlink carries.
    pub(crate) estimator: Estimator,
    /// How that is divided.
    pub(crate) allocator: Allocator,
    /// With which budget it was divided last.
    pub(crate) budget: u64,
    /// What would be sent if there were room for everything.
    pub(crate) wanted: u64,
    /// The link was found full once, or the client said how much it takes: from then on the estimate
    /// counts. Before, everything is sent: no link is known to be narrow.
    narrow: bool,
    burst: Option<Burst>,
    results: Vec<PacketResult>,
}

/// A probe that is being sent.
struct Burst {
    probe: Probe,
    began: Instant,
    sent: usize,
}

impl Congestion {
    /// Nothing is known yet.
    pub(crate) fn new(now: Instant, settings: &Settings) -> Self {
        let Settings { first_down, least_down, most_down, .. } = *settings;
        Self {
            arrivals: Arrivals::new(now),
            departures: Departures::default(),
            estimator: Estimator::new(now, first_down, least_down, most_down),
            allocator: Allocator::default(),
            budget: most_down,
            wanted: 0,
            narrow: false,
            burst: None,
            results: Vec::new(),
        }
    }

    /// Transport-wide feedback of the client. True if so much less room was found that the division
    /// must not wait for its turn.
    pub(crate) fn feedback(&mut self, now: Instant, body: &[u8]) -> bool {
        self.results.clear();
        self.departures.feedback(body, &mut self.results);
        self.estimator.feedback(now, &self.results);
        self.narrow |= self.estimator.is_congested();
        self.is_short(now)
    }

    /// The client says how many bits per second it takes; as [`feedback`](Self::feedback).
    pub(crate) fn told(&mut self, now: Instant, rate: u64) -> bool {
        self.narrow = true;
        self.estimator.remb(now, rate);
        self.is_short(now)
    }

    /// The client says which share was lost; as [`feedback`](Self::feedback).
    pub(crate) fn lost(&mut self, now: Instant, share: f32) -> bool {
        self.estimator.loss(now, share);
        self.narrow |= self.estimator.is_congested();
        self.is_short(now)
    }

    /// What may be divided now, of at most so much.
    pub(crate) fn budget(&self, now: Instant, most: u64) -> u64 {
        if self.narrow { self.estimator.target(now).min(most) } else { most }
    }

    /// Whether there is clearly less room than was divided.
    fn is_short(&self, now: Instant) -> bool {
        (self.budget(now, self.budget) as f64) < 0.9 * self.budget as f64
    }

    /// How many bytes of a probe are to be sent now; begins one if it is time to.
    pub(crate) fn probe(&mut self, now: Instant) -> usize {
        if self.burst.is_none()
            && let Some(probe) =
                self.estimator.probe(now, self.wanted, self.departures.next_index())
        {
            self.burst = Some(Burst { probe, began: now, sent: 0 });
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
