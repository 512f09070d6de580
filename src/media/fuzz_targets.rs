//! What a hostile client may send, straight into each parser: the doors of `fuzz/`, which must take
//! any bytes without a panic, and of the test that replays its corpus.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::api::{ParticipantId, PublishOffer};
use crate::codec::{Codec, starts_key_frame, vp8};
use crate::dtls::DtlsAssociation;
use crate::twcc::TwccSender;
use crate::{DtlsCertificate, NetworkPath, RoomConfig, SfuRoom, red, rtcp, rtp};

/// One key pair is enough: making it is what takes time.
fn identity() -> Arc<DtlsCertificate> {
    static ONE: OnceLock<Arc<DtlsCertificate>> = OnceLock::new();
    #[expect(clippy::expect_used, reason = "without a key there is nothing to test")]
    ONE.get_or_init(|| Arc::new(DtlsCertificate::generate().expect("a key pair"))).clone()
}

fn room(now: Instant) -> SfuRoom {
    let mut room = SfuRoom::new(now, 1, identity(), Vec::new(), RoomConfig::default());
    room.join(now, ParticipantId(1));
    room
}

/// A datagram from an address that nobody knows: STUN, or noise.
pub fn stun(now: Instant, from: NetworkPath, bytes: &[u8]) {
    let _ = crate::room_of(bytes);
    room(now).receive(now, from, &mut bytes.to_vec());
}

/// Records of DTLS: each begins with two bytes of length.
pub fn dtls(now: Instant, mut bytes: &[u8]) {
    let mut association = DtlsAssociation::new(identity(), "");
    let (mut now, mut send) = (now, Vec::new());
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (datagram, rest) = rest.split_at(length);
        bytes = rest;
        let _ = association.on_datagram(now, datagram, &mut send);
        now += Duration::from_millis(60);
        association.timeout(now, &mut send);
        send.clear();
    }
}

/// A packet of RTP, and its payload as every codec there is.
pub fn rtp(bytes: &[u8]) {
    let Ok(packet) = rtp::RtpPacket::parse(bytes) else { return };
    for id in 0..16 {
        let _ = packet.extensions().find(|(known, _)| *known == id);
    }
    let payload = packet.payload();
    for codec in [Codec::Opus, Codec::Red, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
        let _ = starts_key_frame(codec, payload);
    }
    let _ = red::primary_block(payload);
    let mut munger = vp8::Vp8Munger::default();
    munger.switch(1);
    let _ = munger.patch(1, &mut payload.to_vec());
}

/// A compound of RTCP, read as every kind there is.
pub fn rtcp(now: Instant, bytes: &[u8]) {
    let mut departures = TwccSender::default();
    for size in 0..50 {
        departures.on_sent(now, size);
    }
    let mut results = Vec::new();
    for part in rtcp::packets(bytes) {
        let _ = (part.sender_info(), part.media_ssrc(), part.remb_bps());
        let _ =
            (part.report_blocks().count(), part.nack_sequences().count(), part.fir_ssrcs().count());
        departures.on_feedback(part.body.get(8..).unwrap_or_default(), &mut results);
    }
}

/// A session description, offered to a room twice.
pub fn sdp(now: Instant, text: &str) {
    let mut room = room(now);
    let offer = PublishOffer { sdp: text.to_owned(), ..PublishOffer::default() };
    let _ = room.offer(now, ParticipantId(1), &offer);
    let _ = room.offer(now, ParticipantId(1), &offer);
}
