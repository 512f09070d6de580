//! The URLs under which clients reach the server (RFC 7064, RFC 7065).

use std::net::IpAddr;

use super::sockets::TurnSockets;
use crate::config::Config;

/// The URLs of the embedded server for `ice_servers`.
pub fn urls(config: &Config, addresses: &[IpAddr], sockets: &TurnSockets) -> Vec<String> {
    let public_host = host_of(&config.http.public_url);
    let host = if config.turn.public_host.is_empty() {
        // Prefer an address that others can reach: a server at home also has 127.0.0.1.
        let reachable = addresses.iter().find(|address| !address.is_loopback());
        reachable.or_else(|| addresses.first()).map_or_else(|| public_host.to_owned(), bracketed)
    } else {
        config.turn.public_host.clone()
    };
    let port = sockets.port();
    let mut urls = vec![
        format!("stun:{host}:{port}"),
        format!("turn:{host}:{port}?transport=udp"),
        format!("turn:{host}:{port}?transport=tcp"),
    ];
    if let Some(port) = sockets.tls_port() {
        // The certificate is issued for the public host.
        let host = if config.turn.public_host.is_empty() { public_host } else { &host };
        urls.push(format!("turns:{host}:{port}?transport=tcp"));
    }
    urls
}

fn bracketed(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// The host of a URL.
fn host_of(url: &str) -> &str {
    let authority_and_path =
        url.split_once("://").map_or(url, |(_, authority_and_path)| authority_and_path);
    let authority = authority_and_path.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_extracted_from_url() {
        for (url, host) in [
            ("https://chat.example", "chat.example"),
            ("https://chat.example:8443/path", "chat.example"),
            ("http://[::1]:8080", "[::1]"),
            ("http://[::1]", "[::1]"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }

    #[test]
    fn turn_urls_advertise_reachable_address() {
        let mut config = crate::config::load("", []).unwrap();
        (config.turn.bind, config.turn.port) = ([127, 0, 0, 1].into(), 0);
        let sockets = TurnSockets::bind(&config.turn, false).unwrap();
        let addresses = ["127.0.0.1", "192.0.2.7"].map(|address| address.parse().unwrap());
        let port = sockets.port();
        assert_ne!(port, 0);

        let advertised = urls(&config, &addresses, &sockets);

        assert_eq!(advertised[0], format!("stun:192.0.2.7:{port}"));
        assert_eq!(advertised[2], format!("turn:192.0.2.7:{port}?transport=tcp"));
        config.turn.public_host = "turn.example".to_owned();
        assert_eq!(urls(&config, &addresses, &sockets)[0], format!("stun:turn.example:{port}"));
    }
}
