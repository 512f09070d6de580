//! Interprets a client's offer.

use std::io::Cursor;

use rtc_sdp::description::common::Attribute;
use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;

use super::format::{ExtensionIds, PayloadFormat, SUPPORTED_FEEDBACK};
use crate::api::{MediaKind, OfferError};
use crate::codec::Codec;
use crate::limits::{MAX_SDP_BYTES, MAX_SIMULCAST_LAYERS};

/// An SDP offer.
#[derive(Clone, Debug)]
pub(crate) struct RemoteOffer {
    /// Session id of the `o=` line: constant for the life of a peer connection (RFC 8829 §5.2.1).
    pub(crate) session_id: u64,
    /// ICE user name fragment; changes with an ICE restart.
    pub(crate) ufrag: String,
    /// ICE password; changes with an ICE restart.
    pub(crate) password: String,
    /// SHA-256 fingerprint of the client's certificate, upper case.
    pub(crate) fingerprint: String,
    /// Media sections in the order of the offer.
    pub(crate) sections: Vec<RemoteSection>,
}

/// One media section (m-line).
#[derive(Clone, Debug)]
pub(crate) struct RemoteSection {
    /// The `mid`, or the position of the section if it has none.
    pub(crate) mid: String,
    /// Media type: `audio`, `video`, `application` …
    pub(crate) media: String,
    /// Transport protocol: `UDP/TLS/RTP/SAVPF` …
    pub(crate) protocol: String,
    /// The first format of the m-line, which a rejection repeats.
    pub(crate) first_format: String,
    /// `None` if the section is rejected: stopped, not bundled, not multiplexed, or of an unsupported kind.
    pub(crate) kind: Option<MediaKind>,
    /// The client wants to send.
    pub(crate) is_sending: bool,
    /// The client wants to receive.
    pub(crate) is_receiving: bool,
    /// The supported formats, in the client's order of preference.
    pub(crate) formats: Vec<PayloadFormat>,
    /// RTCP feedback may be sent without a report (RFC 5506).
    pub(crate) has_reduced_size_rtcp: bool,
    /// Header extension ids.
    pub(crate) extension_ids: ExtensionIds,
    /// Rids of the simulcast layers that are accepted, in the order of the offer (RFC 8853).
    pub(crate) rids: Vec<String>,
    /// SSRC of the stream that the client sends, if announced.
    pub(crate) ssrc: Option<u32>,
    /// SSRC of its retransmissions, if announced.
    pub(crate) rtx_ssrc: Option<u32>,
}

/// The value of the first attribute with this key.
fn attribute<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a str> {
    attributes_of(attributes, key).next()
}

/// The values of all attributes with this key; empty for flags.
fn attributes_of<'a>(attributes: &'a [Attribute], key: &str) -> impl Iterator<Item = &'a str> {
    let with_key = attributes.iter().filter(move |attribute| attribute.key == key);
    with_key.map(|attribute| attribute.value.as_deref().unwrap_or("").trim())
}

impl RemoteOffer {
    /// Parses an offer with at most `max_sections` sections.
    pub(crate) fn parse(sdp: &str, max_sections: usize) -> Result<Self, OfferError> {
        let invalid = OfferError::InvalidDescription;
        if sdp.len() > MAX_SDP_BYTES {
            return Err(OfferError::LimitReached);
        }
        let description = SessionDescription::unmarshal(&mut Cursor::new(sdp.as_bytes()))
            .map_err(|_| invalid("not a session description"))?;
        if description.media_descriptions.len() > max_sections {
            return Err(OfferError::LimitReached);
        }
        let first_value = |key: &str| {
            let mut media = description.media_descriptions.iter();
            attribute(&description.attributes, key)
                .or_else(|| media.find_map(|media| attribute(&media.attributes, key)))
        };
        // Clients may offer several fingerprints of one certificate (RFC 8122 §5.1).
        let media_attributes =
            description.media_descriptions.iter().flat_map(|media| &media.attributes);
        let fingerprint =
            description.attributes.iter().chain(media_attributes).find_map(|attribute| {
                let value =
                    attribute.value.as_deref().filter(|_| attribute.key == "fingerprint")?;
                let (hash, fingerprint) = value.trim().split_once(' ')?;
                hash.eq_ignore_ascii_case("sha-256").then_some(fingerprint)
            });
        let fingerprint = fingerprint.ok_or(invalid("no SHA-256 fingerprint"))?;
        if first_value("setup") == Some("passive") {
            return Err(invalid("the client must take the DTLS client role"));
        }
        let bundle = attributes_of(&description.attributes, "group")
            .find_map(|value| value.strip_prefix("BUNDLE"))
            .map(|mids| mids.split_ascii_whitespace().collect::<Vec<_>>());
        let mut sections = Vec::new();
        for media in &description.media_descriptions {
            let mut section = RemoteSection::parse(media, sections.len());
            let is_bundled = match &bundle {
                Some(mids) => mids.contains(&section.mid.as_str()),
                None => sections.iter().all(|previous: &RemoteSection| previous.kind.is_none()),
            };
            if !is_bundled {
                section.kind = None;
            }
            if sections.iter().any(|previous| previous.mid == section.mid) {
                return Err(invalid("two sections have the same mid"));
            }
            sections.push(section);
        }
        Ok(Self {
            session_id: description.origin.session_id,
            ufrag: first_value("ice-ufrag").ok_or(invalid("no ICE credentials"))?.to_owned(),
            password: first_value("ice-pwd").ok_or(invalid("no ICE credentials"))?.to_owned(),
            fingerprint: fingerprint.trim().to_ascii_uppercase(),
            sections,
        })
    }
}

