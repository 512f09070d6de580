//! Clients in memory: authentication, reachable peers, and expiry.

mod device;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base::ids::UserId;
use futures_util::future::Abortable;
use proptest::prelude::*;

use self::device::{RequestOutcome, TestServer};
use super::client::UNAUTHENTICATED_TIMEOUT;
use super::message::{StunMessage, first_message_length};
use super::proto_relay::ProtoRelay;
use super::relay::{AddressFamily, OutboundPacket, RelayAction, RelaySocketError, TurnRelay};
use crate::limits::{MAX_TURN_MESSAGE_BYTES, MAX_UNAUTHENTICATED_TURN_CLIENTS};

const GRANTED: u32 = 600;

fn granted(outcome: &RequestOutcome) -> bool {
    matches!(outcome, RequestOutcome::Success(Some(GRANTED), Some(address)) if address.ip().to_string() == "192.0.2.9")
}

#[tokio::test]
async fn allocate_requires_valid_credentials() {
    let server = TestServer::new();
    let mut alice = server.device(1);
    assert!(granted(&alice.allocate(&server)));

    let mut mallory = server.device(2);
    mallory.password.push('x');
    assert_eq!(mallory.allocate(&server), RequestOutcome::Error(401));
    let mut mallory = server.device(3);
    mallory.name = "nonsense".to_owned();
    assert_eq!(mallory.allocate(&server), RequestOutcome::Error(401));
}

#[tokio::test]
async fn expired_credentials_cannot_allocate_or_refresh() {
    let mut server = TestServer::new();
    let (mut first_client, mut second_client) = (server.device(1), server.device(2));
    assert!(granted(&first_client.allocate(&server)));
    for _ in 0..72 {
        server.advance(Duration::from_secs(599)); // of the 43,200 s lifetime of credentials
        assert_eq!(
            first_client.refresh(&server, 600),
            RequestOutcome::Success(Some(GRANTED), None)
        );
    }
    server.advance(Duration::from_secs(300));

    assert_eq!(first_client.refresh(&server, 600), RequestOutcome::Error(401));
    assert_eq!(second_client.allocate(&server), RequestOutcome::Error(401));
    server.advance(Duration::from_secs(400));
    assert!(server.clients.is_unallocated(first_client.five_tuple), "the allocation has expired");
}

#[tokio::test]
async fn allocation_lifetime_is_clamped_to_bounds() {
    let mut server = TestServer::new();
    let mut alice = server.device(1);
    assert!(granted(&alice.allocate(&server)));

    assert_eq!(alice.refresh(&server, 1_000_000), RequestOutcome::Success(Some(3600), None));
    assert_eq!(alice.refresh(&server, 1), RequestOutcome::Success(Some(GRANTED), None));
    assert_eq!(alice.refresh(&server, 0), RequestOutcome::Success(Some(0), None));
    assert!(server.clients.is_unallocated(alice.five_tuple));
    server.advance(UNAUTHENTICATED_TIMEOUT);
    assert_eq!(alice.refresh(&server, 600), RequestOutcome::Error(437), "the allocation is gone");
}

#[tokio::test]
async fn permission_list_with_forbidden_peer_is_rejected() {
    let server = TestServer::new();
    let mut alice = server.device(1);
    alice.allocate(&server);

    for peer in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "::1", "ff02::1"] {
        assert_eq!(alice.create_permission(&server, &[peer]), RequestOutcome::Error(403), "{peer}");
    }
    assert_eq!(
        alice.create_permission(&server, &["8.8.8.8", "192.168.0.1"]),
        RequestOutcome::Error(403)
    );
    let private_peer = SocketAddr::from(([127, 0, 0, 1], 9));
    assert_eq!(alice.bind_channel(&server, 0x4000, private_peer), RequestOutcome::Error(403));
    assert_eq!(
        alice.create_permission(&server, &["8.8.8.8", "1.1.1.1"]),
        RequestOutcome::Success(None, None)
    );
}

