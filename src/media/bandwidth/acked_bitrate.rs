//! Acknowledged bitrate over a sliding window (`AcknowledgedBitrateEstimator` of libwebrtc, here with slots).

use std::time::Duration;

/// Number of slots of the window.
const WINDOW_SLOTS: usize = 10;
/// Duration of one slot.
const SLOT_DURATION: Duration = Duration::from_millis(50);

/// Measures a bitrate over the last half second of packet times.
#[derive(Debug, Default)]
pub(super) struct AckedBitrateEstimator {
    bytes: [u64; WINDOW_SLOTS],
    /// Number of the newest slot, and of the first one with data.
    newest_slot: u64,
    first_slot: Option<u64>,
}

impl AckedBitrateEstimator {
    /// Adds bytes at a time; times may be slightly out of order.
    pub(super) fn add(&mut self, at: Duration, bytes: usize) {
        let slot = (at.as_micros() / SLOT_DURATION.as_micros()) as u64;
        let Some(first) = self.first_slot else {
            (self.first_slot, self.newest_slot) = (Some(slot), slot);
            self.add_to_slot(slot, bytes);
            return;
        };
        let window = WINDOW_SLOTS as u64;
        if slot > self.newest_slot {
            for skipped in self.newest_slot + 1..=slot.min(self.newest_slot + window) {
                self.clear_slot(skipped);
            }
            self.newest_slot = slot;
        } else if slot + 10 * window < self.newest_slot {
            // The clock was set back.
            *self = Self { first_slot: Some(slot), newest_slot: slot, ..Self::default() };
        } else if slot + window <= self.newest_slot || slot < first {
            return;
        }
        self.add_to_slot(slot, bytes);
    }

    /// Bits per second, once a whole window was seen.
    pub(super) fn bitrate_bps(&self) -> Option<f64> {
        let window = WINDOW_SLOTS as u64;
        // The newest slot is incomplete: it stands for the part of the oldest one that has left the window.
        (self.newest_slot >= self.first_slot? + window).then(|| {
            let complete: u64 = self.bytes.iter().sum::<u64>() - self.slot_bytes(self.newest_slot);
            complete as f64 * 8.0 / (SLOT_DURATION.as_secs_f64() * (window - 1) as f64)
        })
    }

    fn slot_bytes(&self, number: u64) -> u64 {
        self.bytes.get((number % WINDOW_SLOTS as u64) as usize).copied().unwrap_or(0)
    }

    fn add_to_slot(&mut self, number: u64, bytes: usize) {
        if let Some(slot) = self.bytes.get_mut((number % WINDOW_SLOTS as u64) as usize) {
            *slot += bytes as u64;
        }
    }

    fn clear_slot(&mut self, number: u64) {
        if let Some(slot) = self.bytes.get_mut((number % WINDOW_SLOTS as u64) as usize) {
            *slot = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::ms;

    #[test]
    fn throughput_covers_last_half_second() {
        let mut bitrate = AckedBitrateEstimator::default();
        for n in 0..100 {
            bitrate.add(ms(n * 10), 1_250);
        }
        assert_eq!(bitrate.bitrate_bps(), Some(1_000_000.0));
        for n in 100..160 {
            bitrate.add(ms(n * 10), 125);
        }
        assert_eq!(bitrate.bitrate_bps(), Some(100_000.0));
    }

    #[test]
    fn throughput_needs_enough_samples_and_resets_on_clock_step() {
        let mut bitrate = AckedBitrateEstimator::default();
        bitrate.add(ms(100_000), 1_000);
        bitrate.add(ms(100_400), 1_000);
        assert_eq!(bitrate.bitrate_bps(), None);
        bitrate.add(ms(100_600), 1_000);
        assert!(bitrate.bitrate_bps().is_some());
        bitrate.add(ms(10), 1_000);
        assert_eq!(bitrate.bitrate_bps(), None);
    }
}
