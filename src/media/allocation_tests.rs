//! Tests of budgets that are divided among demands.

use proptest::prelude::*;

use super::*;
use crate::virtual_time::{ms, start};

const RATES: [u64; 3] = [100_000, 300_000, 1_000_000];

fn camera() -> TrackDemand {
    TrackDemand {
        source: TrackSource::Camera,
        limit: LayerLimit::UpTo(SimulcastLayer::High),
        current_layer: None,
        layer_bps: RATES,
        speaker_rank: None,
    }
}

fn microphone() -> TrackDemand {
    TrackDemand { source: TrackSource::Microphone, layer_bps: [0, 0, 40_000], ..camera() }
}

fn allocate(budget: u64, demands: &[TrackDemand]) -> Vec<Option<SimulcastLayer>> {
    let mut layers = Vec::new();
    BitrateAllocator::default().allocate(start(), budget, demands, &mut layers);
    layers
}

const LOW: Option<SimulcastLayer> = Some(SimulcastLayer::Low);
const MEDIUM: Option<SimulcastLayer> = Some(SimulcastLayer::Medium);
const HIGH: Option<SimulcastLayer> = Some(SimulcastLayer::High);

#[test]
fn audio_is_allocated_regardless_of_budget() {
    assert_eq!(allocate(10_000, &[camera(), microphone()]), [None, HIGH]);
    assert_eq!(allocate(10_000, &[TrackDemand { limit: LayerLimit::Off, ..microphone() }]), [None]);
    assert_eq!(allocate(10_000, &[TrackDemand { layer_bps: [0; 3], ..microphone() }]), [HIGH]);
}

#[test]
fn base_layer_of_all_tracks_before_higher_layers() {
    assert_eq!(allocate(400_000, &[camera(), camera(), camera()]), [LOW; 3]);
    assert_eq!(allocate(600_000, &[camera(), camera(), camera()]), [MEDIUM, LOW, LOW]);
}

#[test]
fn active_speakers_are_upgraded_first_and_excess_is_paused() {
    let speaker = TrackDemand { speaker_rank: Some(0), ..camera() };
    assert_eq!(allocate(600_000, &[camera(), camera(), speaker]), [LOW, LOW, MEDIUM]);
    assert_eq!(allocate(230_000, &[camera(), camera(), speaker]), [LOW, None, LOW]);
}

#[test]
fn screen_share_has_priority_over_cameras() {
    let screen =
        TrackDemand { source: TrackSource::Screen, layer_bps: [0, 0, 800_000], ..camera() };
    let speaker = TrackDemand { speaker_rank: Some(0), ..camera() };
    assert_eq!(allocate(900_000, &[camera(), speaker, screen]), [None, None, HIGH]);
}

#[test]
fn layer_is_capped_by_demand_and_published_layers() {
    let small = TrackDemand { limit: LayerLimit::UpTo(SimulcastLayer::Low), ..camera() };
    let hidden = TrackDemand { limit: LayerLimit::Off, ..camera() };
    let uneven = TrackDemand { layer_bps: [100_000, 0, 500_000], ..camera() };
    assert_eq!(allocate(9_000_000, &[small, hidden, uneven]), [LOW, None, HIGH]);
    assert_eq!(allocate(9_000_000, &[TrackDemand { layer_bps: [0; 3], ..camera() }]), [None]);
}

#[test]
fn single_video_may_slightly_exceed_budget_as_last_resort() {
    assert_eq!(allocate(50_000, &[camera(), camera()]), [LOW, None]);
    assert_eq!(allocate(49_000, &[camera(), camera()]), [None, None]);
}

#[test]
fn layer_selection_has_hysteresis() {
    let has = |current| [TrackDemand { current_layer: current, ..camera() }];
    assert_eq!(allocate(310_000, &has(LOW)), [LOW], "an upgrade needs headroom");
    assert_eq!(allocate(335_000, &has(LOW)), [MEDIUM]);
    assert_eq!(allocate(275_000, &has(MEDIUM)), [MEDIUM], "the current layer is kept");
    assert_eq!(allocate(265_000, &has(MEDIUM)), [LOW]);
}

