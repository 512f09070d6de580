//! Which packets of a stream to ask for again (RFC 4585 §6.2.1), and when to give up.

use std::time::{Duration, Instant};

/// A packet may overtake others by so much before they are asked for.
const REORDER_TOLERANCE: Duration = Duration::from_millis(10);
/// Bounds of the time between two requests for the same packet.
const MIN_NACK_INTERVAL: Duration = Duration::from_millis(20);
const MAX_NACK_INTERVAL: Duration = Duration::from_millis(250);
/// How often one packet is asked for.
const MAX_NACK_ATTEMPTS: u8 = 10;
/// A picture that comes later than this helps nobody.
const MAX_NACK_AGE: Duration = Duration::from_millis(1_500);
/// How many packets may be missing; a bigger hole is not repaired but jumped over.
const MAX_OUTSTANDING_NACKS: usize = 256;

#[derive(Clone, Copy, Debug)]
struct MissingPacket {
    index: u64,
    since: Instant,
    next: Instant,
    tries: u8,
}

/// The holes in one stream. A packet is named by its extended sequence number.
#[derive(Debug, Default)]
pub(crate) struct NackTracker {
    highest: Option<u64>,
    /// By index, lowest first.
    absent: Vec<MissingPacket>,
    given_up: u32,
}

impl NackTracker {
    /// A packet came on the stream itself. True if it is new; false if it came before.
    pub(crate) fn received(&mut self, now: Instant, index: u64) -> bool {
        let Some(highest) = self.highest else {
            self.highest = Some(index);
            return true;
        };
        if index <= highest {
            return self.remove(index);
        }
        self.highest = Some(index);
        let hole = highest + 1..index;
        let size = usize::try_from(index - highest - 1).unwrap_or(usize::MAX);
        if size > MAX_OUTSTANDING_NACKS - self.absent.len() {
            // The stream stood still or starts anew: only a key frame helps.
            self.give_up_before(index);
            self.given_up = self.given_up.max(1);
            return true;
        }
        let next = now + REORDER_TOLERANCE;
        self.absent.extend(hole.map(|index| MissingPacket { index, since: now, next, tries: 0 }));
        true
    }

    /// A packet came as a retransmission (RFC 4588). True if it was missing; otherwise it is a
    /// repetition, or padding made of an old packet.
    pub(crate) fn repaired(&mut self, index: u64) -> bool {
        self.remove(index)
    }

    /// A key frame begins with this packet: nobody needs what is missing before it.
    pub(crate) fn key_frame(&mut self, index: u64) {
        self.absent.retain(|absent| absent.index >= index);
    }

    /// Appends the sequence numbers to ask for now, lowest first.
    pub(crate) fn due(&mut self, now: Instant, round_trip: Duration, into: &mut Vec<u16>) {
        let wait = round_trip.mul_f64(1.1).clamp(MIN_NACK_INTERVAL, MAX_NACK_INTERVAL);
        let before = self.absent.len();
        self.absent.retain_mut(|absent| {
            if now.saturating_duration_since(absent.since) >= MAX_NACK_AGE {
                return false;
            }
            if absent.next > now {
                return true;
            }
            if absent.tries == MAX_NACK_ATTEMPTS {
                return false;
            }
            absent.tries += 1;
            absent.next = now + wait;
            into.push(absent.index as u16);
            true
        });
        let lost = before - self.absent.len();
        self.given_up = self.given_up.saturating_add(u32::try_from(lost).unwrap_or(u32::MAX));
    }

