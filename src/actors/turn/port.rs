//! A relayed address: the socket that a client's peers see.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;

use base::random::RandomSource;
use futures_util::future::AbortHandle;
use tokio::net::UdpSocket;

/// How many ports are tried before a client is told that there is none.
const MAX_PORT_ATTEMPTS: usize = 64;

/// The socket and whoever reads from it; both end with this value.
pub(super) struct RelaySocket {
    socket: Rc<UdpSocket>,
    reading: AbortHandle,
}

impl RelaySocket {
    pub(super) const fn new(socket: Rc<UdpSocket>, reading: AbortHandle) -> Self {
        Self { socket, reading }
    }

    /// Sends to a peer; false if the kernel did not take it.
    pub(super) fn send(&self, data: &[u8], peer: SocketAddr) -> bool {
        self.socket.try_send_to(data, peer).is_ok()
    }
}

impl Drop for RelaySocket {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Opens a port out of these, by chance so that nobody guesses it (RFC 8656 §21.2.3); `None` if
/// none was found.
pub(super) fn open(
    bind: IpAddr,
    ports: &RangeInclusive<u16>,
    entropy: &RandomSource,
) -> Option<(UdpSocket, u16)> {
    (0..MAX_PORT_ATTEMPTS).find_map(|_| {
        let port = any(ports, entropy);
        bound(SocketAddr::new(bind, port)).ok().map(|socket| (socket, port))
    })
}

fn any(ports: &RangeInclusive<u16>, entropy: &RandomSource) -> u16 {
    let count = u32::from(ports.end().saturating_sub(*ports.start())) + 1;
    let chosen = u32::from_le_bytes(entropy.bytes()) % count;
    u16::try_from(u32::from(*ports.start()) + chosen).unwrap_or(*ports.end())
}

fn bound(address: SocketAddr) -> io::Result<UdpSocket> {
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
        let entropy = RandomSource::seeded(1);
        let drawn: std::collections::BTreeSet<_> =
            (0..1000).map(|_| any(&(65_530..=65_535), &entropy)).collect();

        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), (65_530..=65_535).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn exhausted_port_range_yields_no_relay_port() {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let taken = std::net::UdpSocket::bind((here, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();

        assert!(open(here, &(port..=port), &RandomSource::seeded(1)).is_none());
    }
}
