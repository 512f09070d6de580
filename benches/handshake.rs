//! What one participant's way in costs inside the SFU, without sockets: the answer to an offer, the
//! checks, and the handshake of DTLS, on the server's side only.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::figures::times;
use media::test_peer::{OfferSection, TestPeer};
use media::{
    DtlsCertificate, LocalCandidate, MediaKind, NetworkPath, ParticipantId, PublishOffer,
    RoomConfig, SfuRoom, TransmitBuffer, TransportProtocol,
};

/// How many join, each a room of its own.
const JOINS: u32 = 400;

/// What the room's part took.
struct Cost {
    offer: Duration,
    handshake: Duration,
}

fn main() {
    let identity = Arc::new(DtlsCertificate::generate().unwrap());
    let costs: Vec<Cost> = (1..=JOINS).map(|number| join(number, identity.clone())).collect();
    let mut offers: Vec<_> = costs.iter().map(|cost| cost.offer).collect();
    let mut handshakes: Vec<_> = costs.iter().map(|cost| cost.handshake).collect();
    times("calls", "in the SFU: an offer answered", &mut offers, None);
    times("calls", "in the SFU: checks and a DTLS handshake", &mut handshakes, None);
}

/// Does something, and adds how long it took.
fn timed<T>(spent: &mut Duration, deed: impl FnOnce() -> T) -> T {
    let began = clock();
    let done = deed();
    *spent += clock() - began;
    done
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn clock() -> Instant {
    Instant::now()
}

fn join(number: u32, identity: Arc<DtlsCertificate>) -> Cost {
    let mut now = clock();
    let address: SocketAddr = "192.0.2.1:3478".parse().unwrap();
    let candidates = vec![LocalCandidate { transport: TransportProtocol::Udp, address }];
    let mut room = SfuRoom::new(now, number, identity, candidates, RoomConfig::default());
    room.join(now, ParticipantId(1));
    let mut client = TestPeer::new(now, number * 16).unwrap();
    let lines = [
        OfferSection::new("0", MediaKind::Video).with_formats(&[96, 97]).sending(),
        OfferSection::new("1", MediaKind::Audio).with_formats(&[111]).sending(),
    ];
    let offer = PublishOffer { sdp: client.offer(&lines).unwrap(), ..PublishOffer::default() };
    let mut cost = Cost { offer: Duration::ZERO, handshake: Duration::ZERO };
    let answer = timed(&mut cost.offer, || room.offer(now, ParticipantId(1), &offer));
    client.answered(&answer.unwrap()).unwrap();
    let path =
        NetworkPath { transport: TransportProtocol::Udp, remote: "203.0.113.1:9".parse().unwrap() };
    let mut out = TransmitBuffer::default();
    while !client.is_connected() {
        now += Duration::from_millis(1);
        let mut up = Vec::new();
        client.timeout(now, |datagram| up.push(datagram.to_vec()));
        timed(&mut cost.handshake, || {
            for datagram in &mut up {
                room.receive(now, path, datagram);
            }
            room.timeout(now);
            while room.transmit(now, &mut out) {}
        });
        for datagram in out.datagrams() {
            let bytes = &out.bytes()[datagram.start..][..datagram.length];
            client.receive(now, &mut bytes.to_vec());
        }
        out.clear();
        while room.event().is_some() || room.route().is_some() {}
    }
    cost
}
