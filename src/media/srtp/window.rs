//! Which packet index a sequence number stands for, and whether it came before (RFC 3711 §3.3).

/// How far behind the newest packet an older one may come.
const REPLAY_WINDOW_BITS: u64 = 1024;
const WORDS: usize = REPLAY_WINDOW_BITS as usize / 64;

/// The replay list of one stream. An index is checked before a packet is opened and accepted only
/// after it proved authentic.
#[derive(Clone, Default)]
pub(crate) struct ReplayWindow {
    top: Option<u64>,
    /// Bit `index % REPLAY_WINDOW_BITS`.
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// The index nearest to the newest one that ends in these 16 bits.
    pub(crate) fn extend(&self, sequence: u16) -> u64 {
        let Some(top) = self.top else { return u64::from(sequence) };
        extend(top, sequence)
    }

    /// Whether a packet of this index would be new, and not too old to tell.
    pub(crate) fn is_new(&self, index: u64) -> bool {
        match self.top {
            Some(top) if index <= top => top - index < REPLAY_WINDOW_BITS && !self.holds(index),
            _ => true,
        }
    }

    /// Remembers an authentic packet.
    pub(crate) fn accept(&mut self, index: u64) {
        match self.top {
            None => self.top = Some(index),
            Some(top) if index > top => {
                if index - top >= REPLAY_WINDOW_BITS {
                    self.seen = [0; WORDS];
                } else {
                    (top + 1..index).for_each(|missed| self.mark(missed, false));
                }
                self.top = Some(index);
            }
            Some(_) => {}
        }
        self.mark(index, true);
    }

    fn holds(&self, index: u64) -> bool {
        let bit = (index % REPLAY_WINDOW_BITS) as usize;
        self.seen[bit / 64] >> (bit % 64) & 1 == 1
    }

    fn mark(&mut self, index: u64, seen: bool) {
        let bit = (index % REPLAY_WINDOW_BITS) as usize;
        let mask = 1 << (bit % 64);
        if seen {
            self.seen[bit / 64] |= mask;
        } else {
            self.seen[bit / 64] &= !mask;
        }
    }
}

/// The index nearest to `near` whose low 16 bits are `sequence`; never negative.
pub(crate) fn extend(near: u64, sequence: u16) -> u64 {
    let ahead = sequence.wrapping_sub(near as u16);
    let behind = u64::from((near as u16).wrapping_sub(sequence));
    if ahead < 0x8000 || behind > near { near + u64::from(ahead) } else { near - behind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn packet_index_extends_across_sequence_wrap() {
        let mut window = ReplayWindow::default();
        for sequence in [65_534u16, 65_535, 0, 1] {
            let index = window.extend(sequence);
            assert!(window.is_new(index));
            window.accept(index);
            assert!(!window.is_new(index));
        }

        assert_eq!(window.extend(2), 65_538);
        assert_eq!(window.extend(65_533), 65_533);
        assert!(window.is_new(65_533));
    }

    #[test]
    fn packet_index_never_precedes_zero() {
        assert_eq!(extend(1, 65_535), 65_535);
        assert_eq!(extend(65_536 + 1, 65_535), 65_535);
    }

    proptest! {
        #[test]
        fn replay_window_accepts_each_index_once(indices in prop::collection::vec(0u64..3000, 1..400)) {
            let mut window = ReplayWindow::default();
            let (mut seen, mut top) = (HashSet::new(), 0);
            for index in indices {
                let fresh = !seen.contains(&index);
                if window.is_new(index) {
                    prop_assert!(fresh);
                    window.accept(index);
                    seen.insert(index);
                    top = top.max(index);
                } else {
                    prop_assert!(!fresh || top - index >= REPLAY_WINDOW_BITS);
                }
            }
        }

        #[test]
        fn packet_index_is_recovered_from_low_16_bits(near in 0u64..1 << 40, offset in -32_000i64..32_000) {
            let index = near.saturating_add_signed(offset);
            prop_assert_eq!(extend(near, index as u16), index);
        }
    }
}
