//! Divides what a downlink carries among the tracks that one subscriber receives.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::api::{LayerLimit, SimulcastLayer, TrackSource};

const LAYERS: [SimulcastLayer; 3] =
    [SimulcastLayer::Low, SimulcastLayer::Medium, SimulcastLayer::High];
/// This share of the budget may be given to what is not sent yet; and what is sent already stays
/// until the budget is below this share of its cost. Between the two, nothing changes.
const BUDGET_RATIO: f64 = 0.9;
/// More is sent only if the budget was enough for it for this time; longer, up to a limit, if what was
/// given had to be taken back soon.
const MIN_LAYER_DWELL: Duration = Duration::from_millis(1_000);
const MAX_LAYER_DWELL: Duration = Duration::from_secs(16);
const SOON: Duration = Duration::from_secs(10);
/// The most important picture may exceed the budget by so many bits per second in its lowest layer:
/// better a strained picture than none.
const LAST_RESORT: u64 = 50_000;

/// What a subscriber wants of one track, and what that costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrackDemand {
    /// What it shows or plays.
    pub(crate) source: TrackSource,
    /// The most that is wanted.
    pub(crate) limit: LayerLimit,
    /// What is sent at present.
    pub(crate) current: Option<SimulcastLayer>,
    /// Bits per second of each layer, lowest first; 0 if there is no such layer. For one that the
    /// publisher has stopped because nobody wanted it, what it is expected to cost.
    pub(crate) rates: [u64; 3],
    /// The place of its owner among those who speak, 0 the loudest; `None` if silent.
    pub(crate) speaker: Option<u32>,
}

impl TrackDemand {
    fn is_audio(&self) -> bool {
        matches!(self.source, TrackSource::Microphone | TrackSource::ScreenAudio)
    }

    fn rate(&self, layer: SimulcastLayer) -> u64 {
        match (self.rates, layer) {
            ([low, ..], SimulcastLayer::Low) => low,
            ([_, medium, _], SimulcastLayer::Medium) => medium,
            ([.., high], SimulcastLayer::High) => high,
        }
    }

    fn may_have(&self, layer: SimulcastLayer) -> bool {
        self.limit >= LayerLimit::Most(layer) && self.rate(layer) > 0
    }

    fn highest(&self) -> Option<SimulcastLayer> {
        LAYERS.into_iter().rfind(|layer| self.may_have(*layer))
    }

    fn lowest(&self) -> Option<SimulcastLayer> {
        LAYERS.into_iter().find(|layer| self.may_have(*layer))
    }

    /// Screens before cameras, speakers before others, what is seen large before what is small.
    fn importance(&self) -> (bool, u32, Reverse<LayerLimit>) {
        let camera = self.source != TrackSource::Screen;
        (camera, self.speaker.unwrap_or(u32::MAX), Reverse(self.limit))
    }
}

/// With which budget everything is sent that is wanted: what it costs, if that is chosen already, and
/// else as much as it takes to choose it.
pub(crate) fn needed(demands: &[TrackDemand], chosen: &[Option<SimulcastLayer>]) -> u64 {
    let cost = |demand: &TrackDemand| {
        let had = LAYERS.into_iter().filter(|layer| demand.may_have(*layer));
        had.map(|layer| demand.rate(layer)).max().unwrap_or(0)
    };
    let costs: u64 = demands.iter().map(cost).sum();
    let is_whole = |(demand, chosen): (&TrackDemand, &Option<SimulcastLayer>)| {
        demand.is_audio() || *chosen == demand.highest()
    };
    let whole = demands.iter().zip(chosen).all(is_whole);
    if whole { costs } else { (costs as f64 / BUDGET_RATIO).ceil() as u64 }
}

/// The division for one subscriber.
#[derive(Debug)]
pub(crate) struct BitrateAllocator {
    /// The pictures, most important first.
    order: Vec<usize>,
    /// The smallest budgets of the last `dwell`, each with when it began to hold and smaller than
    /// those behind it.
    budgets: VecDeque<(Instant, u64)>,
    dwell: Duration,
    /// When more was given last.
    raised: Option<Instant>,
}

impl Default for BitrateAllocator {
    fn default() -> Self {
        Self { order: Vec::new(), budgets: VecDeque::new(), dwell: MIN_LAYER_DWELL, raised: None }
    }
}

impl BitrateAllocator {
    /// Writes what to send of each track, in the order of `demands`; `None` is a pause. Sound is
    /// always sent. Then each picture gets its lowest layer, and only then any of them more, as far
    /// as the budget goes; what does not fit is paused. The sum is above the budget only
    /// - for what is sent already, or its lowest layer, while the budget is at least 90 % of it,
    /// - for sound,
    /// - by at most 50 kbit/s, for the lowest layer of the most important picture.
    pub(crate) fn allocate(
        &mut self,
        now: Instant,
        budget: u64,
        demands: &[TrackDemand],
        into: &mut Vec<Option<SimulcastLayer>>,
    ) {
        let steady = self.steady(now, budget);
        self.divide(budget, steady, demands, into);
        self.learn(now, demands, into);
    }

    /// Writes what [`allocate`](Self::allocate) will choose if nothing changes until it is believed
    /// that this budget lasts: what publishers must begin to send now, so that it is there then.
    pub(crate) fn foresee(
        &mut self,
        budget: u64,
        demands: &[TrackDemand],
        into: &mut Vec<Option<SimulcastLayer>>,
    ) {
        self.divide(budget, budget, demands, into);
    }

