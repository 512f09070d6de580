//! Bitrate allocator: divides the downlink estimate of a subscriber among the tracks that it receives.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::api::{LayerLimit, SimulcastLayer, TrackSource};
use crate::limits::{MAX_LAYER_DWELL, MAX_OVERSHOOT_BPS, MIN_LAYER_DWELL};

/// All layers, lowest first.
const LAYERS: [SimulcastLayer; 3] =
    [SimulcastLayer::Low, SimulcastLayer::Medium, SimulcastLayer::High];
/// Hysteresis: a layer that is not sent yet is added only if it fits into this share of the budget, and a layer
/// that is sent stays until the budget falls below this share of its cost. Between the two, nothing changes.
const BUDGET_RATIO: f64 = 0.9;
/// A downgrade within this time after an upgrade makes the next upgrade wait longer.
const DOWNGRADE_PENALTY_PERIOD: Duration = Duration::from_secs(10);

/// What a subscriber wants of one track, and the cost of each layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrackDemand {
    /// What the track captures.
    pub(crate) source: TrackSource,
    /// The highest layer that the subscriber wants.
    pub(crate) limit: LayerLimit,
    /// The layer that is being sent.
    pub(crate) current_layer: Option<SimulcastLayer>,
    /// Bits per second of each layer, lowest first; 0 if it is unavailable. For a layer that the publisher
    /// has stopped because nobody wanted it, the expected bitrate.
    pub(crate) layer_bps: [u64; 3],
    /// Rank of the owner among the active speakers, 0 the loudest; `None` if silent.
    pub(crate) speaker_rank: Option<u32>,
}

impl TrackDemand {
    fn is_audio(&self) -> bool {
        matches!(self.source, TrackSource::Microphone | TrackSource::ScreenAudio)
    }

    fn bps(&self, layer: SimulcastLayer) -> u64 {
        match (self.layer_bps, layer) {
            ([low, ..], SimulcastLayer::Low) => low,
            ([_, medium, _], SimulcastLayer::Medium) => medium,
            ([.., high], SimulcastLayer::High) => high,
        }
    }

    fn is_available(&self, layer: SimulcastLayer) -> bool {
        self.limit >= LayerLimit::UpTo(layer) && self.bps(layer) > 0
    }

    fn highest(&self) -> Option<SimulcastLayer> {
        LAYERS.into_iter().rfind(|layer| self.is_available(*layer))
    }

    fn lowest(&self) -> Option<SimulcastLayer> {
        LAYERS.into_iter().find(|layer| self.is_available(*layer))
    }

    /// Sort key: screens before cameras, speakers before others, large views before small ones.
    fn priority(&self) -> (bool, u32, Reverse<LayerLimit>) {
        let camera = self.source != TrackSource::Screen;
        (camera, self.speaker_rank.unwrap_or(u32::MAX), Reverse(self.limit))
    }
}

/// The budget in bits per second with which every track gets its highest layer: the cost, if those layers are
/// already assigned, otherwise what is needed to assign them.
pub(crate) fn needed_bps(demands: &[TrackDemand], chosen: &[Option<SimulcastLayer>]) -> u64 {
    let cost = |demand: &TrackDemand| {
        let available = LAYERS.into_iter().filter(|layer| demand.is_available(*layer));
        available.map(|layer| demand.bps(layer)).max().unwrap_or(0)
    };
    let costs: u64 = demands.iter().map(cost).sum();
    let is_satisfied = |(demand, chosen): (&TrackDemand, &Option<SimulcastLayer>)| {
        demand.is_audio() || *chosen == demand.highest()
    };
    let has_all = demands.iter().zip(chosen).all(is_satisfied);
    if has_all { costs } else { (costs as f64 / BUDGET_RATIO).ceil() as u64 }
}

/// The allocation for one subscriber.
#[derive(Debug)]
pub(crate) struct BitrateAllocator {
    /// Indices of the video demands, most important first.
    video_order: Vec<usize>,
    /// The smallest budgets of the last `dwell`, each with the time since when it holds; ascending.
    recent_minima: VecDeque<(Instant, u64)>,
    /// How long a budget must last before an upgrade.
    dwell: Duration,
    /// When a layer was last upgraded.
    last_upgrade: Option<Instant>,
}

