//! What a relay is to us: a value that is told what came and when, and says what to do.

use std::net::SocketAddr;
use std::time::Instant;

/// The state of one client's relaying (RFC 8656): its authentication, allocations, permissions
/// and channels. It has no socket and no clock.
///
/// It is a trait so that the library behind it stays behind it.
pub(super) trait TurnRelay {
    /// From now on a client that knows this password is this user. A second password for the same
    /// name takes the first one's place.
    fn admit(&mut self, username: &str, password: String);

    /// Takes one whole message of the client; `send` is called for what it causes at once.
    fn receive(&mut self, now: Instant, packet: &[u8], send: &mut OutboundPacket<'_>);

    /// Takes a datagram that went from the peer, the first address, to the relayed one, the second.
    fn hear(
        &mut self,
        now: Instant,
        path: (SocketAddr, SocketAddr),
        packet: &[u8],
        send: &mut OutboundPacket<'_>,
    );

    /// What to do next, until it is [`RelayAction::Wait`].
    fn poll(&mut self, now: Instant, send: &mut OutboundPacket<'_>) -> RelayAction;

    /// Answers [`RelayAction::Open`]: the address that peers are told, or why there is none.
    fn opened(
        &mut self,
        now: Instant,
        family: AddressFamily,
        opened: Result<SocketAddr, RelaySocketError>,
    );
}

/// Sends a packet.
pub(super) type OutboundPacket<'a> = dyn FnMut(PacketDestination, &[u8]) + 'a;

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketDestination {
    /// To the client.
    Client,
    /// From the relayed address to a peer.
    Peer {
        /// The client's own address for its peers.
        relayed: SocketAddr,
        /// The peer.
        peer: SocketAddr,
    },
}

/// What a relay wants done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RelayAction {
    /// Open a socket for peers.
    Open(AddressFamily),
    /// Close the one that peers know by this address.
    Close(SocketAddr),
    /// Nothing until then.
    Wait(Instant),
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Why there is no socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelaySocketError {
    /// This server has no address of that family: 440.
    Family,
    /// A quota is used up, or no port is free: 508.
    Capacity,
}
