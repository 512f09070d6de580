//! RED, audio with redundancy (RFC 2198): extracts the newest block for receivers without RED support.

/// The primary block of a RED payload, which is the last one; `None` if the payload is malformed.
pub(crate) fn primary_block(payload: &[u8]) -> Option<&[u8]> {
    let (mut offset, mut redundant_bytes) = (0, 0);
    loop {
        let first = *payload.get(offset)?;
        if first & 0x80 == 0 {
            return payload.get(offset + 1 + redundant_bytes..);
        }
        let header = payload.get(offset..offset + 4)?;
        redundant_bytes += usize::from(u16::from_be_bytes([header[2], header[3]]) & 0x03ff);
        offset += 4;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn red_primary_block_is_last() {
        assert_eq!(primary_block(&[111, 1, 2]), Some(&[1, 2][..]));
        let two = [0x80 | 111, 0x0f, 0, 3, 111, 7, 7, 7, 1, 2];
        assert_eq!(primary_block(&two), Some(&[1, 2][..]));
        assert_eq!(primary_block(&two[..7]), None);
        assert_eq!(primary_block(&[]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_red_payload_yields_shorter_block_or_none(payload in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(block) = primary_block(&payload) {
                prop_assert!(block.len() < payload.len());
            }
        }
    }
}
