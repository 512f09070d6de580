//! Stories of budgets that are divided.

use super::*;
use crate::virtual_time::{ms, start};
use proptest::prelude::*;

const RATES: [u64; 3] = [100_000, 300_000, 1_000_000];

fn camera() -> TrackDemand {
    TrackDemand {
        source: TrackSource::Camera,
        limit: LayerLimit::Most(SimulcastLayer::High),
        current: None,
        rates: RATES,
        speaker: None,
    }
}

fn microphone() -> TrackDemand {
    TrackDemand { source: TrackSource::Microphone, rates: [0, 0, 40_000], ..camera() }
}

fn divided(budget: u64, demands: &[TrackDemand]) -> Vec<Option<SimulcastLayer>> {
    let mut into = Vec::new();
    BitrateAllocator::default().allocate(start(), budget, demands, &mut into);
    into
}

const LOW: Option<SimulcastLayer> = Some(SimulcastLayer::Low);
const MEDIUM: Option<SimulcastLayer> = Some(SimulcastLayer::Medium);
const HIGH: Option<SimulcastLayer> = Some(SimulcastLayer::High);

#[test]
fn audio_is_allocated_regardless_of_budget() {
    assert_eq!(divided(10_000, &[camera(), microphone()]), [None, HIGH]);
    assert_eq!(divided(10_000, &[TrackDemand { limit: LayerLimit::Off, ..microphone() }]), [None]);
    assert_eq!(divided(10_000, &[TrackDemand { rates: [0; 3], ..microphone() }]), [HIGH]);
}

#[test]
fn base_layer_of_all_tracks_before_higher_layers() {
    assert_eq!(divided(400_000, &[camera(), camera(), camera()]), [LOW; 3]);
    assert_eq!(divided(600_000, &[camera(), camera(), camera()]), [MEDIUM, LOW, LOW]);
}

#[test]
fn active_speakers_are_upgraded_first_and_excess_is_paused() {
    let speaker = TrackDemand { speaker: Some(0), ..camera() };
    assert_eq!(divided(600_000, &[camera(), camera(), speaker]), [LOW, LOW, MEDIUM]);
    assert_eq!(divided(230_000, &[camera(), camera(), speaker]), [LOW, None, LOW]);
}

#[test]
fn screen_share_has_priority_over_cameras() {
    let screen = TrackDemand { source: TrackSource::Screen, rates: [0, 0, 800_000], ..camera() };
    let speaker = TrackDemand { speaker: Some(0), ..camera() };
    assert_eq!(divided(900_000, &[camera(), speaker, screen]), [None, None, HIGH]);
}

#[test]
fn layer_is_capped_by_demand_and_published_layers() {
    let small = TrackDemand { limit: LayerLimit::Most(SimulcastLayer::Low), ..camera() };
    let unseen = TrackDemand { limit: LayerLimit::Off, ..camera() };
    let uneven = TrackDemand { rates: [100_000, 0, 500_000], ..camera() };
    assert_eq!(divided(9_000_000, &[small, unseen, uneven]), [LOW, None, HIGH]);
    assert_eq!(divided(9_000_000, &[TrackDemand { rates: [0; 3], ..camera() }]), [None]);
}

#[test]
fn single_video_may_slightly_exceed_budget_as_last_resort() {
    assert_eq!(divided(50_000, &[camera(), camera()]), [LOW, None]);
    assert_eq!(divided(49_000, &[camera(), camera()]), [None, None]);
}

#[test]
fn layer_selection_has_hysteresis() {
    let has = |current| [TrackDemand { current, ..camera() }];
    assert_eq!(divided(310_000, &has(LOW)), [LOW], "no headroom");
    assert_eq!(divided(335_000, &has(LOW)), [MEDIUM]);
    assert_eq!(divided(275_000, &has(MEDIUM)), [MEDIUM], "it had it");
    assert_eq!(divided(265_000, &has(MEDIUM)), [LOW]);
}

#[test]
fn downgraded_layer_leaves_headroom() {
    let falling = TrackDemand { current: HIGH, ..camera() };
    assert_eq!(divided(310_000, &[falling]), [LOW], "medium would have to be taken back soon");
    assert_eq!(divided(340_000, &[falling]), [MEDIUM]);
    assert_eq!(divided(95_000, &[falling]), [LOW], "rather strained than paused");
}

#[test]
fn upgrade_waits_until_budget_is_stable() {
    let (begin, mut allocator, mut into) = (start(), BitrateAllocator::default(), Vec::new());
    let mut choose = |at: u64, budget, current| {
        let demands = [TrackDemand { current, ..camera() }];
        allocator.allocate(begin + ms(at), budget, &demands, &mut into);
        into[0]
    };
    assert_eq!(choose(0, 2_000_000, None), HIGH);
    assert_eq!(choose(1_000, 200_000, HIGH), LOW, "down at once");
    assert_eq!(choose(1_500, 2_000_000, LOW), LOW);
    assert_eq!(choose(2_000, 1_900_000, LOW), LOW);
    assert_eq!(choose(2_499, 2_000_000, LOW), LOW);
    assert_eq!(choose(2_500, 2_000_000, LOW), HIGH);
}

