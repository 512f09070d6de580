//! Packets sent within a few milliseconds are one group; what counts is how the distance between
//! groups changes on the way (draft-ietf-rmcat-gcc-02 §5.1, §5.2).

use std::time::{Duration, Instant};

use crate::twcc::PacketResult;

/// Packets that were sent within this time belong together.
const BURST_DELTA_THRESHOLD: Duration = Duration::from_millis(5);
/// Packets that come as close as this one after the other, sooner than they were sent, were held up
/// together on the way and tell nothing alone.
const BURST: Duration = Duration::from_millis(5);
/// A burst ends after this time at the latest.
const MAX_BURST_DURATION: Duration = Duration::from_millis(100);
/// The receiver's clock jumped if two groups seem to be so much further apart than they were sent.
const CLOCK_JUMP_MS: f64 = 3_000.0;

#[derive(Clone, Copy, Debug)]
struct PacketGroup {
    first_sent: Instant,
    last_sent: Instant,
    first_arrived: Duration,
    last_arrived: Duration,
}

/// How two groups that follow each other compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DelayDelta {
    /// Between the sendings, in ms.
    pub(super) sent: f64,
    /// Between the arrivals, in ms.
    pub(super) arrived: f64,
    /// When the later group had come, by the receiver's clock.
    pub(super) at: Duration,
}

#[derive(Debug, Default)]
pub(super) struct InterArrivalDelta {
    before: Option<PacketGroup>,
    current: Option<PacketGroup>,
}

impl InterArrivalDelta {
    /// A packet came; gives a step when it is the first of a new group.
    pub(super) fn arrived(&mut self, packet: &PacketResult) -> Option<DelayDelta> {
        let arrived = packet.arrived?;
        let begun = PacketGroup {
            first_sent: packet.sent,
            last_sent: packet.sent,
            first_arrived: arrived,
            last_arrived: arrived,
        };
        let Some(current) = self.current.as_mut() else {
            self.current = Some(begun);
            return None;
        };
        if packet.sent < current.first_sent || current.saw_later(arrived) {
            // A packet of an earlier group, or one that was told of late: out of order.
            return None;
        }
        if current.takes(packet.sent, arrived) {
            current.last_sent = current.last_sent.max(packet.sent);
            current.last_arrived = current.last_arrived.max(arrived);
            return None;
        }
        let complete = *current;
        self.current = Some(begun);
        let step = self.before.replace(complete).map(|before| complete.since(&before))?;
        if (step.arrived - step.sent).abs() > CLOCK_JUMP_MS || step.arrived < 0.0 {
            *self = Self { before: None, current: Some(begun) };
            return None;
        }
        Some(step)
    }
}

impl PacketGroup {
    fn takes(&self, sent: Instant, arrived: Duration) -> bool {
        if sent.saturating_duration_since(self.first_sent) <= BURST_DELTA_THRESHOLD {
            return true;
        }
        let apart = arrived.saturating_sub(self.last_arrived);
        let sooner = apart < sent.saturating_duration_since(self.last_sent);
        let soon = apart <= BURST && arrived >= self.last_arrived;
        soon && sooner && arrived.saturating_sub(self.first_arrived) < MAX_BURST_DURATION
    }

    /// Whether a packet of this group came after this time, by a clock that did not jump.
    fn saw_later(&self, arrived: Duration) -> bool {
        let before = millis(self.last_arrived.saturating_sub(arrived));
        before > 0.0 && before < CLOCK_JUMP_MS
    }

    fn since(&self, before: &Self) -> DelayDelta {
        DelayDelta {
            sent: millis(self.last_sent.saturating_duration_since(before.last_sent)),
            arrived: millis(self.last_arrived) - millis(before.last_arrived),
            at: self.last_arrived,
        }
    }
}

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::{ms, start};

    fn packet(begin: Instant, sent: u64, arrived: u64) -> PacketResult {
        PacketResult { index: 0, sent: begin + ms(sent), bytes: 1, arrived: Some(ms(arrived)) }
    }

    #[test]
    fn group_delta_is_emitted_when_next_group_begins() {
        let (begin, mut groups) = (start(), InterArrivalDelta::default());
        let mut steps = [(0, 50), (4, 51), (20, 80), (22, 81), (40, 101)]
            .map(|(sent, arrived)| groups.arrived(&packet(begin, sent, arrived)));
        assert_eq!(steps[4].take(), Some(DelayDelta { sent: 18.0, arrived: 30.0, at: ms(81) }));
        assert!(steps.iter().all(Option::is_none));
    }

    #[test]
    fn burst_arrivals_form_one_group() {
        let (begin, mut groups) = (start(), InterArrivalDelta::default());
        for (sent, arrived) in [(0, 50), (20, 120), (40, 121), (60, 122)] {
            groups.arrived(&packet(begin, sent, arrived));
        }
        let step = groups.arrived(&packet(begin, 80, 142)).unwrap();
        assert_eq!((step.sent, step.arrived), (60.0, 72.0));
    }

    #[test]
    fn clock_jump_yields_no_negative_arrival_delta() {
        let (begin, mut groups) = (start(), InterArrivalDelta::default());
        for (sent, arrived) in [(0, 50_000), (20, 50_020), (40, 10), (60, 30)] {
            assert_eq!(
                groups.arrived(&packet(begin, sent, arrived)).filter(|s| s.arrived < 0.0),
                None
            );
        }
    }
}