impl RemoteSection {
    fn parse(media: &MediaDescription, position: usize) -> Self {
        let attributes = &media.attributes;
        let has = |key: &str| attributes.iter().any(|attribute| attribute.key == key);
        let mut kind = match media.media_name.media.as_str() {
            "audio" => Some(MediaKind::Audio),
            "video" => Some(MediaKind::Video),
            _ => None,
        };
        let formats = kind.map(|kind| formats(media, kind)).unwrap_or_default();
        let is_stopped = media.media_name.port.value == 0 && !has("bundle-only");
        let is_secure =
            media.media_name.protos.iter().any(|part| part == "SAVPF" || part == "SAVP");
        if is_stopped
            || !is_secure
            || !has("rtcp-mux")
            || formats.iter().all(|f| f.codec == Codec::Red)
        {
            kind = None;
        }
        let mut extension_ids = ExtensionIds::default();
        attributes_of(attributes, "extmap").for_each(|value| extension_ids.parse_extmap(value));
        let fid_group = attributes_of(attributes, "ssrc-group").find_map(|value| {
            let mut ssrcs = value.strip_prefix("FID ")?.split_ascii_whitespace();
            Some((ssrcs.next()?.parse().ok()?, ssrcs.next()?.parse().ok()?))
        });
        let single_ssrc =
            attribute(attributes, "ssrc").and_then(|value| value.split(' ').next()?.parse().ok());
        let is_sent = |rid: &str| {
            attributes_of(attributes, "rid").any(|value| {
                let mut words = value.split_ascii_whitespace();
                words.next() == Some(rid) && words.next() == Some("send")
            })
        };
        let rids = attribute(attributes, "simulcast").map(send_rids).unwrap_or_default();
        Self {
            mid: attribute(attributes, "mid").map_or_else(|| position.to_string(), str::to_owned),
            media: media.media_name.media.clone(),
            protocol: media.media_name.protos.join("/"),
            first_format: media
                .media_name
                .formats
                .first()
                .cloned()
                .unwrap_or_else(|| "0".to_owned()),
            kind,
            is_sending: !has("recvonly") && !has("inactive"),
            is_receiving: !has("sendonly") && !has("inactive"),
            formats,
            has_reduced_size_rtcp: has("rtcp-rsize"),
            extension_ids,
            rids: rids.into_iter().filter(|rid| is_sent(rid)).take(MAX_SIMULCAST_LAYERS).collect(),
            ssrc: fid_group.map(|(ssrc, _)| ssrc).or(single_ssrc),
            rtx_ssrc: fid_group.map(|(_, rtx_ssrc)| rtx_ssrc),
        }
    }

    /// The format in which the section's media is received: the first supported one.
    pub(crate) fn preferred_format(&self) -> Option<&PayloadFormat> {
        self.formats.iter().find(|format| format.codec != Codec::Red)
    }

    /// The RED format (RFC 2198), if the client prefers it.
    pub(crate) fn preferred_red(&self) -> Option<&PayloadFormat> {
        self.formats.first().filter(|format| format.codec == Codec::Red)
    }

    /// The format under which media in the format `other` can be received in this section.
    pub(crate) fn compatible_format(&self, other: &PayloadFormat) -> Option<&PayloadFormat> {
        self.formats.iter().find(|format| format.is_compatible(other))
    }
}

/// Rids of the layers to send, as ordered in `a=simulcast`; the first of alternatives.
fn send_rids(value: &str) -> Vec<String> {
    let mut words = value.split_ascii_whitespace();
    while let (Some(direction), Some(list)) = (words.next(), words.next()) {
        if direction == "send" {
            let first = |alternatives: &str| {
                let rid = alternatives.split(',').next().unwrap_or("");
                rid.trim_start_matches('~').to_owned()
            };
            return list.split(';').map(first).collect();
        }
    }
    Vec::new()
}

/// The supported formats in the order of the m-line; rtc-sdp's own list of codecs has no order.
fn formats(media: &MediaDescription, kind: MediaKind) -> Vec<PayloadFormat> {
    let attributes = &media.attributes;
    let values_for = |key: &'static str, payload_type: u8| {
        attributes_of(attributes, key).filter_map(move |value| {
            let (number, rest) = value.split_once(' ')?;
            (number.parse() == Ok(payload_type)).then_some(rest.trim())
        })
    };
    let encoding = |payload_type| {
        values_for("rtpmap", payload_type)
            .next()
            .and_then(|map| map.split('/').next())
            .unwrap_or("")
    };
    let listed: Vec<u8> =
        media.media_name.formats.iter().filter_map(|format| format.parse().ok()).collect();
    let rtx_payload_type = |payload_type: u8| {
        listed.iter().copied().find(|other| {
            encoding(*other).eq_ignore_ascii_case("rtx")
                && values_for("fmtp", *other).any(|fmtp| fmtp == format!("apt={payload_type}"))
        })
    };
    let supported = |payload_type: &u8| {
        let feedback =
            values_for("rtcp-fb", *payload_type).filter(|value| SUPPORTED_FEEDBACK.contains(value));
        Some(PayloadFormat {
            payload_type: *payload_type,
            codec: PayloadFormat::codec_of(kind, encoding(*payload_type))?,
            fmtp: values_for("fmtp", *payload_type).next().unwrap_or("").to_owned(),
            rtx_payload_type: rtx_payload_type(*payload_type),
            feedback: feedback.map(str::to_owned).collect(),
        })
    };
    listed.iter().filter_map(supported).collect()
}
