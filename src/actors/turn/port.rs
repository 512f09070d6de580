//! A relayed transport address: the socket that the peers of a client see.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;

use base::random::RandomSource;
use futures_util::future::AbortHandle;
use tokio::net::UdpSocket;

use crate::limits::MAX_RELAY_PORT_ATTEMPTS;

/// The socket and its reader; both end when this is dropped.
pub(super) struct RelaySocket {
    socket: Rc<UdpSocket>,
    reader: AbortHandle,
}

impl RelaySocket {
    pub(super) const fn new(socket: Rc<UdpSocket>, reader: AbortHandle) -> Self {
        Self { socket, reader }
    }

    /// Sends to a peer; false if the kernel did not accept the datagram.
    pub(super) fn send(&self, data: &[u8], peer: SocketAddr) -> bool {
        self.socket.try_send_to(data, peer).is_ok()
    }
}

impl Drop for RelaySocket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Opens a random port of this range, so that it cannot be guessed (RFC 8656 §21.2.3); `None` if no
/// free port was found.
pub(super) fn open(
    bind: IpAddr,
    ports: &RangeInclusive<u16>,
    random: &RandomSource,
) -> Option<(UdpSocket, u16)> {
    (0..MAX_RELAY_PORT_ATTEMPTS).find_map(|_| {
        let port = random_port(ports, random);
        bind_socket(SocketAddr::new(bind, port)).ok().map(|socket| (socket, port))
    })
}

fn random_port(ports: &RangeInclusive<u16>, random: &RandomSource) -> u16 {
    let count = u32::from(ports.end().saturating_sub(*ports.start())) + 1;
    let chosen = u32::from_le_bytes(random.bytes()) % count;
    u16::try_from(u32::from(*ports.start()) + chosen).unwrap_or(*ports.end())
}

fn bind_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn relay_ports_cover_exactly_the_configured_range() {
        let random = RandomSource::seeded(1);
        let ports: std::collections::BTreeSet<_> =
            (0..1000).map(|_| random_port(&(65_530..=65_535), &random)).collect();

        assert_eq!(ports.into_iter().collect::<Vec<_>>(), (65_530..=65_535).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn exhausted_port_range_yields_no_relay_port() {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let occupied = std::net::UdpSocket::bind((localhost, 0)).unwrap();
        let port = occupied.local_addr().unwrap().port();

        assert!(open(localhost, &(port..=port), &RandomSource::seeded(1)).is_none());
    }
}