#[test]
fn downgraded_layer_leaves_headroom() {
    let downgraded = TrackDemand { current_layer: HIGH, ..camera() };
    assert_eq!(allocate(310_000, &[downgraded]), [LOW], "a downgrade leaves headroom");
    assert_eq!(allocate(340_000, &[downgraded]), [MEDIUM]);
    assert_eq!(allocate(95_000, &[downgraded]), [LOW], "the lowest layer may use up the budget");
}

#[test]
fn upgrade_waits_until_budget_is_stable() {
    let (epoch, mut allocator, mut layers) = (start(), BitrateAllocator::default(), Vec::new());
    let mut choose = |at: u64, budget, current| {
        let demands = [TrackDemand { current_layer: current, ..camera() }];
        allocator.allocate(epoch + ms(at), budget, &demands, &mut layers);
        layers[0]
    };
    assert_eq!(choose(0, 2_000_000, None), HIGH);
    assert_eq!(choose(1_000, 200_000, HIGH), LOW, "downgrades are immediate");
    assert_eq!(choose(1_500, 2_000_000, LOW), LOW);
    assert_eq!(choose(2_000, 1_900_000, LOW), LOW);
    assert_eq!(choose(2_499, 2_000_000, LOW), LOW);
    assert_eq!(choose(2_500, 2_000_000, LOW), HIGH);
}

#[test]
fn reverted_upgrade_backs_off_before_retry() {
    let (epoch, mut allocator, mut layers) = (start(), BitrateAllocator::default(), Vec::new());
    let mut current = LOW;
    let mut changes = Vec::new();
    for tick in 0..200 {
        // Every layer above the lowest congests the link within half a second.
        let full = changes.last().is_some_and(|(at, layer)| *layer == HIGH && tick >= at + 5);
        let budget = if full || tick == 0 { 200_000 } else { 2_000_000 };
        let demands = [TrackDemand { current_layer: current, ..camera() }];
        allocator.allocate(epoch + ms(tick * 100), budget, &demands, &mut layers);
        if layers[0] != current {
            changes.push((tick, layers[0]));
        }
        current = layers[0];
    }
    let upgrades: Vec<u64> = changes.iter().filter(|it| it.1 == HIGH).map(|it| it.0).collect();
    assert_eq!(upgrades, [11, 37, 83, 169]);
}

#[test]
fn foreseen_allocation_ignores_upgrade_delay() {
    let (epoch, mut allocator, mut layers) = (start(), BitrateAllocator::default(), Vec::new());
    let demands = [TrackDemand { current_layer: LOW, ..camera() }];
    allocator.allocate(epoch, 200_000, &demands, &mut layers);
    allocator.allocate(epoch + ms(100), 2_000_000, &demands, &mut layers);
    assert_eq!(layers, [LOW]);
    allocator.preview(2_000_000, &demands, &mut layers);
    assert_eq!(layers, [HIGH]);
}

fn demand() -> impl Strategy<Value = TrackDemand> {
    let layer = prop_oneof![
        Just(SimulcastLayer::Low),
        Just(SimulcastLayer::Medium),
        Just(SimulcastLayer::High)
    ];
    let source = prop_oneof![
        3 => Just(TrackSource::Camera), 1 => Just(TrackSource::Screen), 2 => Just(TrackSource::Microphone)
    ];
    (
        source,
        prop::option::of(layer.clone()),
        prop::option::of(layer),
        prop::array::uniform3(0u64..1_500_000),
        prop::option::of(0u32..4),
    )
        .prop_map(|(source, limit, current, rates, speaker)| TrackDemand {
            source,
            limit: limit.map_or(LayerLimit::Off, LayerLimit::UpTo),
            current_layer: current,
            layer_bps: rates,
            speaker_rank: speaker,
        })
}

