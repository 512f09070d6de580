//! The relay implemented by `turn-server-proto`, one instance per client.
//!
//! One instance per client because the library looks clients up linearly, cannot forget a user, and
//! may panic: a fault then affects only the client that caused it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use turn_server_proto::api::{
    DelayedMessageOrChannelSend as Payload, SocketAllocateError, TcpConnectError, Transmit,
    TurnServerApi, TurnServerPollRet,
};
use turn_server_proto::server::TurnServer;
use turn_server_proto::types::prelude::DelayedTransmitBuild;
use turn_server_proto::types::stun::TransportType;
use turn_server_proto::types::transmit::TransmitBuild;
use turn_server_proto::types::{AddressFamily as ProtoFamily, Instant as LibraryInstant};

use super::relay::{
    AddressFamily, OutboundPacket, PacketDestination, RelayAction, RelaySocketError, TurnRelay,
};

/// The server address given to the library. It serves only to tell client packets from relayed ones
/// and is shown to nobody.
const SERVER_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1);
/// Bytes that a channel header adds to a datagram.
const CHANNEL_OVERHEAD_BYTES: usize = 4;

/// The relay of one client.
///
/// It treats all transports as datagrams: the owner of a connection splits it into messages.
pub(super) struct ProtoRelay {
    server: TurnServer,
    client: SocketAddr,
    created: Instant,
    scratch: Vec<u8>,
}

impl ProtoRelay {
    /// Creates the relay for the client with this address.
    pub(super) fn new(realm: &str, client: SocketAddr, now: Instant) -> Self {
        let server = TurnServer::new(TransportType::Udp, SERVER_ADDRESS, realm.to_owned());
        Self { server, client, created: now, scratch: Vec::new() }
    }

    fn at(&self, now: Instant) -> LibraryInstant {
        at(self.created, now)
    }

    fn run(&mut self, now: Instant, packet: Transmit<&[u8]>, send: &mut OutboundPacket<'_>) {
        let now = self.at(now);
        let Some(built) = self.server.recv(packet, now) else { return };
        let TransmitBuild { data, from, to, .. } = built;
        let destination = destination(from, to);
        match data {
            Payload::Owned(bytes) => send(destination, &bytes),
            Payload::Range(bytes, range) => {
                if let Some(bytes) = bytes.get(range) {
                    send(destination, bytes);
                }
            }
            // Its `write_into` writes Send indications where Data indications are required.
            Payload::Message(message) => send(destination, &message.build()),
            other @ Payload::Channel(_) => {
                if let Some(buffer) = self.scratch.get_mut(..other.len()) {
                    let length = other.write_into(buffer);
                    send(destination, &self.scratch[..length]);
                }
            }
        }
    }
}

impl TurnRelay for ProtoRelay {
    fn set_password(&mut self, username: &str, password: String) {
        self.server.add_user(username.to_owned(), password);
    }

    fn receive(&mut self, now: Instant, packet: &[u8], send: &mut OutboundPacket<'_>) {
        self.run(now, Transmit::new(packet, TransportType::Udp, self.client, SERVER_ADDRESS), send);
    }

    fn receive_from_peer(
        &mut self,
        now: Instant,
        (peer, relayed): (SocketAddr, SocketAddr),
        packet: &[u8],
        send: &mut OutboundPacket<'_>,
    ) {
        if self.scratch.len() < packet.len() + CHANNEL_OVERHEAD_BYTES {
            self.scratch.resize(packet.len() + CHANNEL_OVERHEAD_BYTES, 0);
        }
        self.run(now, Transmit::new(packet, TransportType::Udp, peer, relayed), send);
    }

    fn poll(&mut self, now: Instant, send: &mut OutboundPacket<'_>) -> RelayAction {
        let time = self.at(now);
        loop {
            while let Some(Transmit { data, from, to, .. }) = self.server.poll_transmit(time) {
                send(destination(from, to), &data);
            }
            match self.server.poll(time) {
                TurnServerPollRet::AllocateSocket { family, .. } => {
                    return RelayAction::Open(match family {
                        ProtoFamily::IPV4 => AddressFamily::V4,
                        ProtoFamily::IPV6 => AddressFamily::V6,
                    });
                }
                TurnServerPollRet::SocketClose { listen_addr, .. } => {
                    return RelayAction::Close(listen_addr);
                }
                TurnServerPollRet::WaitUntil(until) => {
                    return RelayAction::Wait(now + until.saturating_duration_since(time));
                }
                // Connections to peers (RFC 6062) can be requested over connections only.
                TurnServerPollRet::TcpConnect {
                    relayed_addr,
                    peer_addr,
                    listen_addr,
                    client_addr,
                } => {
                    let refused = Err(TcpConnectError::Forbidden);
                    self.server.tcp_connected(
                        relayed_addr,
                        peer_addr,
                        listen_addr,
                        client_addr,
                        refused,
                        time,
                    );
                }
                TurnServerPollRet::TcpClose { .. } => {}
            }
        }
    }

    fn opened(
        &mut self,
        now: Instant,
        family: AddressFamily,
        opened: Result<SocketAddr, RelaySocketError>,
    ) {
        let family = match family {
            AddressFamily::V4 => ProtoFamily::IPV4,
            AddressFamily::V6 => ProtoFamily::IPV6,
        };
        let opened = opened.map_err(|error| match error {
            RelaySocketError::Family => SocketAllocateError::AddressFamilyNotSupported,
            RelaySocketError::Capacity => SocketAllocateError::InsufficientCapacity,
        });
        let (udp, now) = (TransportType::Udp, self.at(now));
        self.server.allocated_socket(udp, SERVER_ADDRESS, self.client, udp, family, opened, now);
    }
}

/// A time of the library: nanoseconds since the relay was created, never negative.
fn at(created: Instant, now: Instant) -> LibraryInstant {
    let elapsed = now.saturating_duration_since(created).min(Duration::from_secs(u32::MAX.into()));
    LibraryInstant::from_nanos(i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX))
}

fn destination(from: SocketAddr, to: SocketAddr) -> PacketDestination {
    if from == SERVER_ADDRESS {
        PacketDestination::Client
    } else {
        PacketDestination::Peer { relayed: from, peer: to }
    }
}
