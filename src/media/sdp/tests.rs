//! Tests with recorded offers of browsers and aiortc, and of answers.

use super::*;
use crate::TransportProtocol;
use crate::api::{LocalCandidate, MediaKind, OfferError};
use crate::codec::Codec;
use crate::ice::IceCredentials;

const SIMULCAST: &str = include_str!("../tests/offers/chromium-simulcast.sdp");
const BOTH_WAYS: &str = include_str!("../tests/offers/chromium-sendrecv.sdp");
const FIREFOX: &str = include_str!("../tests/offers/like-firefox.sdp");
const AIORTC: &str = include_str!("../tests/offers/aiortc-sendrecv.sdp");

fn section(sdp: &str, mid: &str) -> RemoteSection {
    let offer = RemoteOffer::parse(sdp, 10).unwrap();
    offer.sections.into_iter().find(|section| section.mid == mid).unwrap()
}

#[test]
fn chromium_offer_is_parsed() {
    let offer = RemoteOffer::parse(SIMULCAST, 10).unwrap();
    let kinds: Vec<_> = offer.sections.iter().map(|section| section.kind).collect();
    let (audio, video) = (Some(MediaKind::Audio), Some(MediaKind::Video));
    assert_eq!(kinds, [audio, video, audio, video, None]);
    let directions: Vec<_> =
        offer.sections.iter().map(|section| (section.is_sending, section.is_receiving)).collect();
    assert_eq!(directions[..3], [(true, false), (true, false), (false, true)]);
    assert_eq!((offer.ufrag.len(), offer.password.len(), offer.fingerprint.len()), (4, 24, 95));

    let audio = &offer.sections[0];
    assert_eq!(audio.preferred_format().unwrap().codec, Codec::Opus);
    assert_eq!(audio.preferred_red(), None, "Chromium prefers plain Opus");
    let ids = audio.extension_ids;
    assert_eq!(
        (ids.audio_level, ids.abs_send_time, ids.transport_sequence, ids.mid),
        (Some(1), Some(2), Some(3), Some(4))
    );

    let video = &offer.sections[1];
    assert_eq!(video.rids, ["l", "m", "h"]);
    assert_eq!((video.extension_ids.rid, video.extension_ids.repaired_rid), (Some(10), Some(11)));
    let vp8 = video.preferred_format().unwrap();
    assert_eq!((vp8.codec, vp8.payload_type, vp8.rtx_payload_type), (Codec::Vp8, 96, Some(97)));
    assert_eq!(vp8.feedback.len(), 5);
    assert_eq!(video.ssrc, None, "layers have rids instead");
}

#[test]
fn firefox_offer_is_parsed() {
    let offer = RemoteOffer::parse(FIREFOX, 10).unwrap();
    assert!(offer.fingerprint.starts_with("1B:4C"), "session-level attribute");
    let kinds: Vec<_> = offer.sections.iter().map(|section| section.kind).collect();
    assert_eq!(kinds, [Some(MediaKind::Audio), Some(MediaKind::Video), Some(MediaKind::Video)]);
    let video = &offer.sections[1];
    assert_eq!(video.rids, ["h", "m", "l"]);
    let preferred = video.preferred_format().unwrap();
    assert_eq!((preferred.payload_type, preferred.rtx_payload_type), (120, Some(124)));
    let lines: Vec<_> =
        video.extension_ids.answer_extmaps().map(|(id, direction, _)| (id, direction)).collect();
    assert_eq!(lines, [(3, ""), (8, "/recvonly"), (9, "/recvonly"), (4, ""), (7, "")]);
}

#[test]
fn aiortc_offer_is_parsed() {
    let offer = RemoteOffer::parse(AIORTC, 10).unwrap();
    assert_eq!(offer.fingerprint.len(), 95, "the SHA-256 fingerprint of three");
    let (audio, video) = (&offer.sections[0], &offer.sections[1]);
    assert_eq!(audio.preferred_format().unwrap().payload_type, 96);
    let vp8 = video.preferred_format().unwrap();
    assert_eq!((vp8.payload_type, vp8.rtx_payload_type), (97, Some(98)));
    assert!(!video.has_reduced_size_rtcp && video.extension_ids.transport_sequence.is_none());
    let reordered = AIORTC.replace("sha-256", "sha-x").replace("sha-384", "sha-256");
    assert!(RemoteOffer::parse(&reordered, 10).is_ok(), "independent of the order");
}

#[test]
fn announced_ssrcs_are_parsed() {
    let video = section(BOTH_WAYS, "1");
    assert!(video.is_sending && video.is_receiving);
    assert!(video.ssrc.is_some() && video.rtx_ssrc.is_some());
    assert_ne!(video.ssrc, video.rtx_ssrc);
    let audio = section(BOTH_WAYS, "0");
    assert!(audio.ssrc.is_some() && audio.rtx_ssrc.is_none());
}

#[test]
fn formats_match_by_profile_and_mode_ignoring_level() {
    let offered = section(SIMULCAST, "3");
    let format = |codec, parameters: &str| PayloadFormat {
        payload_type: 1,
        codec,
        fmtp: parameters.to_owned(),
        rtx_payload_type: None,
        feedback: Vec::new(),
    };
    let found = |format| offered.compatible_format(&format).map(|format| format.payload_type);
    let h264 = |parameters| found(format(Codec::H264, parameters));
    assert_eq!(h264("packetization-mode=1;profile-level-id=42e034"), Some(109));
    assert_eq!(h264("packetization-mode=1;profile-level-id=42001f"), Some(103));
    assert_eq!(h264("profile-level-id=42e01f"), Some(115), "mode 0 is the default");
    assert_eq!(h264("packetization-mode=1;profile-level-id=64001f"), None);
    assert_eq!(found(format(Codec::Vp9, "profile-id=2")), Some(100));
    assert_eq!(found(format(Codec::Vp9, "")), Some(98));
    assert_eq!(found(format(Codec::Av1, "profile=0;level-idx=8")), Some(45));
    assert_eq!(found(format(Codec::Opus, "")), None);
}

