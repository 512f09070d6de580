//! The interface of a relay: a value that is given events with their time and returns actions.

use std::net::SocketAddr;
use std::time::Instant;

/// The relay state of one client (RFC 8656): authentication, allocations, permissions and channels.
/// It has no socket and no clock.
///
/// It is a trait so that the library behind it can be replaced.
pub(super) trait TurnRelay {
    /// Accepts clients with this username and password. A second password for the same name
    /// replaces the first.
    fn set_password(&mut self, username: &str, password: String);

    /// Handles one complete message of the client; `send` is called for each packet this causes.
    fn receive(&mut self, now: Instant, packet: &[u8], send: &mut OutboundPacket<'_>);

    /// Handles a datagram that was sent from the peer, the first address, to the relayed one, the
    /// second.
    fn receive_from_peer(
        &mut self,
        now: Instant,
        path: (SocketAddr, SocketAddr),
        packet: &[u8],
        send: &mut OutboundPacket<'_>,
    );

    /// The next action, until it is [`RelayAction::Wait`].
    fn poll(&mut self, now: Instant, send: &mut OutboundPacket<'_>) -> RelayAction;

    /// Completes [`RelayAction::Open`]: the relayed address as peers see it, or why there is none.
    fn opened(
        &mut self,
        now: Instant,
        family: AddressFamily,
        opened: Result<SocketAddr, RelaySocketError>,
    );
}

/// Callback that sends a packet.
pub(super) type OutboundPacket<'a> = dyn FnMut(PacketDestination, &[u8]) + 'a;

/// Where a packet is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketDestination {
    /// To the client.
    Client,
    /// From the relayed address to a peer.
    Peer {
        /// The relayed transport address of the client.
        relayed: SocketAddr,
        /// The address of the peer.
        peer: SocketAddr,
    },
}

/// An action that a relay requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RelayAction {
    /// Open a socket for peers.
    Open(AddressFamily),
    /// Close the socket of this relayed address.
    Close(SocketAddr),
    /// Do nothing until this time.
    Wait(Instant),
}

/// Address family of a relayed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Why no socket was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelaySocketError {
    /// The server has no address of that family: error 440.
    Family,
    /// A quota is used up, or no port is free: error 508.
    Capacity,
}
