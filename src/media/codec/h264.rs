//! H.264 in RTP (RFC 6184 §5): looks for parameter sets and instantaneous refreshes.

const IDR_SLICE: u8 = 5;
const SEQUENCE_PARAMETERS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;

/// Holds the parameters of a sequence, which go before its first picture, or the beginning of an
/// IDR slice.
pub(super) fn begins_key_frame(payload: &[u8]) -> bool {
    let Some((&header, rest)) = payload.split_first() else { return false };
    match header & 0x1f {
        STAP_A => aggregates_one(rest),
        FU_A => {
            rest.first().is_some_and(|&fragment| fragment & FU_START != 0 && refreshes(fragment))
        }
        _ => refreshes(header),
    }
}

fn refreshes(header: u8) -> bool {
    matches!(header & 0x1f, IDR_SLICE | SEQUENCE_PARAMETERS)
}

/// Units with two bytes of length before each (§5.7.1).
fn aggregates_one(mut units: &[u8]) -> bool {
    while let [high, low, rest @ ..] = units {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || rest.len() < length {
            return false;
        }
        let (unit, behind) = rest.split_at(length);
        if unit.first().copied().is_some_and(refreshes) {
            return true;
        }
        units = behind;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h264_sps_or_idr_begins_key_frame_in_any_packetization() {
        assert!(begins_key_frame(&[0x67, 1, 2, 3]), "parameters alone");
        assert!(begins_key_frame(&[0x65, 1, 2, 3]), "a slice alone");
        assert!(begins_key_frame(&[0x78, 0, 2, 0x68, 1, 0, 2, 0x65, 1]), "together");
        assert!(begins_key_frame(&[0x7c, 0x85, 1]), "the first fragment");
    }

    #[test]
    fn other_h264_units_do_not_begin_key_frame() {
        assert!(!begins_key_frame(&[0x61, 1]), "a slice that refers to others");
        assert!(!begins_key_frame(&[0x78, 0, 2, 0x68, 1, 0, 2, 0x61, 1]), "such a one, together");
        assert!(!begins_key_frame(&[0x7c, 0x05, 1]), "a later fragment");
        assert!(!begins_key_frame(&[0x78, 0, 9, 0x65]), "a lying length");
        assert!(!begins_key_frame(&[0x78, 0, 0, 0x65]), "no length");
    }
}
