//! Under which addresses clients reach this machine.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use crate::config::Config;

/// The configured addresses, or those found: that of the interface which leads out, and the
/// machine's own where people use the server under a local name.
pub fn addresses(config: &Config) -> Vec<IpAddr> {
    if !config.media.external_addresses.is_empty() {
        return config.media.external_addresses.clone();
    }
    let bind = config.media.bind;
    if !bind.is_unspecified() {
        return vec![bind];
    }
    let url = &config.http.public_url;
    let local = url.contains("//localhost") || url.contains("//127.") || url.contains("//[::1]");
    let mut found = Vec::new();
    if local {
        found.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    found.extend(outward().filter(|address| !local || !address.is_loopback()));
    if found.is_empty() {
        found.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    found
}

/// The address from which a packet to the world would go. Connecting a UDP socket sends nothing;
/// the target is one of those kept for documentation (RFC 5737).
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
