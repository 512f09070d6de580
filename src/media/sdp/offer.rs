//! A client's offer, as far as this server understands it.

use rtc_sdp::description::common::Attribute;
use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;
use std::io::Cursor;

use super::format::{ExtensionIds, FEEDBACK, PayloadFormat};
use crate::api::{MediaKind, OfferError};
use crate::codec::Codec;
use crate::track::MAX_SIMULCAST_LAYERS;

/// The longest offer that is looked at; one with a hundred sections of Chromium has about 400 KiB.
const MAX_SDP_BYTES: usize = 1 << 20;

/// An offer.
#[derive(Clone, Debug)]
pub(crate) struct RemoteOffer {
    /// Stays the same for the life of a client's peer connection (RFC 8829 §5.2.1).
    pub(crate) id: u64,
    /// Changes with an ICE restart.
    pub(crate) fragment: String,
    /// Changes with an ICE restart.
    pub(crate) password: String,
    /// SHA-256 of the client's certificate.
    pub(crate) fingerprint: String,
    /// In the order of the offer.
    pub(crate) sections: Vec<RemoteSection>,
}

/// One m-line.
#[derive(Clone, Debug)]
pub(crate) struct RemoteSection {
    /// Its name.
    pub(crate) mid: String,
    /// `audio`, `video`, `application` …
    pub(crate) media: String,
    /// `UDP/TLS/RTP/SAVPF` …
    pub(crate) protocol: String,
    /// The first payload type, which a rejection repeats.
    pub(crate) first: String,
    /// None if it is stopped, not bundled, not multiplexed, or nothing we carry: it is rejected.
    pub(crate) kind: Option<MediaKind>,
    /// The client wants to send.
    pub(crate) sends: bool,
    /// The client wants to receive.
    pub(crate) receives: bool,
    /// What we know of what it knows, in the client's order.
    pub(crate) formats: Vec<PayloadFormat>,
    /// Feedback may be sent without a report (RFC 5506).
    pub(crate) reduced: bool,
    /// Header extensions.
    pub(crate) ids: ExtensionIds,
    /// Layers of simulcast that are taken, in the order of the offer (RFC 8853).
    pub(crate) layers: Vec<String>,
    /// What it says it will send with, if it says so: the stream and its retransmissions.
    pub(crate) ssrc: Option<u32>,
    /// Retransmissions of that.
    pub(crate) repair_ssrc: Option<u32>,
}

fn find<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a str> {
    values(attributes, key).next()
}

fn values<'a>(attributes: &'a [Attribute], key: &str) -> impl Iterator<Item = &'a str> {
    let with_key = attributes.iter().filter(move |attribute| attribute.key == key);
    with_key.map(|attribute| attribute.value.as_deref().unwrap_or("").trim())
}

impl RemoteOffer {
    /// Reads an offer.
    pub(crate) fn parse(sdp: &str, most: usize) -> Result<Self, OfferError> {
        let unusable = OfferError::Unusable;
        if sdp.len() > MAX_SDP_BYTES {
            return Err(OfferError::TooMuch);
        }
        let description = SessionDescription::unmarshal(&mut Cursor::new(sdp.as_bytes()))
            .map_err(|_| unusable("not a session description"))?;
        if description.media_descriptions.len() > most {
            return Err(OfferError::TooMuch);
        }
        let any = |key: &str| {
            let mut media = description.media_descriptions.iter();
            find(&description.attributes, key)
                .or_else(|| media.find_map(|media| find(&media.attributes, key)))
        };
        // Clients may offer several hashes of one certificate (RFC 8122 §5.1).
        let all = description.media_descriptions.iter().flat_map(|media| &media.attributes);
        let fingerprint = description.attributes.iter().chain(all).find_map(|attribute| {
            let value = attribute.value.as_deref().filter(|_| attribute.key == "fingerprint")?;
            let (hash, fingerprint) = value.trim().split_once(' ')?;
            hash.eq_ignore_ascii_case("sha-256").then_some(fingerprint)
        });
        let fingerprint = fingerprint.ok_or(unusable("no SHA-256 fingerprint"))?;
        if any("setup") == Some("passive") {
            return Err(unusable("the client must take the client's role in DTLS"));
        }
        let bundle = values(&description.attributes, "group")
            .find_map(|value| value.strip_prefix("BUNDLE"))
            .map(|mids| mids.split_ascii_whitespace().collect::<Vec<_>>());
        let mut sections = Vec::new();
        for media in &description.media_descriptions {
            let mut section = RemoteSection::read(media, sections.len());
            let bundled = match &bundle {
                Some(mids) => mids.contains(&section.mid.as_str()),
                None => sections.iter().all(|earlier: &RemoteSection| earlier.kind.is_none()),
            };
            if !bundled {
                section.kind = None;
            }
            if sections.iter().any(|earlier| earlier.mid == section.mid) {
                return Err(unusable("two sections of one name"));
            }
            sections.push(section);
        }
        Ok(Self {
            id: description.origin.session_id,
            fragment: any("ice-ufrag").ok_or(unusable("no ICE credentials"))?.to_owned(),
            password: any("ice-pwd").ok_or(unusable("no ICE credentials"))?.to_owned(),
            fingerprint: fingerprint.trim().to_ascii_uppercase(),
            sections,
        })
    }
}

