//! Under which addresses clients find the server (RFC 7064, RFC 7065).

use std::net::IpAddr;

use super::sockets::TurnSockets;
use crate::config::Config;

/// What `ice_servers` says of the embedded server.
pub fn urls(config: &Config, addresses: &[IpAddr], sockets: &TurnSockets) -> Vec<String> {
    let site = site(&config.http.public_url);
    let host = if config.turn.public_host.is_empty() {
        // One that others can reach, if there is one: a server at home knows itself as 127.0.0.1 too.
        let outside = addresses.iter().find(|address| !address.is_loopback());
        outside.or_else(|| addresses.first()).map_or_else(|| site.to_owned(), bracketed)
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
        // The certificate names the site.
        let host = if config.turn.public_host.is_empty() { site } else { &host };
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
fn site(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
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
            assert_eq!(site(url), host);
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

        let told = urls(&config, &addresses, &sockets);

        assert_eq!(told[0], format!("stun:192.0.2.7:{port}"));
        assert_eq!(told[2], format!("turn:192.0.2.7:{port}?transport=tcp"));
        config.turn.public_host = "turn.example".to_owned();
        assert_eq!(urls(&config, &addresses, &sockets)[0], format!("stun:turn.example:{port}"));
    }
}