/// The decisions in the order in which they are made: base layers first, then each higher layer.
fn decisions(demands: &[TrackDemand], chosen: &[Option<SimulcastLayer>]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..demands.len()).filter(|n| !demands[*n].is_audio()).collect();
    order.sort_by_key(|n| demands[*n].priority());
    let lowest = order.iter().map(|n| chosen[*n].is_some());
    let raised = LAYERS.iter().flat_map(|layer| order.iter().map(|n| chosen[*n] >= Some(*layer)));
    lowest.chain(raised).collect()
}

proptest! {
    /// The needed budget suffices for every demand.
    #[test]
    fn needed_bitrate_suffices_for_full_demand(rates in prop::collection::vec((0u64..200, 0u64..500, 1u64..2_000), 1..6)) {
        let video = |(low, medium, high): &(u64, u64, u64)| {
            TrackDemand { layer_bps: [low * 1_000, medium * 1_000, high * 1_000], current_layer: LOW, ..camera() }
        };
        let demands: Vec<_> = rates.iter().map(video).collect();
        let base_only = vec![LOW; demands.len()];
        let full = vec![HIGH; demands.len()];
        let budget = needed_bps(&demands, &base_only);
        let allocated = allocate(budget, &demands);
        prop_assert_eq!(&allocated, &full);
        prop_assert!(needed_bps(&demands, &allocated) < budget, "no more is needed than allocated tracks cost");
    }

    #[test]
    fn allocation_respects_demand_and_budget(
        demands in prop::collection::vec(demand(), 0..12),
        budget in 0u64..6_000_000,
    ) {
        let chosen = allocate(budget, &demands);
        let mut sum = 0;
        let mut videos = 0;
        for (demand, layer) in demands.iter().zip(&chosen) {
            let Some(layer) = layer else { continue };
            prop_assert!(demand.limit >= LayerLimit::UpTo(*layer));
            if !demand.is_audio() {
                videos += 1;
                prop_assert!(demand.bps(*layer) > 0);
            }
            sum += demand.bps(*layer);
        }
        let audio: u64 = demands.iter().zip(&chosen).filter(|(d, _)| d.is_audio())
            .filter_map(|(d, layer)| layer.map(|layer| d.bps(layer))).sum();
        let overshoot = if videos <= 1 { MAX_OVERSHOOT_BPS } else { 0 };
        let max = (budget as f64 / BUDGET_RATIO).max((budget + overshoot) as f64);
        prop_assert!(sum as f64 <= max.max(audio as f64) + 1.0, "{sum} of {budget}");
    }

    #[test]
    fn new_allocations_keep_headroom_of_budget(
        demands in prop::collection::vec(demand(), 0..12),
        budget in 0u64..6_000_000,
    ) {
        let demands: Vec<_> = demands.into_iter().map(|d| TrackDemand { current_layer: None, ..d }).collect();
        let chosen = allocate(budget, &demands);
        let costs = |audio: bool| -> Vec<u64> {
            demands.iter().zip(&chosen).filter(|(d, _)| d.is_audio() == audio)
                .filter_map(|(d, layer)| layer.map(|layer| d.bps(layer))).collect()
        };
        let (audio, videos) = (costs(true).iter().sum::<u64>(), costs(false));
        if videos.len() > 1 {
            prop_assert!((audio + videos.iter().sum::<u64>()) as f64 <= budget as f64 * BUDGET_RATIO + 1.0);
        }
    }

    /// With a larger budget, the first decision that differs is an upgrade.
    #[test]
    fn larger_budget_never_worsens_higher_priority_tracks(
        demands in prop::collection::vec(demand(), 0..12),
        budget in 0u64..6_000_000,
        more in 0u64..3_000_000,
    ) {
        let demands: Vec<_> = demands.into_iter().map(|mut d| {
            d.current_layer = None;
            d.layer_bps.sort_unstable();
            d
        }).collect();
        let (small, big) = (allocate(budget, &demands), allocate(budget + more, &demands));
        prop_assert!(decisions(&demands, &big) >= decisions(&demands, &small));
    }
}