impl RemoteSection {
    fn read(media: &MediaDescription, position: usize) -> Self {
        let attributes = &media.attributes;
        let has = |key: &str| attributes.iter().any(|attribute| attribute.key == key);
        let mut kind = match media.media_name.media.as_str() {
            "audio" => Some(MediaKind::Audio),
            "video" => Some(MediaKind::Video),
            _ => None,
        };
        let formats = kind.map(|kind| formats(media, kind)).unwrap_or_default();
        let stopped = media.media_name.port.value == 0 && !has("bundle-only");
        let secure = media.media_name.protos.iter().any(|part| part == "SAVPF" || part == "SAVP");
        if stopped || !secure || !has("rtcp-mux") || formats.iter().all(|f| f.codec == Codec::Red) {
            kind = None;
        }
        let mut ids = ExtensionIds::default();
        values(attributes, "extmap").for_each(|value| ids.learn(value));
        let pair = values(attributes, "ssrc-group").find_map(|value| {
            let mut ssrcs = value.strip_prefix("FID ")?.split_ascii_whitespace();
            Some((ssrcs.next()?.parse().ok()?, ssrcs.next()?.parse().ok()?))
        });
        let alone =
            find(attributes, "ssrc").and_then(|value| value.split(' ').next()?.parse().ok());
        let sent = |rid: &str| {
            values(attributes, "rid").any(|value| {
                let mut words = value.split_ascii_whitespace();
                words.next() == Some(rid) && words.next() == Some("send")
            })
        };
        let layers = find(attributes, "simulcast").map(simulcast).unwrap_or_default();
        Self {
            mid: find(attributes, "mid").map_or_else(|| position.to_string(), str::to_owned),
            media: media.media_name.media.clone(),
            protocol: media.media_name.protos.join("/"),
            first: media.media_name.formats.first().cloned().unwrap_or_else(|| "0".to_owned()),
            kind,
            sends: !has("recvonly") && !has("inactive"),
            receives: !has("sendonly") && !has("inactive"),
            formats,
            reduced: has("rtcp-rsize"),
            ids,
            layers: layers.into_iter().filter(|rid| sent(rid)).take(MAX_SIMULCAST_LAYERS).collect(),
            ssrc: pair.map(|(ssrc, _)| ssrc).or(alone),
            repair_ssrc: pair.map(|(_, repair)| repair),
        }
    }

    /// The format in which what this section publishes is received: the first one we know.
    pub(crate) fn preferred(&self) -> Option<&PayloadFormat> {
        self.formats.iter().find(|format| format.codec != Codec::Red)
    }

    /// The redundant format of sound, if the client would rather use that (RFC 2198).
    pub(crate) fn redundant(&self) -> Option<&PayloadFormat> {
        self.formats.first().filter(|format| format.codec == Codec::Red)
    }

    /// The format in which what is sent as `other` can be received here.
    pub(crate) fn fitting(&self, other: &PayloadFormat) -> Option<&PayloadFormat> {
        self.formats.iter().find(|format| format.fits(other))
    }
}

/// The layers that are to be sent, lowest first as offered; of alternatives the first.
fn simulcast(value: &str) -> Vec<String> {
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

/// The known formats in the order of the m-line: rtc-sdp's own list of codecs has no order.
fn formats(media: &MediaDescription, kind: MediaKind) -> Vec<PayloadFormat> {
    let attributes = &media.attributes;
    let of = |key: &'static str, payload_type: u8| {
        values(attributes, key).filter_map(move |value| {
            let (number, rest) = value.split_once(' ')?;
            (number.parse() == Ok(payload_type)).then_some(rest.trim())
        })
    };
    let encoding = |payload_type| {
        of("rtpmap", payload_type).next().and_then(|map| map.split('/').next()).unwrap_or("")
    };
    let listed: Vec<u8> =
        media.media_name.formats.iter().filter_map(|format| format.parse().ok()).collect();
    let repair = |payload_type: u8| {
        listed.iter().copied().find(|other| {
            encoding(*other).eq_ignore_ascii_case("rtx")
                && of("fmtp", *other).any(|fmtp| fmtp == format!("apt={payload_type}"))
        })
    };
    let known = |payload_type: &u8| {
        let feedback = of("rtcp-fb", *payload_type).filter(|value| FEEDBACK.contains(value));
        Some(PayloadFormat {
            payload_type: *payload_type,
            codec: PayloadFormat::codec_of(kind, encoding(*payload_type))?,
            parameters: of("fmtp", *payload_type).next().unwrap_or("").to_owned(),
            repair: repair(*payload_type),
            feedback: feedback.map(str::to_owned).collect(),
        })
    };
    listed.iter().filter_map(known).collect()
}
