//! The way back to a client: a datagram, or the queue of its connection.

use std::net::SocketAddr;
use std::rc::Rc;

use metrics::counter;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::message::is_control;
use crate::telemetry::metrics::TURN_DROPPED;

/// What makes two clients two: the 5-tuple without the server's half, which the carrier implies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FiveTuple {
    /// What it comes over.
    pub(super) carrier: ClientTransport,
    /// Where it comes from.
    pub(super) remote: SocketAddr,
}

impl FiveTuple {
    /// The client's address as clients know addresses: IPv4 never in the clothes of IPv6.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.remote.ip().to_canonical(), self.remote.port())
    }
}

/// What a client comes over; each has a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ClientTransport {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
    /// A connection inside TLS.
    Tls,
}

/// How to reach a client.
#[derive(Clone)]
pub(super) enum ClientPath {
    /// With datagrams from this socket to this address.
    Datagrams(Rc<UdpSocket>, SocketAddr),
    /// Through a connection that waits at the other end of this queue.
    Connection(mpsc::Sender<Vec<u8>>),
}

impl ClientPath {
    /// Sends a message; it is lost if the way is full, as on any network.
    pub(super) fn send(&self, message: &[u8]) {
        let sent = match self {
            Self::Datagrams(socket, remote) => socket.try_send_to(message, *remote).is_ok(),
            Self::Connection(queue) => queue.try_send(framed(message)).is_ok(),
        };
        if !sent {
            counter!(TURN_DROPPED, "reason" => "full").increment(1);
        }
    }
}

/// On a connection the data of a channel is padded to four bytes (RFC 8656 §12.5).
fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = message.to_vec();
    if !is_control(message) {
        frame.resize(message.len().next_multiple_of(4), 0);
    }
    frame
}
