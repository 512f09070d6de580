//! NACK tracker: which packets of a stream to request again (RFC 4585 §6.2.1), and when to give up.

use std::time::{Duration, Instant};

use crate::limits::{
    MAX_NACK_AGE, MAX_NACK_ATTEMPTS, MAX_NACK_INTERVAL, MAX_OUTSTANDING_NACKS, MIN_NACK_INTERVAL,
};

/// How long a packet may be reordered before it is requested.
const REORDER_TOLERANCE: Duration = Duration::from_millis(10);

/// A gap of one packet and its requests.
#[derive(Clone, Copy, Debug)]
struct MissingPacket {
    index: u64,
    since: Instant,
    retry_at: Instant,
    attempts: u8,
}

/// The missing packets of one stream, identified by their extended sequence numbers.
#[derive(Debug, Default)]
pub(crate) struct NackTracker {
    highest: Option<u64>,
    /// Sorted by index, lowest first.
    missing: Vec<MissingPacket>,
    abandoned: u32,
}

impl NackTracker {
    /// Records a packet of the stream itself. True if it is new, false if it is a duplicate.
    pub(crate) fn on_packet(&mut self, now: Instant, index: u64) -> bool {
        let Some(highest) = self.highest else {
            self.highest = Some(index);
            return true;
        };
        if index <= highest {
            return self.remove(index);
        }
        self.highest = Some(index);
        let gap = highest + 1..index;
        let size = usize::try_from(index - highest - 1).unwrap_or(usize::MAX);
        if size > MAX_OUTSTANDING_NACKS - self.missing.len() {
            // The stream was interrupted or restarted: only a key frame helps.
            self.abandon_before(index);
            self.abandoned = self.abandoned.max(1);
            return true;
        }
        let next = now + REORDER_TOLERANCE;
        self.missing.extend(gap.map(|index| MissingPacket {
            index,
            since: now,
            retry_at: next,
            attempts: 0,
        }));
        true
    }

    /// Records a retransmitted packet (RFC 4588). True if it was missing; otherwise it is a duplicate, or
    /// padding made of an old packet.
    pub(crate) fn on_retransmission(&mut self, index: u64) -> bool {
        self.remove(index)
    }

    /// Forgets the packets missing before this one, because a key frame starts with it.
    pub(crate) fn discard_before(&mut self, index: u64) {
        self.missing.retain(|packet| packet.index >= index);
    }

