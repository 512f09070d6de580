//! Payload formats and header extensions of a section, and compatibility of formats.

use crate::api::MediaKind;
use crate::codec::Codec;

/// One payload type of a section, with its RTX payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PayloadFormat {
    /// RTP payload type, 0 to 127.
    pub(crate) payload_type: u8,
    /// The codec of the payload.
    pub(crate) codec: Codec,
    /// The `a=fmtp` parameters as offered; empty if absent.
    pub(crate) fmtp: String,
    /// Payload type of its retransmissions (RFC 4588).
    pub(crate) rtx_payload_type: Option<u8>,
    /// The supported `a=rtcp-fb` values that were offered.
    pub(crate) feedback: Vec<String>,
}

/// The RTCP feedback that the server sends or understands.
pub(crate) const SUPPORTED_FEEDBACK: [&str; 5] =
    ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];

/// Format parameters, besides the codec, that decide whether a decoder accepts a stream.
#[derive(PartialEq, Eq)]
enum FmtpVariant {
    Any,
    /// Profile of VP9 or AV1.
    Profile(u8),
    /// Profile and packetization mode (RFC 6184 §8.1).
    H264(AvcProfile, u8),
}

/// Profile of H.264, normalized.
#[derive(PartialEq, Eq)]
enum AvcProfile {
    ConstrainedBaseline,
    /// `profile_idc` and the constraint flags that matter.
    Other(u8, u8),
}

impl PayloadFormat {
    /// The codec with this encoding name; `None` if it is not supported.
    pub(crate) fn codec_of(kind: MediaKind, name: &str) -> Option<Codec> {
        let candidates: &[(&str, Codec)] = match kind {
            MediaKind::Audio => &[("opus", Codec::Opus), ("red", Codec::Red)],
            MediaKind::Video => &[
                ("vp8", Codec::Vp8),
                ("vp9", Codec::Vp9),
                ("h264", Codec::H264),
                ("av1", Codec::Av1),
            ],
        };
        candidates
            .iter()
            .find(|(candidates, _)| candidates.eq_ignore_ascii_case(name))
            .map(|(_, codec)| *codec)
    }

    /// The encoding as written in `a=rtpmap`.
    pub(crate) fn rtpmap(&self) -> &'static str {
        match self.codec {
            Codec::Opus => "opus/48000/2",
            Codec::Red => "red/48000/2",
            Codec::Vp8 => "VP8/90000",
            Codec::Vp9 => "VP9/90000",
            Codec::H264 => "H264/90000",
            Codec::Av1 => "AV1/90000",
        }
    }

    /// Whether a stream in one format can be received as the other.
    pub(crate) fn is_compatible(&self, other: &Self) -> bool {
        self.codec == other.codec && self.variant() == other.variant()
    }

    /// Whether this kind of feedback was offered.
    pub(crate) fn supports_feedback(&self, feedback: &str) -> bool {
        self.feedback.iter().any(|known| known == feedback)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.fmtp.split(';').find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn variant(&self) -> FmtpVariant {
        let parameter_value =
            |name| self.parameter(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        match self.codec {
            Codec::Vp9 => FmtpVariant::Profile(parameter_value("profile-id")),
            Codec::Av1 => FmtpVariant::Profile(parameter_value("profile")),
            Codec::H264 => {
                FmtpVariant::H264(self.avc_profile(), parameter_value("packetization-mode"))
            }
            Codec::Opus | Codec::Red | Codec::Vp8 => FmtpVariant::Any,
        }
    }

    /// The level is ignored, since all clients offer `level-asymmetry-allowed`.
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

/// The supported header extensions and their ids in one section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExtensionIds {
    /// `mid` of the section (RFC 9143 §15).
    pub(crate) mid: Option<u8>,
    /// `rid` of the layer (RFC 8852).
    pub(crate) rid: Option<u8>,
    /// `rid` of the layer that a retransmission repairs (RFC 8852).
    pub(crate) repaired_rid: Option<u8>,
    /// Audio level (RFC 6464).
    pub(crate) audio_level: Option<u8>,
    /// abs-send-time: sending time in 24 bits, as 6.18 fixed point seconds.
    pub(crate) abs_send_time: Option<u8>,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    pub(crate) transport_sequence: Option<u8>,
    /// Direction of each, in this order, if the client only sends or only receives it (RFC 8285 §5).
    directions: [Option<ExtensionDirection>; 6],
}

/// Restricted direction of a header extension, as seen by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExtensionDirection {
    SendOnly,
    ReceiveOnly,
}

/// URIs of the supported header extensions, in the order of the fields of [`ExtensionIds`].
const EXTENSION_URIS: [&str; 6] = [
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
];

impl ExtensionIds {
    /// Parses the value of an `a=extmap`; ids that the one-byte form cannot carry are ignored.
    pub(crate) fn parse_extmap(&mut self, value: &str) {
        let mut fields = value.split_ascii_whitespace();
        let (Some(id), Some(uri)) = (fields.next(), fields.next()) else { return };
        let (id, direction) = id.split_once('/').unwrap_or((id, ""));
        let Ok(id @ 1..=14) = id.parse() else { return };
        let direction_limit = match direction {
            "sendonly" => Some(ExtensionDirection::SendOnly),
            "recvonly" => Some(ExtensionDirection::ReceiveOnly),
            "inactive" => return,
            _ => None,
        };
        if let Some(at) = EXTENSION_URIS.iter().position(|known| *known == uri) {
            self.directions[at] = direction_limit;
            *self.slots()[at] = Some(id);
        }
    }

    /// The negotiated `a=extmap` lines of the answer: id, direction suffix and URI.
    pub(crate) fn answer_extmaps(
        mut self,
    ) -> impl Iterator<Item = (u8, &'static str, &'static str)> {
        let direction_limit = self.directions;
        let ids = self.slots().map(|slot| *slot);
        EXTENSION_URIS.into_iter().zip(ids).zip(direction_limit).filter_map(
            |((uri, id), direction_limit)| {
                let direction = match direction_limit {
                    Some(ExtensionDirection::SendOnly) => "/recvonly",
                    Some(ExtensionDirection::ReceiveOnly) => "/sendonly",
                    None => "",
                };
                Some((id?, direction, uri))
            },
        )
    }

    fn slots(&mut self) -> [&mut Option<u8>; 6] {
        [
            &mut self.mid,
            &mut self.rid,
            &mut self.repaired_rid,
            &mut self.audio_level,
            &mut self.abs_send_time,
            &mut self.transport_sequence,
        ]
    }
}