#[test]
fn reverted_upgrade_backs_off_before_retry() {
    let (begin, mut allocator, mut into) = (start(), BitrateAllocator::default(), Vec::new());
    let mut current = LOW;
    let mut changes = Vec::new();
    for tenth in 0..200 {
        // Whatever is more than the lowest layer fills the link within half a second.
        let full = changes.last().is_some_and(|(at, layer)| *layer == HIGH && tenth >= at + 5);
        let budget = if full || tenth == 0 { 200_000 } else { 2_000_000 };
        let demands = [TrackDemand { current, ..camera() }];
        allocator.allocate(begin + ms(tenth * 100), budget, &demands, &mut into);
        if into[0] != current {
            changes.push((tenth, into[0]));
        }
        current = into[0];
    }
    let rises: Vec<u64> = changes.iter().filter(|it| it.1 == HIGH).map(|it| it.0).collect();
    assert_eq!(rises, [11, 37, 83, 169]);
}

#[test]
fn foreseen_allocation_ignores_upgrade_delay() {
    let (begin, mut allocator, mut into) = (start(), BitrateAllocator::default(), Vec::new());
    let demands = [TrackDemand { current: LOW, ..camera() }];
    allocator.allocate(begin, 200_000, &demands, &mut into);
    allocator.allocate(begin + ms(100), 2_000_000, &demands, &mut into);
    assert_eq!(into, [LOW]);
    allocator.foresee(2_000_000, &demands, &mut into);
    assert_eq!(into, [HIGH]);
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
            limit: limit.map_or(LayerLimit::Off, LayerLimit::Most),
            current,
            rates,
            speaker,
        })
}

/// The decisions in the order in which they are made: lowest layers first, then each level.
fn decisions(demands: &[TrackDemand], chosen: &[Option<SimulcastLayer>]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..demands.len()).filter(|n| !demands[*n].is_audio()).collect();
    order.sort_by_key(|n| demands[*n].importance());
    let lowest = order.iter().map(|n| chosen[*n].is_some());
    let raised = LAYERS.iter().flat_map(|layer| order.iter().map(|n| chosen[*n] >= Some(*layer)));
    lowest.chain(raised).collect()
}

proptest! {
    /// Whoever finds room for what is needed is given everything.
    #[test]
    fn needed_bitrate_suffices_for_full_demand(rates in prop::collection::vec((0u64..200, 0u64..500, 1u64..2_000), 1..6)) {
        let picture = |(low, medium, high): &(u64, u64, u64)| {
            TrackDemand { rates: [low * 1_000, medium * 1_000, high * 1_000], current: LOW, ..camera() }
        };
        let demands: Vec<_> = rates.iter().map(picture).collect();
        let lacking = vec![LOW; demands.len()];
        let everything = vec![HIGH; demands.len()];
        let budget = needed(&demands, &lacking);
        let given = divided(budget, &demands);
        prop_assert_eq!(&given, &everything);
        prop_assert!(needed(&demands, &given) < budget, "nothing is looked for in vain");
    }

    #[test]
    fn allocation_respects_demand_and_budget(
        demands in prop::collection::vec(demand(), 0..12),
        budget in 0u64..6_000_000,
    ) {
        let chosen = divided(budget, &demands);
        let mut sum = 0;
        let mut pictures = 0;
        for (demand, layer) in demands.iter().zip(&chosen) {
            let Some(layer) = layer else { continue };
            prop_assert!(demand.limit >= LayerLimit::Most(*layer));
            if !demand.is_audio() {
                pictures += 1;
                prop_assert!(demand.rate(*layer) > 0);
            }
            sum += demand.rate(*layer);
        }
        let sound: u64 = demands.iter().zip(&chosen).filter(|(d, _)| d.is_audio())
            .filter_map(|(d, layer)| layer.map(|layer| d.rate(layer))).sum();
        let resort = if pictures <= 1 { LAST_RESORT } else { 0 };
        let most = (budget as f64 / BUDGET_RATIO).max((budget + resort) as f64);
        prop_assert!(sum as f64 <= most.max(sound as f64) + 1.0, "{sum} of {budget}");
    }

    #[test]
    fn new_allocations_keep_headroom_of_budget(
        demands in prop::collection::vec(demand(), 0..12),
        budget in 0u64..6_000_000,
    ) {
        let demands: Vec<_> = demands.into_iter().map(|d| TrackDemand { current: None, ..d }).collect();
        let chosen = divided(budget, &demands);
        let costs = |audio: bool| -> Vec<u64> {
            demands.iter().zip(&chosen).filter(|(d, _)| d.is_audio() == audio)
                .filter_map(|(d, layer)| layer.map(|layer| d.rate(layer))).collect()
        };
        let (sound, pictures) = (costs(true).iter().sum::<u64>(), costs(false));
        if pictures.len() > 1 {
            prop_assert!((sound + pictures.iter().sum::<u64>()) as f64 <= budget as f64 * BUDGET_RATIO + 1.0);
        }
    }

    /// With more budget, the first decision that differs is one to send more.
    #[test]
    fn larger_budget_never_worsens_higher_priority_tracks(
        demands in prop::collection::vec(demand(), 0..12),
        budget in 0u64..6_000_000,
        more in 0u64..3_000_000,
    ) {
        let demands: Vec<_> = demands.into_iter().map(|mut d| {
            d.current = None;
            d.rates.sort_unstable();
            d
        }).collect();
        let (small, big) = (divided(budget, &demands), divided(budget + more, &demands));
        prop_assert!(decisions(&demands, &big) >= decisions(&demands, &small));
    }
}
