//! Sound with redundancy (RFC 2198): finds the newest block, for those who understand no redundancy.

/// The primary block of a payload, which is the last one.
pub(crate) fn primary(payload: &[u8]) -> Option<&[u8]> {
    let (mut at, mut redundant) = (0, 0);
    loop {
        let first = *payload.get(at)?;
        if first & 0x80 == 0 {
            return payload.get(at + 1 + redundant..);
        }
        let header = payload.get(at..at + 4)?;
        redundant += usize::from(u16::from_be_bytes([header[2], header[3]]) & 0x03ff);
        at += 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn red_primary_block_is_last() {
        assert_eq!(primary(&[111, 1, 2]), Some(&[1, 2][..]));
        let two = [0x80 | 111, 0x0f, 0, 3, 111, 7, 7, 7, 1, 2];
        assert_eq!(primary(&two), Some(&[1, 2][..]));
        assert_eq!(primary(&two[..7]), None);
        assert_eq!(primary(&[]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_red_payload_yields_shorter_block_or_none(payload in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(block) = primary(&payload) {
                prop_assert!(block.len() < payload.len());
            }
        }
    }
}