impl Default for BitrateAllocator {
    fn default() -> Self {
        Self {
            video_order: Vec::new(),
            recent_minima: VecDeque::new(),
            dwell: MIN_LAYER_DWELL,
            last_upgrade: None,
        }
    }
}

impl BitrateAllocator {
    /// Writes the layer to send of each track, in the order of `demands`; `None` means paused. `budget` is in bits
    /// per second. Audio is always sent. Then each video gets its lowest layer, and only then higher ones, as far as the budget lasts;
    /// what does not fit is paused. The sum exceeds the budget only
    /// - for layers that are already sent, or their lowest layers, while the budget is at least 90 % of it,
    /// - for audio,
    /// - by at most 50 kbit/s, for the lowest layer of the most important video.
    pub(crate) fn allocate(
        &mut self,
        now: Instant,
        budget: u64,
        demands: &[TrackDemand],
        layers: &mut Vec<Option<SimulcastLayer>>,
    ) {
        let sustained = self.sustained_budget(now, budget);
        self.run_pass(budget, sustained, demands, layers);
        self.adapt_dwell(now, demands, layers);
    }

    /// Writes what [`allocate`](Self::allocate) will choose once the budget has lasted long enough:
    /// what publishers must start to send now, so that it is available then.
    pub(crate) fn preview(
        &mut self,
        budget: u64,
        demands: &[TrackDemand],
        layers: &mut Vec<Option<SimulcastLayer>>,
    ) {
        self.run_pass(budget, budget, demands, layers);
    }

    fn run_pass(
        &mut self,
        budget: u64,
        sustained: u64,
        demands: &[TrackDemand],
        layers: &mut Vec<Option<SimulcastLayer>>,
    ) {
        let keep_limit_bps = budget as f64 / BUDGET_RATIO;
        let downgrade_limit_bps = budget as f64 * BUDGET_RATIO;
        let upgrade_limit_bps = sustained as f64 * BUDGET_RATIO;
        let mut pass = AllocationPass {
            demands,
            chosen: layers,
            spent_bps: 0,
            budget,
            keep_limit_bps,
            downgrade_limit_bps,
            upgrade_limit_bps,
        };
        pass.allocate_audio();
        self.video_order.clear();
        self.video_order
            .extend((0..demands.len()).filter(|n| demands.get(*n).is_some_and(|d| !d.is_audio())));
        self.video_order.sort_by_key(|n| demands.get(*n).map(TrackDemand::priority));
        pass.allocate_base_layers(&self.video_order);
        for layer in LAYERS {
            pass.upgrade_to(&self.video_order, layer);
        }
    }

    /// Lengthens the dwell time after an upgrade that did not last, and resets it after one that did.
    fn adapt_dwell(
        &mut self,
        now: Instant,
        demands: &[TrackDemand],
        chosen: &[Option<SimulcastLayer>],
    ) {
        let videos = || demands.iter().zip(chosen).filter(|(demand, _)| !demand.is_audio());
        let has_downgrade = videos().any(|(demand, chosen)| {
            demand.current_layer.is_some_and(|layer| demand.is_available(layer))
                && *chosen < demand.current_layer
        });
        let has_upgrade = videos().any(|(demand, chosen)| {
            demand.current_layer.is_some() && *chosen > demand.current_layer
        });
        let elapsed =
            self.last_upgrade.map(|upgraded_at| now.saturating_duration_since(upgraded_at));
        if has_downgrade && elapsed.is_some_and(|elapsed| elapsed < DOWNGRADE_PENALTY_PERIOD) {
            self.dwell = (self.dwell * 2).min(MAX_LAYER_DWELL);
            self.last_upgrade = None;
        } else if elapsed.is_some_and(|elapsed| elapsed >= DOWNGRADE_PENALTY_PERIOD) {
            self.dwell = MIN_LAYER_DWELL;
            self.last_upgrade = None;
        }
        if has_upgrade {
            self.last_upgrade = Some(now);
        }
    }

