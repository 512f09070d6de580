//! Clients in memory: who is let in, whom they reach, and how all of it ends.

mod device;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base::ids::UserId;
use futures_util::future::Abortable;
use proptest::prelude::*;

use self::device::{Bench, Came};
use super::client::UNAUTHENTICATED_TIMEOUT;
use super::clients::MAX_UNAUTHENTICATED_CLIENTS;
use super::message::{MAX_MESSAGE_BYTES, StunMessage, length};
use super::proto_relay::ProtoRelay;
use super::relay::{AddressFamily, OutboundPacket, RelayAction, RelaySocketError, TurnRelay};

const GRANTED: u32 = 600;

fn granted(came: &Came) -> bool {
    matches!(came, Came::Good(Some(GRANTED), Some(address)) if address.ip().to_string() == "192.0.2.9")
}

#[tokio::test]
async fn allocate_requires_valid_credentials() {
    let bench = Bench::new();
    let mut alice = bench.device(1);
    assert!(granted(&alice.allocates(&bench)));

    let mut mallory = bench.device(2);
    mallory.password.push('x');
    assert_eq!(mallory.allocates(&bench), Came::Refused(401));
    let mut mallory = bench.device(3);
    mallory.name = "nonsense".to_owned();
    assert_eq!(mallory.allocates(&bench), Came::Refused(401));
}

#[tokio::test]
async fn expired_credentials_cannot_allocate_or_refresh() {
    let mut bench = Bench::new();
    let (mut early, mut late) = (bench.device(1), bench.device(2));
    assert!(granted(&early.allocates(&bench)));
    for _ in 0..72 {
        bench.wait(Duration::from_secs(599)); // of 43,200 s that credentials are good
        assert_eq!(early.refreshes(&bench, 600), Came::Good(Some(GRANTED), None));
    }
    bench.wait(Duration::from_secs(300));

    assert_eq!(early.refreshes(&bench, 600), Came::Refused(401));
    assert_eq!(late.allocates(&bench), Came::Refused(401));
    bench.wait(Duration::from_secs(400));
    assert!(bench.clients.is_stranger(early.line), "it ended by itself");
}

#[tokio::test]
async fn allocation_lifetime_is_clamped_to_bounds() {
    let mut bench = Bench::new();
    let mut alice = bench.device(1);
    assert!(granted(&alice.allocates(&bench)));

    assert_eq!(alice.refreshes(&bench, 1_000_000), Came::Good(Some(3600), None));
    assert_eq!(alice.refreshes(&bench, 1), Came::Good(Some(GRANTED), None));
    assert_eq!(alice.refreshes(&bench, 0), Came::Good(Some(0), None));
    assert!(bench.clients.is_stranger(alice.line));
    bench.wait(UNAUTHENTICATED_TIMEOUT);
    assert_eq!(alice.refreshes(&bench, 600), Came::Refused(437), "nobody knows it any more");
}

#[tokio::test]
async fn permission_list_with_forbidden_peer_is_rejected() {
    let bench = Bench::new();
    let mut alice = bench.device(1);
    alice.allocates(&bench);

    for peer in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "::1", "ff02::1"] {
        assert_eq!(alice.permits(&bench, &[peer]), Came::Refused(403), "{peer}");
    }
    assert_eq!(alice.permits(&bench, &["8.8.8.8", "192.168.0.1"]), Came::Refused(403));
    let inside = SocketAddr::from(([127, 0, 0, 1], 9));
    assert_eq!(alice.binds(&bench, 0x4000, inside), Came::Refused(403));
    assert_eq!(alice.permits(&bench, &["8.8.8.8", "1.1.1.1"]), Came::Good(None, None));
}

#[tokio::test]
async fn allocation_of_another_user_is_rejected_with_441() {
    let bench = Bench::new();
    let mut alice = bench.device(1);
    alice.allocates(&bench);

    alice.becomes(&bench, UserId::new());

    assert_eq!(alice.permits(&bench, &["8.8.8.8"]), Came::Refused(441));
    assert_eq!(alice.refreshes(&bench, 0), Came::Refused(441));
}

