//! The relay that `turn-server-proto` implements, one value for each client.
//!
//! One value for each client because the library looks clients up one by one, has no way to forget
//! a user, and may panic: what it does wrong ends with the client that caused it.

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

/// The server's address as the library knows it. It tells its own from the relayed addresses by
/// it and shows it to nobody.
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1);
/// What a channel adds to a datagram.
const OVERHEAD: usize = 4;

/// The relay of one client.
///
/// All transports are datagrams to it: whoever holds a connection cuts it into messages.
pub(super) struct ProtoRelay {
    server: TurnServer,
    client: SocketAddr,
    born: Instant,
    scratch: Vec<u8>,
}

impl ProtoRelay {
    /// A relay for the client at this address.
    pub(super) fn new(realm: &str, client: SocketAddr, now: Instant) -> Self {
        let server = TurnServer::new(TransportType::Udp, HERE, realm.to_owned());
        Self { server, client, born: now, scratch: Vec::new() }
    }

    fn at(&self, now: Instant) -> LibraryInstant {
        at(self.born, now)
    }

    fn run(&mut self, now: Instant, packet: Transmit<&[u8]>, send: &mut OutboundPacket<'_>) {
        let now = self.at(now);
        let Some(built) = self.server.recv(packet, now) else { return };
        let TransmitBuild { data, from, to, .. } = built;
        let hop = hop(from, to);
        match data {
            Payload::Owned(bytes) => send(hop, &bytes),
            Payload::Range(bytes, range) => {
                if let Some(bytes) = bytes.get(range) {
                    send(hop, bytes);
                }
            }
            // Its `write_into` makes Send indications of what should be Data indications.
            Payload::Message(message) => send(hop, &message.build()),
            other @ Payload::Channel(_) => {
                if let Some(room) = self.scratch.get_mut(..other.len()) {
                    let length = other.write_into(room);
                    send(hop, &self.scratch[..length]);
                }
            }
        }
    }
}

impl TurnRelay for ProtoRelay {
    fn admit(&mut self, username: &str, password: String) {
        self.server.add_user(username.to_owned(), password);
    }

    fn receive(&mut self, now: Instant, packet: &[u8], send: &mut OutboundPacket<'_>) {
        self.run(now, Transmit::new(packet, TransportType::Udp, self.client, HERE), send);
    }

    fn hear(
        &mut self,
        now: Instant,
        (peer, relayed): (SocketAddr, SocketAddr),
        packet: &[u8],
        send: &mut OutboundPacket<'_>,
    ) {
        if self.scratch.len() < packet.len() + OVERHEAD {
            self.scratch.resize(packet.len() + OVERHEAD, 0);
        }
        self.run(now, Transmit::new(packet, TransportType::Udp, peer, relayed), send);
    }

    fn poll(&mut self, now: Instant, send: &mut OutboundPacket<'_>) -> RelayAction {
        let time = self.at(now);
        loop {
            while let Some(Transmit { data, from, to, .. }) = self.server.poll_transmit(time) {
                send(hop(from, to), &data);
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
                // Connections to peers (RFC 6062) are asked for over connections only.
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
        let opened = opened.map_err(|refusal| match refusal {
            RelaySocketError::Family => SocketAllocateError::AddressFamilyNotSupported,
            RelaySocketError::Capacity => SocketAllocateError::InsufficientCapacity,
        });
        let (udp, now) = (TransportType::Udp, self.at(now));
        self.server.allocated_socket(udp, HERE, self.client, udp, family, opened, now);
    }
}

/// A time of the library: nanoseconds, and never before the relay was made.
fn at(born: Instant, now: Instant) -> LibraryInstant {
    let age = now.saturating_duration_since(born).min(Duration::from_secs(u32::MAX.into()));
    LibraryInstant::from_nanos(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX))
}

fn hop(from: SocketAddr, to: SocketAddr) -> PacketDestination {
    if from == HERE {
        PacketDestination::Client
    } else {
        PacketDestination::Peer { relayed: from, peer: to }
    }
}