    /// The smallest budget of the dwell time.
    fn sustained_budget(&mut self, now: Instant, budget: u64) -> u64 {
        let mut since = now;
        while let Some((since_then, _)) =
            self.recent_minima.pop_back_if(|(_, earlier)| *earlier >= budget)
        {
            since = since_then;
        }
        self.recent_minima.push_back((since, budget));
        // The first one holds until the second one starts.
        let dwell = self.dwell;
        let is_over = |at: &Instant| now.saturating_duration_since(*at) >= dwell;
        while self.recent_minima.get(1).is_some_and(|(start, _)| is_over(start)) {
            self.recent_minima.pop_front();
        }
        self.recent_minima.front().map_or(budget, |(_, smallest)| *smallest)
    }
}

/// One run of the allocation over all demands.
struct AllocationPass<'a> {
    demands: &'a [TrackDemand],
    chosen: &'a mut Vec<Option<SimulcastLayer>>,
    spent_bps: u64,
    budget: u64,
    keep_limit_bps: f64,
    downgrade_limit_bps: f64,
    upgrade_limit_bps: f64,
}

impl AllocationPass<'_> {
    fn allocate_audio(&mut self) {
        self.chosen.clear();
        for demand in self.demands {
            let wanted = demand.is_audio() && demand.limit != LayerLimit::Off;
            let layer = wanted.then(|| demand.lowest().unwrap_or(SimulcastLayer::High));
            self.spent_bps += layer.map_or(0, |layer| demand.bps(layer));
            self.chosen.push(layer);
        }
    }

    fn allocate_base_layers(&mut self, order: &[usize]) {
        let mut is_first = true;
        for &track in order {
            let Some(demand) = self.demands.get(track) else { continue };
            let Some(lowest) = demand.lowest() else { continue };
            let is_acceptable =
                self.spent_bps + demand.bps(lowest) <= self.budget + MAX_OVERSHOOT_BPS;
            if !self.try_assign(track, lowest) && is_first && is_acceptable {
                self.assign(track, lowest);
            }
            is_first = false;
        }
    }

    fn upgrade_to(&mut self, order: &[usize], layer: SimulcastLayer) {
        for &track in order {
            let chosen = self.chosen.get(track).copied().flatten();
            let Some(demand) = self.demands.get(track) else { continue };
            if chosen.is_some_and(|chosen| chosen < layer) && demand.is_available(layer) {
                self.try_assign(track, layer);
            }
        }
    }

    /// Assigns a layer if it fits: without headroom for what is sent already, with headroom otherwise.
    fn try_assign(&mut self, track: usize, layer: SimulcastLayer) -> bool {
        let Some(demand) = self.demands.get(track) else { return false };
        let chosen = self.chosen.get(track).copied().flatten();
        let replaced = chosen.map_or(0, |chosen| demand.bps(chosen));
        let spent_bps = self.spent_bps - replaced + demand.bps(layer);
        let limit = match demand.current_layer {
            // A downgrade leaves headroom, so that another one does not follow at once; the lowest layer
            // needs none, because a congested picture is better than none.
            Some(current) if current > layer && demand.lowest() != Some(layer) => {
                self.downgrade_limit_bps
            }
            Some(current) if current >= layer => self.keep_limit_bps,
            _ => self.upgrade_limit_bps,
        };
        // A change that lowers the cost always fits.
        let fits = spent_bps as f64 <= limit || spent_bps < self.spent_bps;
        if fits {
            self.assign(track, layer);
        }
        fits
    }

    fn assign(&mut self, track: usize, layer: SimulcastLayer) {
        let (Some(demand), Some(chosen)) = (self.demands.get(track), self.chosen.get_mut(track))
        else {
            return;
        };
        self.spent_bps -= chosen.map_or(0, |chosen| demand.bps(chosen));
        self.spent_bps += demand.bps(layer);
        *chosen = Some(layer);
    }
}

#[cfg(test)]
#[path = "allocation_tests.rs"]
mod tests;