#[test]
fn unbundled_or_unmuxed_media_section_is_rejected() {
    let kind = |sdp: &str, mid| section(sdp, mid).kind;
    let unbundled = BOTH_WAYS.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0");
    assert_eq!((kind(&unbundled, "0"), kind(&unbundled, "1")), (Some(MediaKind::Audio), None));
    let unbundled = BOTH_WAYS.replace("a=group:BUNDLE 0 1\r\n", "");
    assert_eq!((kind(&unbundled, "0"), kind(&unbundled, "1")), (Some(MediaKind::Audio), None));
    let unmuxed = BOTH_WAYS.replace("a=rtcp-mux\r\n", "");
    assert_eq!(kind(&unmuxed, "0"), None);
    let stopped = BOTH_WAYS.replace("m=video 9", "m=video 0");
    assert_eq!(kind(&stopped, "1"), None);
    let bundle_only = stopped.replace("a=mid:1", "a=mid:1\r\na=bundle-only");
    assert_eq!(
        kind(&bundle_only, "1"),
        Some(MediaKind::Video),
        "port 0 with bundle-only is not stopped"
    );
    let insecure = BOTH_WAYS.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP");
    assert_eq!(kind(&insecure, "0"), None);
}

#[test]
fn unusable_or_oversized_offer_is_rejected() {
    let rejection = |sdp: &str| RemoteOffer::parse(sdp, 10).unwrap_err();
    let is_invalid = |sdp: &str| matches!(rejection(sdp), OfferError::InvalidDescription(_));
    assert!(is_invalid("") && is_invalid("v=0"));
    assert!(is_invalid(&BOTH_WAYS.replace("a=setup:actpass", "a=setup:passive")));
    assert!(is_invalid(&BOTH_WAYS.replace("sha-256", "md5")));
    assert!(is_invalid(&BOTH_WAYS.replace("a=mid:1", "a=mid:0")));
    assert!(is_invalid(&BOTH_WAYS.replace("a=ice-pwd", "a=ice-xyz")));
    assert_eq!(RemoteOffer::parse(SIMULCAST, 4).unwrap_err(), OfferError::LimitReached);
    assert_eq!(rejection(&" ".repeat(2_000_000)), OfferError::LimitReached);
}

#[test]
fn answer_contains_negotiated_media_and_sent_ssrcs() {
    let offer = RemoteOffer::parse(SIMULCAST, 10).unwrap();
    let credentials = IceCredentials { ufrag: "uuuu".into(), password: "pppp".into() };
    let candidates = [
        LocalCandidate {
            transport: TransportProtocol::Udp,
            address: "192.0.2.1:5000".parse().unwrap(),
        },
        LocalCandidate {
            transport: TransportProtocol::Tcp,
            address: "[2001:db8::1]:5000".parse().unwrap(),
        },
    ];
    let answer = AnswerBuilder {
        version: 3,
        session_id: 9,
        credentials: &credentials,
        fingerprint: "AA:BB",
        candidates: &candidates,
    };
    let formats = |at: usize| offer.sections[at].preferred_format().into_iter().collect::<Vec<_>>();
    let sending = SendSection { ssrc: 11, rtx_ssrc: Some(12), owner: 4, track: 5 };
    let sections = [
        AnswerSection {
            formats: formats(0),
            receives_media: true,
            use_dtx: true,
            ..AnswerSection::default()
        },
        AnswerSection {
            formats: formats(1),
            receives_media: true,
            rids: &offer.sections[1].rids,
            ..AnswerSection::default()
        },
        AnswerSection { formats: formats(2), ..AnswerSection::default() },
        AnswerSection { formats: formats(3), send: Some(sending), ..AnswerSection::default() },
        AnswerSection::default(),
    ];
    let text = answer.write(&offer, &sections);

    let has =
        |line: &str| assert!(text.lines().any(|candidate| candidate == line), "{line}\n{text}");
    has("a=ice-lite");
    has("a=group:BUNDLE 0 1 2 3");
    has("a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1");
    has("m=video 9 UDP/TLS/RTP/SAVPF 96 97");
    has("a=simulcast:recv l;m;h");
    has("a=rid:m recv");
    has("a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id");
    has("a=setup:passive");
    has("a=msid:4 5");
    has("a=ssrc-group:FID 11 12");
    has("m=application 0 UDP/DTLS/SCTP webrtc-datachannel");
    has("a=candidate:0 1 udp 2130706431 192.0.2.1 5000 typ host");
    has("a=candidate:1 1 tcp 2124414719 2001:db8::1 5000 typ host tcptype passive");
    let count = |line: &str| text.lines().filter(|candidate| *candidate == line).count();
    assert_eq!((count("a=end-of-candidates"), count("a=inactive")), (4, 2));
    let mut cursor = std::io::Cursor::new(text.as_bytes());
    let parsed = rtc_sdp::description::session::SessionDescription::unmarshal(&mut cursor);
    assert_eq!(parsed.unwrap().media_descriptions.len(), 5);
}
