//! The addresses under which clients reach this machine.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use crate::config::Config;

/// The configured addresses, or those detected: the address of the default route, and the loopback
/// address where people use the server under a local name.
pub fn addresses(config: &Config) -> Vec<IpAddr> {
    if !config.media.external_addresses.is_empty() {
        return config.media.external_addresses.clone();
    }
    let bind = config.media.bind;
    if !bind.is_unspecified() {
        return vec![bind];
    }
    let url = &config.http.public_url;
    let is_local = url.contains("//localhost") || url.contains("//127.") || url.contains("//[::1]");
    let mut addresses = Vec::new();
    if is_local {
        addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    addresses.extend(default_route_address().filter(|address| !is_local || !address.is_loopback()));
    if addresses.is_empty() {
        addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    addresses
}

/// The source address of a packet to the internet. Connecting a UDP socket sends nothing; the
/// target is a documentation address (RFC 5737).
fn default_route_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