    fn divide(
        &mut self,
        budget: u64,
        steady: u64,
        demands: &[TrackDemand],
        into: &mut Vec<Option<SimulcastLayer>>,
    ) {
        let kept_within = budget as f64 / BUDGET_RATIO;
        let fallen_within = budget as f64 * BUDGET_RATIO;
        let raised_within = steady as f64 * BUDGET_RATIO;
        let mut division = AllocationPass {
            demands,
            chosen: into,
            spent: 0,
            budget,
            kept_within,
            fallen_within,
            raised_within,
        };
        division.keep_sound();
        self.order.clear();
        self.order
            .extend((0..demands.len()).filter(|n| demands.get(*n).is_some_and(|d| !d.is_audio())));
        self.order.sort_by_key(|n| demands.get(*n).map(TrackDemand::importance));
        division.give_lowest(&self.order);
        for layer in LAYERS {
            division.raise(&self.order, layer);
        }
    }

    /// Becomes more careful if what was given did not fit, and less when it does.
    fn learn(&mut self, now: Instant, demands: &[TrackDemand], chosen: &[Option<SimulcastLayer>]) {
        let pictures = || demands.iter().zip(chosen).filter(|(demand, _)| !demand.is_audio());
        let fell = pictures().any(|(demand, chosen)| {
            demand.current.is_some_and(|layer| demand.may_have(layer)) && *chosen < demand.current
        });
        let rose =
            pictures().any(|(demand, chosen)| demand.current.is_some() && *chosen > demand.current);
        let since = self.raised.map(|raised| now.saturating_duration_since(raised));
        if fell && since.is_some_and(|since| since < SOON) {
            self.dwell = (self.dwell * 2).min(MAX_LAYER_DWELL);
            self.raised = None;
        } else if since.is_some_and(|since| since >= SOON) {
            self.dwell = MIN_LAYER_DWELL;
            self.raised = None;
        }
        if rose {
            self.raised = Some(now);
        }
    }

    /// The smallest budget of late.
    fn steady(&mut self, now: Instant, budget: u64) -> u64 {
        let mut since = now;
        while let Some((began, _)) = self.budgets.pop_back_if(|(_, before)| *before >= budget) {
            since = began;
        }
        self.budgets.push_back((since, budget));
        // The first one holds until the second one began.
        let dwell = self.dwell;
        let over = |at: &Instant| now.saturating_duration_since(*at) >= dwell;
        while self.budgets.get(1).is_some_and(|(began, _)| over(began)) {
            self.budgets.pop_front();
        }
        self.budgets.front().map_or(budget, |(_, smallest)| *smallest)
    }
}

struct AllocationPass<'a> {
    demands: &'a [TrackDemand],
    chosen: &'a mut Vec<Option<SimulcastLayer>>,
    spent: u64,
    budget: u64,
    kept_within: f64,
    fallen_within: f64,
    raised_within: f64,
}

impl AllocationPass<'_> {
    fn keep_sound(&mut self) {
        self.chosen.clear();
        for demand in self.demands {
            let wanted = demand.is_audio() && demand.limit != LayerLimit::Off;
            let layer = wanted.then(|| demand.lowest().unwrap_or(SimulcastLayer::High));
            self.spent += layer.map_or(0, |layer| demand.rate(layer));
            self.chosen.push(layer);
        }
    }

    fn give_lowest(&mut self, order: &[usize]) {
        let mut first = true;
        for &track in order {
            let Some(demand) = self.demands.get(track) else { continue };
            let Some(lowest) = demand.lowest() else { continue };
            let strained = self.spent + demand.rate(lowest) <= self.budget + LAST_RESORT;
            if !self.choose(track, lowest) && first && strained {
                self.put(track, lowest);
            }
            first = false;
        }
    }

    fn raise(&mut self, order: &[usize], layer: SimulcastLayer) {
        for &track in order {
            let chosen = self.chosen.get(track).copied().flatten();
            let Some(demand) = self.demands.get(track) else { continue };
            if chosen.is_some_and(|chosen| chosen < layer) && demand.may_have(layer) {
                self.choose(track, layer);
            }
        }
    }

    /// Chooses a layer if it fits: easily for what is sent already, with headroom for anything else.
    fn choose(&mut self, track: usize, layer: SimulcastLayer) -> bool {
        let Some(demand) = self.demands.get(track) else { return false };
        let chosen = self.chosen.get(track).copied().flatten();
        let instead = chosen.map_or(0, |chosen| demand.rate(chosen));
        let spent = self.spent - instead + demand.rate(layer);
        let within = match demand.current {
            // Whoever falls is not to fall again in a moment, but rather strained than paused.
            Some(current) if current > layer && demand.lowest() != Some(layer) => {
                self.fallen_within
            }
            Some(current) if current >= layer => self.kept_within,
            _ => self.raised_within,
        };
        // Less than before always fits.
        let fits = spent as f64 <= within || spent < self.spent;
        if fits {
            self.put(track, layer);
        }
        fits
    }

    fn put(&mut self, track: usize, layer: SimulcastLayer) {
        let (Some(demand), Some(chosen)) = (self.demands.get(track), self.chosen.get_mut(track))
        else {
            return;
        };
        self.spent -= chosen.map_or(0, |chosen| demand.rate(chosen));
        self.spent += demand.rate(layer);
        *chosen = Some(layer);
    }
}

#[cfg(test)]
#[path = "allocation_tests.rs"]
mod tests;