    /// When to ask the next time.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.absent.iter().map(|absent| absent.next.min(absent.since + MAX_NACK_AGE)).min()
    }

    /// How many packets were given up since this was asked last: if any, the pictures need a key
    /// frame.
    pub(crate) fn take_given_up(&mut self) -> u32 {
        std::mem::take(&mut self.given_up)
    }

    fn remove(&mut self, index: u64) -> bool {
        match self.absent.binary_search_by_key(&index, |absent| absent.index) {
            Ok(position) => {
                self.absent.remove(position);
                true
            }
            Err(_) => false,
        }
    }

    fn give_up_before(&mut self, index: u64) {
        let before = self.absent.len();
        self.key_frame(index);
        let lost = before - self.absent.len();
        self.given_up = self.given_up.saturating_add(u32::try_from(lost).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::{ms, start};
    use proptest::prelude::*;

    fn due(missing: &mut NackTracker, now: Instant) -> Vec<u16> {
        let mut into = Vec::new();
        missing.due(now, ms(100), &mut into);
        into
    }

    #[test]
    fn nack_is_sent_after_delay_and_repeated_after_rtt() {
        let (now, mut missing) = (start(), NackTracker::default());
        missing.received(now, 65_534);
        missing.received(now, 65_537);
        assert_eq!(due(&mut missing, now), [] as [u16; 0], "it may just be late");
        assert_eq!(missing.next(), Some(now + ms(10)));

        assert_eq!(due(&mut missing, now + ms(10)), [65_535, 0]);
        assert_eq!(due(&mut missing, now + ms(119)), [] as [u16; 0]);
        assert_eq!(due(&mut missing, now + ms(120)), [65_535, 0]);
    }

    #[test]
    fn late_or_retransmitted_packet_is_not_nacked_again() {
        let (now, mut missing) = (start(), NackTracker::default());
        missing.received(now, 1);
        missing.received(now, 5);
        assert!(missing.received(now, 2));
        assert_eq!(due(&mut missing, now + ms(10)), [3, 4]);
        assert!(missing.repaired(3));
        assert!(!missing.repaired(3), "once is enough");
        assert!(!missing.received(now, 3), "it came after all: twice");

        assert_eq!(due(&mut missing, now + ms(500)), [4]);
        assert_eq!(missing.take_given_up(), 0);
    }

    #[test]
    fn nack_stops_after_ten_retries_or_timeout() {
        let (begin, mut missing) = (start(), NackTracker::default());
        missing.received(begin, 1);
        missing.received(begin, 3);
        let mut asked = 0;
        for step in 0..200 {
            asked += due(&mut missing, begin + ms(step * 10)).len();
        }
        assert_eq!((asked, missing.take_given_up(), missing.next()), (10, 1, None));

        let mut missing = NackTracker::default();
        missing.received(begin, 1);
        missing.received(begin, 3);
        assert_eq!(due(&mut missing, begin + ms(1_500)), [] as [u16; 0]);
        assert_eq!(missing.take_given_up(), 1);
    }

    #[test]
    fn key_frame_clears_earlier_missing_packets() {
        let (now, mut missing) = (start(), NackTracker::default());
        missing.received(now, 1);
        missing.received(now, 5);
        missing.received(now, 7);
        missing.key_frame(5);

        assert_eq!(due(&mut missing, now + ms(10)), [6]);
        assert_eq!(missing.take_given_up(), 0);
    }

    #[test]
    fn large_sequence_gap_resets_nack_tracker() {
        let (now, mut missing) = (start(), NackTracker::default());
        missing.received(now, 1);
        missing.received(now, 1_000_000_000);

        assert_eq!((due(&mut missing, now + ms(10)).len(), missing.take_given_up()), (0, 1));
    }

    proptest! {
        #[test]
        fn nack_lists_exactly_the_missing_packets(
            order in Just((0u64..200).collect::<Vec<_>>()).prop_shuffle(),
            came in prop::collection::vec(any::<bool>(), 200),
        ) {
            let (now, mut missing) = (start(), NackTracker::default());
            missing.received(now, 0);
            for index in order.into_iter().filter(|index| came[*index as usize]) {
                missing.received(now, index);
            }
            let last = (0..200).rev().find(|n| came[*n]).unwrap_or(0);
            let expected: Vec<u16> = (1..last).filter(|n| !came[*n]).map(|n| n as u16).collect();
            prop_assert_eq!(due(&mut missing, now + ms(10)), expected);
        }
    }
}