#[tokio::test]
async fn user_and_server_allocation_quotas_return_508() {
    let bench = Bench::new();
    let alice = UserId::new();
    let mut devices: Vec<_> = (1..=3).map(|port| bench.device(port)).collect();
    for device in &mut devices {
        device.becomes(&bench, alice);
    }
    let came: Vec<_> = devices.iter_mut().map(|device| device.allocates(&bench)).collect();
    assert!(granted(&came[0]) && granted(&came[1]));
    assert_eq!(came[2], Came::Refused(508), "her third of two");

    assert!(granted(&bench.device(4).allocates(&bench)));
    assert_eq!(bench.device(5).allocates(&bench), Came::Refused(508), "the fourth of three");
    devices[0].refreshes(&bench, 0);
    assert!(granted(&devices[2].allocates(&bench)));
}

#[tokio::test]
async fn retransmitted_allocate_returns_same_response() {
    let bench = Bench::new();
    let mut alice = bench.device(1);
    alice.allocates(&bench);
    let free = bench.device(2).allocates(&bench);
    assert!(granted(&free));
    alice.refreshes(&bench, 0);

    let packet =
        alice.request(3, &[&turn_server_proto::types::attribute::RequestedTransport::new(17)]);
    let (first, second) = (alice.sends(&bench, &packet), alice.sends(&bench, &packet));

    assert!(granted(&first));
    assert_eq!(first, second);
    assert_eq!(alice.allocates(&bench), Came::Refused(437), "another one is a second one");
}

#[tokio::test]
async fn peer_data_without_permission_is_dropped() {
    let bench = Bench::new();
    let mut alice = bench.device(1);
    let Came::Good(_, Some(relayed)) = alice.allocates(&bench) else { panic!("an address") };
    let peer = SocketAddr::from(([8, 8, 8, 8], 53));
    let other = SocketAddr::from(([9, 9, 9, 9], 53));
    assert_eq!(alice.binds(&bench, 0x4001, peer), Came::Good(None, None));

    bench.clients.heard(bench.now, alice.line, (other, relayed), b"psst");
    bench.clients.heard(bench.now, alice.line, (peer, relayed), b"hello");

    assert_eq!(alice.heard.try_recv().unwrap(), b"\x40\x01\x00\x05hello\0\0\0");
    assert!(alice.heard.try_recv().is_err());
}

#[tokio::test]
async fn peer_data_without_channel_arrives_as_data_indication() {
    let bench = Bench::new();
    let mut alice = bench.device(1);
    let Came::Good(_, Some(relayed)) = alice.allocates(&bench) else { panic!("an address") };
    assert_eq!(alice.permits(&bench, &["8.8.8.8"]), Came::Good(None, None));
    let peer = SocketAddr::from(([8, 8, 8, 8], 53));

    bench.clients.heard(bench.now, alice.line, (peer, relayed), b"hello");

    let heard = alice.heard.try_recv().unwrap();
    assert_eq!(heard[..2], [0x00, 0x17]);
    assert!(heard.windows(5).any(|window| window == b"hello"));
}

#[tokio::test]
async fn unauthenticated_clients_are_bounded_and_expire() {
    let mut bench = Bench::new();
    let mut first = bench.device(1);
    assert!(granted(&first.allocates(&bench)));
    for port in 0..MAX_UNAUTHENTICATED_CLIENTS + 1000 {
        let mut stranger = bench.device(u16::try_from(1000 + port).unwrap());
        let packet = stranger
            .request(3, &[&turn_server_proto::types::attribute::RequestedTransport::new(17)]);
        assert_eq!(stranger.sends(&bench, &packet), Came::Refused(401));
    }
    assert!(bench.clients.count() <= MAX_UNAUTHENTICATED_CLIENTS + 1);

    bench.wait(UNAUTHENTICATED_TIMEOUT);

    assert_eq!(bench.clients.count(), 1, "who has an allocation stays");
}

/// A relay that fails when it hears "panic".
struct Fragile(ProtoRelay);