#[tokio::test]
async fn allocation_of_another_user_is_rejected_with_441() {
    let server = TestServer::new();
    let mut alice = server.device(1);
    alice.allocate(&server);

    alice.set_user(&server, UserId::new());

    assert_eq!(alice.create_permission(&server, &["8.8.8.8"]), RequestOutcome::Error(441));
    assert_eq!(alice.refresh(&server, 0), RequestOutcome::Error(441));
}

#[tokio::test]
async fn user_and_server_allocation_quotas_return_508() {
    let server = TestServer::new();
    let alice = UserId::new();
    let mut devices: Vec<_> = (1..=3).map(|port| server.device(port)).collect();
    for device in &mut devices {
        device.set_user(&server, alice);
    }
    let outcomes: Vec<_> = devices.iter_mut().map(|device| device.allocate(&server)).collect();
    assert!(granted(&outcomes[0]) && granted(&outcomes[1]));
    assert_eq!(outcomes[2], RequestOutcome::Error(508), "the third of two per user");

    assert!(granted(&server.device(4).allocate(&server)));
    assert_eq!(
        server.device(5).allocate(&server),
        RequestOutcome::Error(508),
        "the fourth of three in total"
    );
    devices[0].refresh(&server, 0);
    assert!(granted(&devices[2].allocate(&server)));
}

#[tokio::test]
async fn retransmitted_allocate_returns_same_response() {
    let server = TestServer::new();
    let mut alice = server.device(1);
    alice.allocate(&server);
    let granted_outcome = server.device(2).allocate(&server);
    assert!(granted(&granted_outcome));
    alice.refresh(&server, 0);

    let packet =
        alice.request(3, &[&turn_server_proto::types::attribute::RequestedTransport::new(17)]);
    let (first, second) = (alice.send(&server, &packet), alice.send(&server, &packet));

    assert!(granted(&first));
    assert_eq!(first, second);
    assert_eq!(
        alice.allocate(&server),
        RequestOutcome::Error(437),
        "another request is not a retransmission"
    );
}

#[tokio::test]
async fn peer_data_without_permission_is_dropped() {
    let server = TestServer::new();
    let mut alice = server.device(1);
    let RequestOutcome::Success(_, Some(relayed)) = alice.allocate(&server) else {
        panic!("no relayed address")
    };
    let peer = SocketAddr::from(([8, 8, 8, 8], 53));
    let other = SocketAddr::from(([9, 9, 9, 9], 53));
    assert_eq!(alice.bind_channel(&server, 0x4001, peer), RequestOutcome::Success(None, None));

    server.clients.receive_from_peer(server.now, alice.five_tuple, (other, relayed), b"psst");
    server.clients.receive_from_peer(server.now, alice.five_tuple, (peer, relayed), b"hello");

    assert_eq!(alice.received.try_recv().unwrap(), b"\x40\x01\x00\x05hello\0\0\0");
    assert!(alice.received.try_recv().is_err());
}

#[tokio::test]
async fn peer_data_without_channel_arrives_as_data_indication() {
    let server = TestServer::new();
    let mut alice = server.device(1);
    let RequestOutcome::Success(_, Some(relayed)) = alice.allocate(&server) else {
        panic!("no relayed address")
    };
    assert_eq!(alice.create_permission(&server, &["8.8.8.8"]), RequestOutcome::Success(None, None));
    let peer = SocketAddr::from(([8, 8, 8, 8], 53));

    server.clients.receive_from_peer(server.now, alice.five_tuple, (peer, relayed), b"hello");

    let received = alice.received.try_recv().unwrap();
    assert_eq!(received[..2], [0x00, 0x17]);
    assert!(received.windows(5).any(|window| window == b"hello"));
}

