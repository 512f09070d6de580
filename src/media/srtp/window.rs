//! Packet index estimation and replay protection (RFC 3711 §3.3).

/// Size of the replay window: how far behind the highest index a packet may be.
const REPLAY_WINDOW_BITS: u64 = 1024;
const WORDS: usize = REPLAY_WINDOW_BITS as usize / 64;

/// The replay list of one stream. An index is checked before a packet is decrypted, and inserted only after
/// it was authenticated.
#[derive(Clone, Default)]
pub(crate) struct ReplayWindow {
    highest: Option<u64>,
    /// Bit `index % REPLAY_WINDOW_BITS`.
    received: [u64; WORDS],
}

impl ReplayWindow {
    /// The index closest to the highest one whose low 16 bits are `sequence`.
    pub(crate) fn extend(&self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else { return u64::from(sequence) };
        extend_sequence(highest, sequence)
    }

    /// Whether a packet with this index is new and not older than the window.
    pub(crate) fn is_new(&self, index: u64) -> bool {
        match self.highest {
            Some(highest) if index <= highest => {
                highest - index < REPLAY_WINDOW_BITS && !self.contains(index)
            }
            _ => true,
        }
    }

    /// Records an authenticated packet.
    pub(crate) fn insert(&mut self, index: u64) {
        match self.highest {
            None => self.highest = Some(index),
            Some(highest) if index > highest => {
                if index - highest >= REPLAY_WINDOW_BITS {
                    self.received = [0; WORDS];
                } else {
                    (highest + 1..index).for_each(|skipped| self.set(skipped, false));
                }
                self.highest = Some(index);
            }
            Some(_) => {}
        }
        self.set(index, true);
    }

    fn contains(&self, index: u64) -> bool {
        let bit = (index % REPLAY_WINDOW_BITS) as usize;
        self.received[bit / 64] >> (bit % 64) & 1 == 1
    }

    fn set(&mut self, index: u64, is_received: bool) {
        let bit = (index % REPLAY_WINDOW_BITS) as usize;
        let mask = 1 << (bit % 64);
        if is_received {
            self.received[bit / 64] |= mask;
        } else {
            self.received[bit / 64] &= !mask;
        }
    }
}

/// The index closest to `near` whose low 16 bits are `sequence`; never negative.
pub(crate) fn extend_sequence(near: u64, sequence: u16) -> u64 {
    let ahead = sequence.wrapping_sub(near as u16);
    let behind = u64::from((near as u16).wrapping_sub(sequence));
    if ahead < 0x8000 || behind > near { near + u64::from(ahead) } else { near - behind }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packet_index_extends_across_sequence_wrap() {
        let mut window = ReplayWindow::default();
        for sequence in [65_534u16, 65_535, 0, 1] {
            let index = window.extend(sequence);
            assert!(window.is_new(index));
            window.insert(index);
            assert!(!window.is_new(index));
        }

        assert_eq!(window.extend(2), 65_538);
        assert_eq!(window.extend(65_533), 65_533);
        assert!(window.is_new(65_533));
    }

    #[test]
    fn packet_index_never_precedes_zero() {
        assert_eq!(extend_sequence(1, 65_535), 65_535);
        assert_eq!(extend_sequence(65_536 + 1, 65_535), 65_535);
    }

    proptest! {
        #[test]
        fn replay_window_accepts_each_index_once(indices in prop::collection::vec(0u64..3000, 1..400)) {
            let mut window = ReplayWindow::default();
            let (mut seen, mut top) = (HashSet::new(), 0);
            for index in indices {
                let is_fresh = !seen.contains(&index);
                if window.is_new(index) {
                    prop_assert!(is_fresh);
                    window.insert(index);
                    seen.insert(index);
                    top = top.max(index);
                } else {
                    prop_assert!(!is_fresh || top - index >= REPLAY_WINDOW_BITS);
                }
            }
        }

        #[test]
        fn packet_index_is_recovered_from_low_16_bits(near in 0u64..1 << 40, offset in -32_000i64..32_000) {
            let index = near.saturating_add_signed(offset);
            prop_assert_eq!(extend_sequence(near, index as u16), index);
        }
    }
}