    /// Appends the sequence numbers to request now, lowest first.
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        round_trip: Duration,
        sequences: &mut Vec<u16>,
    ) {
        let interval = round_trip.mul_f64(1.1).clamp(MIN_NACK_INTERVAL, MAX_NACK_INTERVAL);
        let previous_count = self.missing.len();
        self.missing.retain_mut(|packet| {
            if now.saturating_duration_since(packet.since) >= MAX_NACK_AGE {
                return false;
            }
            if packet.retry_at > now {
                return true;
            }
            if packet.attempts == MAX_NACK_ATTEMPTS {
                return false;
            }
            packet.attempts += 1;
            packet.retry_at = now + interval;
            sequences.push(packet.index as u16);
            true
        });
        let abandoned = previous_count - self.missing.len();
        self.abandoned =
            self.abandoned.saturating_add(u32::try_from(abandoned).unwrap_or(u32::MAX));
    }

    /// When the next request is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.missing.iter().map(|packet| packet.retry_at.min(packet.since + MAX_NACK_AGE)).min()
    }

    /// Number of packets abandoned since the last call; if any, the video needs a key frame.
    pub(crate) fn take_abandoned(&mut self) -> u32 {
        std::mem::take(&mut self.abandoned)
    }

    fn remove(&mut self, index: u64) -> bool {
        match self.missing.binary_search_by_key(&index, |packet| packet.index) {
            Ok(position) => {
                self.missing.remove(position);
                true
            }
            Err(_) => false,
        }
    }

    fn abandon_before(&mut self, index: u64) {
        let previous_count = self.missing.len();
        self.discard_before(index);
        let abandoned = previous_count - self.missing.len();
        self.abandoned =
            self.abandoned.saturating_add(u32::try_from(abandoned).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::virtual_time::{ms, start};

    fn due(tracker: &mut NackTracker, now: Instant) -> Vec<u16> {
        let mut sequences = Vec::new();
        tracker.take_due(now, ms(100), &mut sequences);
        sequences
    }

    #[test]
    fn nack_is_sent_after_delay_and_repeated_after_rtt() {
        let (now, mut tracker) = (start(), NackTracker::default());
        tracker.on_packet(now, 65_534);
        tracker.on_packet(now, 65_537);
        assert_eq!(due(&mut tracker, now), [] as [u16; 0], "it may be reordered");
        assert_eq!(tracker.next_due(), Some(now + ms(10)));

        assert_eq!(due(&mut tracker, now + ms(10)), [65_535, 0]);
        assert_eq!(due(&mut tracker, now + ms(119)), [] as [u16; 0]);
        assert_eq!(due(&mut tracker, now + ms(120)), [65_535, 0]);
    }

    #[test]
    fn late_or_retransmitted_packet_is_not_nacked_again() {
        let (now, mut tracker) = (start(), NackTracker::default());
        tracker.on_packet(now, 1);
        tracker.on_packet(now, 5);
        assert!(tracker.on_packet(now, 2));
        assert_eq!(due(&mut tracker, now + ms(10)), [3, 4]);
        assert!(tracker.on_retransmission(3));
        assert!(!tracker.on_retransmission(3), "it is no longer missing");
        assert!(!tracker.on_packet(now, 3), "the original arrived later: a duplicate");

        assert_eq!(due(&mut tracker, now + ms(500)), [4]);
        assert_eq!(tracker.take_abandoned(), 0);
    }

    #[test]
    fn nack_stops_after_ten_retries_or_timeout() {
        let (epoch, mut tracker) = (start(), NackTracker::default());
        tracker.on_packet(epoch, 1);
        tracker.on_packet(epoch, 3);
        let mut requested = 0;
        for step in 0..200 {
            requested += due(&mut tracker, epoch + ms(step * 10)).len();
        }
        assert_eq!((requested, tracker.take_abandoned(), tracker.next_due()), (10, 1, None));

        let mut tracker = NackTracker::default();
        tracker.on_packet(epoch, 1);
        tracker.on_packet(epoch, 3);
        assert_eq!(due(&mut tracker, epoch + ms(1_500)), [] as [u16; 0]);
        assert_eq!(tracker.take_abandoned(), 1);
    }

    #[test]
    fn key_frame_clears_earlier_missing_packets() {
        let (now, mut tracker) = (start(), NackTracker::default());
        tracker.on_packet(now, 1);
        tracker.on_packet(now, 5);
        tracker.on_packet(now, 7);
        tracker.discard_before(5);

        assert_eq!(due(&mut tracker, now + ms(10)), [6]);
        assert_eq!(tracker.take_abandoned(), 0);
    }

    #[test]
    fn large_sequence_gap_resets_nack_tracker() {
        let (now, mut tracker) = (start(), NackTracker::default());
        tracker.on_packet(now, 1);
        tracker.on_packet(now, 1_000_000_000);

        assert_eq!((due(&mut tracker, now + ms(10)).len(), tracker.take_abandoned()), (0, 1));
    }

    proptest! {
        #[test]
        fn nack_lists_exactly_the_missing_packets(
            order in Just((0u64..200).collect::<Vec<_>>()).prop_shuffle(),
            came in prop::collection::vec(any::<bool>(), 200),
        ) {
            let (now, mut tracker) = (start(), NackTracker::default());
            tracker.on_packet(now, 0);
            for index in order.into_iter().filter(|index| came[*index as usize]) {
                tracker.on_packet(now, index);
            }
            let last = (0..200).rev().find(|n| came[*n]).unwrap_or(0);
            let expected: Vec<u16> = (1..last).filter(|n| !came[*n]).map(|n| n as u16).collect();
            prop_assert_eq!(due(&mut tracker, now + ms(10)), expected);
        }
    }
}
