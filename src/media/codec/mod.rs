//! What the SFU needs to know of a codec: where a key frame starts.

mod av1;
mod h264;
pub(crate) mod vp8;
mod vp9;

/// How the payload of a packet is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Codec {
    /// Opus audio (RFC 7587).
    Opus,
    /// Audio with redundancy, RED (RFC 2198).
    Red,
    /// VP8 video (RFC 7741).
    Vp8,
    /// VP9 video (RFC 9628).
    Vp9,
    /// H.264 video (RFC 6184).
    H264,
    /// AV1 video ("RTP Payload Format For AV1", version 1.0).
    Av1,
}

impl Codec {
    /// RTP clock rate in ticks per second.
    pub(crate) fn clock_rate(self) -> u32 {
        match self {
            Self::Opus | Self::Red => 48_000,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => 90_000,
        }
    }
}

/// Whether a decoder can start with this packet: it is the first one of a key frame. Audio can be joined
/// anywhere. End-to-end encryption of frames (`SFrame`, insertable streams) leaves the bytes read here in the
/// clear for VP8, and the payload descriptors for VP9 and AV1.
pub(crate) fn starts_key_frame(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus | Codec::Red => !payload.is_empty(),
        Codec::Vp8 => vp8::starts_key_frame(payload),
        Codec::Vp9 => vp9::starts_key_frame(payload),
        Codec::H264 => h264::starts_key_frame(payload),
        Codec::Av1 => av1::starts_key_frame(payload),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Codec; 6] =
        [Codec::Opus, Codec::Red, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

    #[test]
    fn empty_payload_is_not_key_frame() {
        for codec in ALL {
            assert!(!starts_key_frame(codec, &[]));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_payload_does_not_panic_key_frame_check(payload in prop::collection::vec(any::<u8>(), 0..40)) {
            for codec in ALL {
                let _ = starts_key_frame(codec, &payload);
            }
        }
    }
}
