//! How many bits travel in a second, over a window that slides with the time of the packets.

use std::time::Duration;

const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct AckedBitrateEstimator {
    bytes: [u64; SLOTS],
    /// The number of the newest slot, and of the first one ever.
    newest: u64,
    first: Option<u64>,
}

impl AckedBitrateEstimator {
    /// So many bytes at a time, which may be a little out of order.
    pub(super) fn add(&mut self, at: Duration, bytes: usize) {
        let slot = (at.as_micros() / SLOT.as_micros()) as u64;
        let Some(first) = self.first else {
            (self.first, self.newest) = (Some(slot), slot);
            self.put(slot, bytes);
            return;
        };
        let window = SLOTS as u64;
        if slot > self.newest {
            for skipped in self.newest + 1..=slot.min(self.newest + window) {
                self.clear(skipped);
            }
            self.newest = slot;
        } else if slot + 10 * window < self.newest {
            // The clock was set back.
            *self = Self { first: Some(slot), newest: slot, ..Self::default() };
        } else if slot + window <= self.newest || slot < first {
            return;
        }
        self.put(slot, bytes);
    }

    /// Bits per second, when a whole window was seen.
    pub(super) fn rate(&self) -> Option<f64> {
        let window = SLOTS as u64;
        // The newest slot is not complete: it stands in for the part of the oldest one that is gone.
        (self.newest >= self.first? + window).then(|| {
            let complete: u64 = self.bytes.iter().sum::<u64>() - self.slot(self.newest);
            complete as f64 * 8.0 / (SLOT.as_secs_f64() * (window - 1) as f64)
        })
    }

    fn slot(&self, number: u64) -> u64 {
        self.bytes.get((number % SLOTS as u64) as usize).copied().unwrap_or(0)
    }

    fn put(&mut self, number: u64, bytes: usize) {
        if let Some(slot) = self.bytes.get_mut((number % SLOTS as u64) as usize) {
            *slot += bytes as u64;
        }
    }

    fn clear(&mut self, number: u64) {
        if let Some(slot) = self.bytes.get_mut((number % SLOTS as u64) as usize) {
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
        let mut throughput = AckedBitrateEstimator::default();
        for n in 0..100 {
            throughput.add(ms(n * 10), 1_250);
        }
        assert_eq!(throughput.rate(), Some(1_000_000.0));
        for n in 100..160 {
            throughput.add(ms(n * 10), 125);
        }
        assert_eq!(throughput.rate(), Some(100_000.0));
    }

    #[test]
    fn throughput_needs_enough_samples_and_resets_on_clock_step() {
        let mut throughput = AckedBitrateEstimator::default();
        throughput.add(ms(100_000), 1_000);
        throughput.add(ms(100_400), 1_000);
        assert_eq!(throughput.rate(), None);
        throughput.add(ms(100_600), 1_000);
        assert!(throughput.rate().is_some());
        throughput.add(ms(10), 1_000);
        assert_eq!(throughput.rate(), None);
    }
}
