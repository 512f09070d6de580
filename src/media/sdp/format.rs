//! What a payload type stands for, and which formats of two clients are the same.

use crate::api::MediaKind;
use crate::codec::Codec;

/// One payload type of a section, with the one that repairs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PayloadFormat {
    /// 0 to 127.
    pub(crate) payload_type: u8,
    /// How payloads are read.
    pub(crate) codec: Codec,
    /// `a=fmtp`, as it came.
    pub(crate) parameters: String,
    /// Payload type of the retransmissions (RFC 4588).
    pub(crate) repair: Option<u8>,
    /// The `a=rtcp-fb` of it that we know.
    pub(crate) feedback: Vec<String>,
}

/// Feedback that we send or understand.
pub(crate) const FEEDBACK: [&str; 5] = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];

/// What decides whether a decoder takes it, besides the codec.
#[derive(PartialEq, Eq)]
enum FmtpVariant {
    Any,
    /// Profile of VP9 or AV1.
    Profile(u8),
    /// Profile and packetization mode (RFC 6184 §8.1).
    H264(AvcProfile, u8),
}

#[derive(PartialEq, Eq)]
enum AvcProfile {
    ConstrainedBaseline,
    /// `profile_idc`, and the constraints as far as they say more.
    Other(u8, u8),
}

impl PayloadFormat {
    /// Sound or picture.
    pub(crate) fn codec_of(kind: MediaKind, name: &str) -> Option<Codec> {
        let known: &[(&str, Codec)] = match kind {
            MediaKind::Audio => &[("opus", Codec::Opus), ("red", Codec::Red)],
            MediaKind::Video => &[
                ("vp8", Codec::Vp8),
                ("vp9", Codec::Vp9),
                ("h264", Codec::H264),
                ("av1", Codec::Av1),
            ],
        };
        known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, codec)| *codec)
    }

    /// How `a=rtpmap` writes it.
    pub(crate) fn encoding(&self) -> &'static str {
        match self.codec {
            Codec::Opus => "opus/48000/2",
            Codec::Red => "red/48000/2",
            Codec::Vp8 => "VP8/90000",
            Codec::Vp9 => "VP9/90000",
            Codec::H264 => "H264/90000",
            Codec::Av1 => "AV1/90000",
        }
    }

    /// Whether what is sent as one can be received as the other.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        self.codec == other.codec && self.variant() == other.variant()
    }

    /// Whether this kind of feedback was offered.
    pub(crate) fn has(&self, feedback: &str) -> bool {
        self.feedback.iter().any(|known| known == feedback)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.split(';').find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn variant(&self) -> FmtpVariant {
        let number = |name| self.parameter(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        match self.codec {
            Codec::Vp9 => FmtpVariant::Profile(number("profile-id")),
            Codec::Av1 => FmtpVariant::Profile(number("profile")),
            Codec::H264 => FmtpVariant::H264(self.avc_profile(), number("packetization-mode")),
            Codec::Opus | Codec::Red | Codec::Vp8 => FmtpVariant::Any,
        }
    }

    /// The level does not count: `level-asymmetry-allowed` is what everybody offers.
    fn avc_profile(&self) -> AvcProfile {
        let value = self.parameter("profile-level-id").unwrap_or("42000a"); // the default of RFC 6184
        let value = u32::from_str_radix(value, 16).unwrap_or(0);
        match ((value >> 16) as u8, (value >> 8) as u8) {
            (0x42, constraints) if constraints & 0x40 != 0 => AvcProfile::ConstrainedBaseline,
            (0x4d, constraints) if constraints & 0x80 != 0 => AvcProfile::ConstrainedBaseline,
            (profile, constraints) => AvcProfile::Other(profile, constraints & 0x0c),
        }
    }
}

/// The header extensions that are understood, with the identifiers of one section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExtensionIds {
    /// Which section a packet belongs to (RFC 9143 §15).
    pub(crate) mid: Option<u8>,
    /// Which layer (RFC 8852).
    pub(crate) rid: Option<u8>,
    /// Which layer a retransmission repairs (RFC 8852).
    pub(crate) repaired: Option<u8>,
    /// How loud it is (RFC 6464).
    pub(crate) level: Option<u8>,
    /// When it was sent, as 6.18 seconds.
    pub(crate) time: Option<u8>,
    /// Counts the packets of a transport (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    pub(crate) transport: Option<u8>,
    /// Which of these, in their order, the client only sends, or only receives (RFC 8285 §5).
    only: [Option<ExtensionDirection>; 6],
}

/// The direction of a header extension, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExtensionDirection {
    Sent,
    Received,
}

const URIS: [&str; 6] = [
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
];

impl ExtensionIds {
    /// Takes the value of an `a=extmap`; identifiers that the one-byte form cannot carry are ignored.
    pub(crate) fn learn(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        let (Some(id), Some(uri)) = (words.next(), words.next()) else { return };
        let (id, direction) = id.split_once('/').unwrap_or((id, ""));
        let Ok(id @ 1..=14) = id.parse() else { return };
        let only = match direction {
            "sendonly" => Some(ExtensionDirection::Sent),
            "recvonly" => Some(ExtensionDirection::Received),
            "inactive" => return,
            _ => None,
        };
        if let Some(at) = URIS.iter().position(|known| *known == uri) {
            self.only[at] = only;
            *self.places()[at] = Some(id);
        }
    }

    /// What is agreed on, as the answer's `a=extmap` writes it: identifier with direction, and name.
    pub(crate) fn lines(mut self) -> impl Iterator<Item = (u8, &'static str, &'static str)> {
        let only = self.only;
        let ids = self.places().map(|place| *place);
        URIS.into_iter().zip(ids).zip(only).filter_map(|((uri, id), only)| {
            let direction = match only {
                Some(ExtensionDirection::Sent) => "/recvonly",
                Some(ExtensionDirection::Received) => "/sendonly",
                None => "",
            };
            Some((id?, direction, uri))
        })
    }

    fn places(&mut self) -> [&mut Option<u8>; 6] {
        [
            &mut self.mid,
            &mut self.rid,
            &mut self.repaired,
            &mut self.level,
            &mut self.time,
            &mut self.transport,
        ]
    }
}
