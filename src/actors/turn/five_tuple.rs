//! The identity of a client, and the path back to it: a datagram socket, or the queue of its
//! connection.

use std::net::SocketAddr;
use std::rc::Rc;

use metrics::counter;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::message::is_control;
use crate::telemetry::metrics::TURN_DROPPED;

/// Identity of a client: the 5-tuple without the server's half, which the transport implies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FiveTuple {
    /// The client's transport.
    pub(super) transport: ClientTransport,
    /// The client's transport address.
    pub(super) remote: SocketAddr,
}

impl FiveTuple {
    /// The client's address in canonical form: never an IPv4-mapped IPv6 address.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.remote.ip().to_canonical(), self.remote.port())
    }
}

/// The transport of a client; each has its own server port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ClientTransport {
    /// Datagrams.
    Udp,
    /// A TCP connection.
    Tcp,
    /// A TLS connection.
    Tls,
}

/// How to send to a client.
#[derive(Clone)]
pub(super) enum ClientPath {
    /// With datagrams from this socket to this address.
    Datagrams(Rc<UdpSocket>, SocketAddr),
    /// Through a connection that reads from this queue.
    Connection(mpsc::Sender<Vec<u8>>),
}

impl ClientPath {
    /// Sends a message; if the socket or queue is full it is lost, as on any network.
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

/// On a connection, channel data is padded to four bytes (RFC 8656 §12.5).
fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = message.to_vec();
    if !is_control(message) {
        frame.resize(message.len().next_multiple_of(4), 0);
    }
    frame
}
