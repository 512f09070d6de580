//! Inter-arrival deltas: packets sent within a few milliseconds form a group, and the change of the distance
//! between groups measures the queuing delay (draft-ietf-rmcat-gcc-02 §5.1, §5.2).

use std::time::{Duration, Instant};

use crate::limits::MAX_BURST_DURATION;
use crate::twcc::PacketResult;

/// Packets sent within this time form a group.
const BURST_DELTA_THRESHOLD: Duration = Duration::from_millis(5);
/// Packets that arrive this close together, closer than they were sent, were queued together on the path and
/// belong to one group.
const BURST_MAX_GAP: Duration = Duration::from_millis(5);
/// Two groups that are this much further apart at the receiver than at the sender indicate a clock jump.
const CLOCK_JUMP_MS: f64 = 3_000.0;

/// Packets that are treated as one for delay measurement.
#[derive(Clone, Copy, Debug)]
struct PacketGroup {
    first_sent: Instant,
    last_sent: Instant,
    first_arrival: Duration,
    last_arrival: Duration,
}

/// Comparison of two consecutive groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DelayDelta {
    /// Time between the sending of the groups, in ms.
    pub(super) sent_ms: f64,
    /// Time between the arrival of the groups, in ms.
    pub(super) arrival_ms: f64,
    /// Arrival of the later group, by the receiver's clock.
    pub(super) arrival: Duration,
}

/// Groups packets and computes deltas between groups.
#[derive(Debug, Default)]
pub(super) struct InterArrivalDelta {
    previous: Option<PacketGroup>,
    current: Option<PacketGroup>,
}

impl InterArrivalDelta {
    /// Records a packet in arrival order; returns a delta if it starts a new group.
    pub(super) fn on_packet(&mut self, packet: &PacketResult) -> Option<DelayDelta> {
        let arrived = packet.arrived_at?;
        let new_group = PacketGroup {
            first_sent: packet.sent_at,
            last_sent: packet.sent_at,
            first_arrival: arrived,
            last_arrival: arrived,
        };
        let Some(current) = self.current.as_mut() else {
            self.current = Some(new_group);
            return None;
        };
        if packet.sent_at < current.first_sent || current.has_later_arrival(arrived) {
            // A packet of an earlier group, or one that was reported late: reordered.
            return None;
        }
        if current.includes(packet.sent_at, arrived) {
            current.last_sent = current.last_sent.max(packet.sent_at);
            current.last_arrival = current.last_arrival.max(arrived);
            return None;
        }
        let complete = *current;
        self.current = Some(new_group);
        let delta = self.previous.replace(complete).map(|previous| complete.delta_to(&previous))?;
        if (delta.arrival_ms - delta.sent_ms).abs() > CLOCK_JUMP_MS || delta.arrival_ms < 0.0 {
            *self = Self { previous: None, current: Some(new_group) };
            return None;
        }
        Some(delta)
    }
}

impl PacketGroup {
    fn includes(&self, sent: Instant, arrived: Duration) -> bool {
        if sent.saturating_duration_since(self.first_sent) <= BURST_DELTA_THRESHOLD {
            return true;
        }
        let gap = arrived.saturating_sub(self.last_arrival);
        let is_compressed = gap < sent.saturating_duration_since(self.last_sent);
        let is_close = gap <= BURST_MAX_GAP && arrived >= self.last_arrival;
        is_close && is_compressed && arrived.saturating_sub(self.first_arrival) < MAX_BURST_DURATION
    }

    /// Whether a packet of this group arrived after this time, unless the clock jumped.
    fn has_later_arrival(&self, arrived: Duration) -> bool {
        let lateness_ms = millis(self.last_arrival.saturating_sub(arrived));
        lateness_ms > 0.0 && lateness_ms < CLOCK_JUMP_MS
    }

    fn delta_to(&self, previous: &Self) -> DelayDelta {
        DelayDelta {
            sent_ms: millis(self.last_sent.saturating_duration_since(previous.last_sent)),
            arrival_ms: millis(self.last_arrival) - millis(previous.last_arrival),
            arrival: self.last_arrival,
        }
    }
}

/// A duration in milliseconds.
pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::{ms, start};

    fn packet(epoch: Instant, sent: u64, arrived: u64) -> PacketResult {
        PacketResult {
            index: 0,
            sent_at: epoch + ms(sent),
            bytes: 1,
            arrived_at: Some(ms(arrived)),
        }
    }

    #[test]
    fn group_delta_is_emitted_when_next_group_begins() {
        let (epoch, mut groups) = (start(), InterArrivalDelta::default());
        let mut deltas = [(0, 50), (4, 51), (20, 80), (22, 81), (40, 101)]
            .map(|(sent, arrived)| groups.on_packet(&packet(epoch, sent, arrived)));
        assert_eq!(
            deltas[4].take(),
            Some(DelayDelta { sent_ms: 18.0, arrival_ms: 30.0, arrival: ms(81) })
        );
        assert!(deltas.iter().all(Option::is_none));
    }

    #[test]
    fn burst_arrivals_form_one_group() {
        let (epoch, mut groups) = (start(), InterArrivalDelta::default());
        for (sent, arrived) in [(0, 50), (20, 120), (40, 121), (60, 122)] {
            groups.on_packet(&packet(epoch, sent, arrived));
        }
        let delta = groups.on_packet(&packet(epoch, 80, 142)).unwrap();
        assert_eq!((delta.sent_ms, delta.arrival_ms), (60.0, 72.0));
    }

    #[test]
    fn clock_jump_yields_no_negative_arrival_delta() {
        let (epoch, mut groups) = (start(), InterArrivalDelta::default());
        for (sent, arrived) in [(0, 50_000), (20, 50_020), (40, 10), (60, 30)] {
            assert_eq!(
                groups.on_packet(&packet(epoch, sent, arrived)).filter(|s| s.arrival_ms < 0.0),
                None
            );
        }
    }
}
