//! Random numbers through one interface: seeded in tests, from the operating system otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random bytes.
#[derive(Clone, Debug, Default)]
pub struct RandomSource(Option<Arc<AtomicU64>>);

impl RandomSource {
    /// The operating system's random number generator.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A reproducible source for tests; never for secrets.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(seed))))
    }

    /// Fills `out` with random bytes.
    ///
    /// # Panics
    /// If the operating system provides no entropy: continuing would create guessable secrets.
    pub fn fill(&self, out: &mut [u8]) {
        match &self.0 {
            Some(state) => out.iter_mut().for_each(|byte| *byte = splitmix(state)),
            #[expect(clippy::expect_used, reason = "no secret may be created without entropy")]
            None => getrandom::fill(out).expect("the operating system provides no entropy"),
        }
    }

    /// An array of `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// A number in [0, 1), for jitter.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double")]
    pub fn fraction(&self) -> f64 {
        (u64::from_le_bytes(self.bytes()) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// 32 random bytes as 64 hexadecimal digits: an unguessable token.
    pub fn token(&self) -> String {
        use std::fmt::Write;
        self.bytes::<32>().iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
            text
        })
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), one byte at a time.
fn splitmix(state: &AtomicU64) -> u8 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut z = state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_entropy_is_deterministic_and_system_is_not() {
        assert_eq!(RandomSource::seeded(1).token(), RandomSource::seeded(1).token());
        assert_ne!(RandomSource::system().token(), RandomSource::system().token());
    }

    #[test]
    fn random_fraction_is_below_one() {
        let random = RandomSource::seeded(7);
        assert!((0..10_000).map(|_| random.fraction()).all(|f| (0.0..1.0).contains(&f)));
    }
}