#[tokio::test]
async fn unauthenticated_clients_are_bounded_and_expire() {
    let mut server = TestServer::new();
    let mut allocated = server.device(1);
    assert!(granted(&allocated.allocate(&server)));
    for port in 0..MAX_UNAUTHENTICATED_TURN_CLIENTS + 1000 {
        let mut unauthenticated = server.device(u16::try_from(1000 + port).unwrap());
        let packet = unauthenticated
            .request(3, &[&turn_server_proto::types::attribute::RequestedTransport::new(17)]);
        assert_eq!(unauthenticated.send(&server, &packet), RequestOutcome::Error(401));
    }
    assert!(server.clients.count() <= MAX_UNAUTHENTICATED_TURN_CLIENTS + 1);

    server.advance(UNAUTHENTICATED_TIMEOUT);

    assert_eq!(server.clients.count(), 1, "the client with an allocation stays");
}

/// A relay that panics when it receives "panic".
struct PanickingRelay(ProtoRelay);

impl TurnRelay for PanickingRelay {
    fn set_password(&mut self, username: &str, password: String) {
        self.0.set_password(username, password);
    }
    fn receive(&mut self, now: Instant, packet: &[u8], send: &mut OutboundPacket<'_>) {
        self.0.receive(now, packet, send);
    }
    fn receive_from_peer(
        &mut self,
        now: Instant,
        path: (SocketAddr, SocketAddr),
        packet: &[u8],
        send: &mut OutboundPacket<'_>,
    ) {
        assert_ne!(packet, b"panic", "on purpose");
        self.0.receive_from_peer(now, path, packet, send);
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
    let create_relay =
        |client, now| Box::new(PanickingRelay(ProtoRelay::new("test", client, now))) as Box<_>;
    let mut server = TestServer::with(Box::new(create_relay));
    let (mut alice, mut bob) = (server.device(1), server.device(2));
    let RequestOutcome::Success(_, Some(relayed)) = alice.allocate(&server) else {
        panic!("no relayed address")
    };
    assert!(granted(&bob.allocate(&server)));
    let peer = SocketAddr::from(([8, 8, 8, 8], 53));
    let until = server.to_read.try_recv().unwrap().until;
    let reader = Abortable::new(std::future::pending::<()>(), until);
    assert!(!reader.is_aborted());

    server.clients.receive_from_peer(server.now, alice.five_tuple, (peer, relayed), b"panic");

    assert_eq!(server.clients.count(), 1);
    assert!(reader.is_aborted(), "the relay socket is closed");
    assert_eq!(alice.refresh(&server, 600), RequestOutcome::Error(437));
    assert_eq!(bob.refresh(&server, 600), RequestOutcome::Success(Some(GRANTED), None));
}

#[test]
fn turn_messages_are_framed_from_tcp_stream() {
    assert_eq!(first_message_length(b"\x00\x01\x00"), Ok(None));
    assert_eq!(first_message_length(b"\x00\x01\x00\x08"), Ok(Some(28)));
    assert_eq!(first_message_length(b"\x40\x01\x00\x05"), Ok(Some(12)), "padded to four");
    assert!(first_message_length(b"\x00\x01\x00\x07").is_err());
    assert!(first_message_length(b"\x80\x00\x00\x04").is_err());
    assert!(
        first_message_length(b"\x40\x01\xff\xff").is_err(),
        "longer than {MAX_TURN_MESSAGE_BYTES}"
    );
}

proptest! {
    #[test]
    fn arbitrary_packets_do_not_panic_turn_server(packet in bytes(), cut in 0usize..64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = TestServer::with(Box::new(|client, now| Box::new(ProtoRelay::new("test", client, now))));
            let mut alice = server.device(1);
            alice.allocate(&server);
            let _ = (first_message_length(&packet), StunMessage::read(&packet).map(|r| r.peers().count()));
            for packet in [&packet[..], packet.get(cut..).unwrap_or_default()] {
                server.clients.receive(server.now, alice.five_tuple, &alice.path, packet);
            }
            assert!(!server.clients.is_unallocated(alice.five_tuple), "a panic would have removed the client");
        });
    }
}

/// Arbitrary bytes, and bytes that resemble messages.
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
