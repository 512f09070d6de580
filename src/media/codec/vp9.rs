//! VP9 in RTP (RFC 9628 §4.2): parses the payload descriptor.

/// Bits of the first byte of the payload descriptor: I, P, L and B.
const HAS_PICTURE_ID: u8 = 0x80;
const INTER_PREDICTED: u8 = 0x40;
const HAS_LAYER_INDICES: u8 = 0x20;
const START_OF_FRAME: u8 = 0x08;

/// Whether a packet is the first of a frame that refers to no earlier picture, in the lowest spatial layer
/// (higher ones of the same picture refer to it).
pub(super) fn starts_key_frame(payload: &[u8]) -> bool {
    let Some(&flags) = payload.first() else { return false };
    if flags & INTER_PREDICTED != 0 || flags & START_OF_FRAME == 0 {
        return false;
    }
    if flags & HAS_LAYER_INDICES == 0 {
        return true;
    }
    let mut offset = 1;
    if flags & HAS_PICTURE_ID != 0 {
        let is_15_bit = payload.get(offset).is_some_and(|first| first & 0x80 != 0);
        offset += if is_15_bit { 2 } else { 1 };
    }
    // |  TID  |U|  SID  |D|
    payload.get(offset).is_some_and(|layers| layers & 0x0f == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vp9_unpredicted_base_layer_frame_is_key_frame() {
        assert!(starts_key_frame(&[0x88, 0x05]));
        assert!(starts_key_frame(&[0xa8, 0x81, 0x05, 0x00, 0x00]));
        assert!(starts_key_frame(&[0xa8, 0x05, 0x00, 0x00]));
    }

    #[test]
    fn other_vp9_packets_are_not_key_frame() {
        assert!(!starts_key_frame(&[0xc8, 0x05]), "predicted");
        assert!(!starts_key_frame(&[0x84, 0x05]), "the end of a frame");
        assert!(!starts_key_frame(&[0xa8, 0x05, 0x02]), "a higher spatial layer");
        assert!(!starts_key_frame(&[0xa8, 0x05]), "truncated");
    }
}