impl TurnRelay for Fragile {
    fn admit(&mut self, username: &str, password: String) {
        self.0.admit(username, password);
    }
    fn receive(&mut self, now: Instant, packet: &[u8], send: &mut OutboundPacket<'_>) {
        self.0.receive(now, packet, send);
    }
    fn hear(
        &mut self,
        now: Instant,
        path: (SocketAddr, SocketAddr),
        packet: &[u8],
        send: &mut OutboundPacket<'_>,
    ) {
        assert_ne!(packet, b"panic", "on purpose");
        self.0.hear(now, path, packet, send);
    }
    fn poll(&mut self, now: Instant, send: &mut OutboundPacket<'_>) -> RelayAction {
        self.0.poll(now, send)
    }
    fn opened(
        &mut self,
        now: Instant,
        family: AddressFamily,
        opened: Result<SocketAddr, RelaySocketError>,
    ) {
        self.0.opened(now, family, opened);
    }
}

#[tokio::test]
async fn panic_in_relay_closes_only_that_allocation() {
    let make = |client, now| Box::new(Fragile(ProtoRelay::new("test", client, now))) as Box<_>;
    let mut bench = Bench::with(Box::new(make));
    let (mut alice, mut bob) = (bench.device(1), bench.device(2));
    let Came::Good(_, Some(relayed)) = alice.allocates(&bench) else { panic!("an address") };
    assert!(granted(&bob.allocates(&bench)));
    let peer = SocketAddr::from(([8, 8, 8, 8], 53));
    let until = bench.new.try_recv().unwrap().until;
    let reading = Abortable::new(std::future::pending::<()>(), until);
    assert!(!reading.is_aborted());

    bench.clients.heard(bench.now, alice.line, (peer, relayed), b"panic");

    assert_eq!(bench.clients.count(), 1);
    assert!(reading.is_aborted(), "her port is closed");
    assert_eq!(alice.refreshes(&bench, 600), Came::Refused(437));
    assert_eq!(bob.refreshes(&bench, 600), Came::Good(Some(GRANTED), None));
}

#[test]
fn turn_messages_are_framed_from_tcp_stream() {
    assert_eq!(length(b"\x00\x01\x00"), Ok(None));
    assert_eq!(length(b"\x00\x01\x00\x08"), Ok(Some(28)));
    assert_eq!(length(b"\x40\x01\x00\x05"), Ok(Some(12)), "padded to four");
    assert!(length(b"\x00\x01\x00\x07").is_err());
    assert!(length(b"\x80\x00\x00\x04").is_err());
    assert!(length(b"\x40\x01\xff\xff").is_err(), "longer than {MAX_MESSAGE_BYTES}");
}

proptest! {
    #[test]
    fn arbitrary_packets_do_not_panic_turn_server(packet in bytes(), cut in 0usize..64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::with(Box::new(|client, now| Box::new(ProtoRelay::new("test", client, now))));
            let mut alice = bench.device(1);
            alice.allocates(&bench);
            let _ = (length(&packet), StunMessage::read(&packet).map(|r| r.peers().count()));
            for packet in [&packet[..], packet.get(cut..).unwrap_or_default()] {
                bench.clients.receive(bench.now, alice.line, &alice.way, packet);
            }
            assert!(!bench.clients.is_stranger(alice.line), "a panic would have ended it");
        });
    }
}

/// Anything, and what looks like messages.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let attribute = (
        prop_oneof![Just(0x06_u16), Just(0x12), Just(0x0c), Just(0x0d), Just(0x13), any::<u16>()],
        proptest::collection::vec(any::<u8>(), 0..24),
    );
    let message = (0_u8..2, any::<u8>(), proptest::collection::vec(attribute, 0..6)).prop_map(
        |(high, low, attributes)| {
            let mut body = Vec::new();
            for (kind, value) in attributes {
                body.extend(kind.to_be_bytes());
                body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
                body.extend(&value);
                body.resize(body.len().next_multiple_of(4), 0);
            }
            let mut packet = vec![high, low];
            packet.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
            packet.extend([0x21, 0x12, 0xa4, 0x42]);
            packet.extend([9; 12]);
            packet.extend(body);
            packet
        },
    );
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), message]
}
