//! Settings of the HTTP listener.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `[http]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    pub bind: SocketAddr,
    pub public_url: String,
    pub workers: usize,
    pub max_connections: usize,
    pub trusted_proxies: Vec<Network>,
    pub allowed_origins: Vec<String>,
    pub max_body_bytes: usize,
    pub tls_certificate_file: PathBuf,
    pub tls_key_file: PathBuf,
    pub hsts: bool,
}

impl HttpConfig {
    /// Whether this server itself terminates TLS.
    pub fn has_tls(&self) -> bool {
        !self.tls_certificate_file.as_os_str().is_empty()
    }

    /// Whether a browser page of this origin may call the API: the public URL's origin, or an
    /// allowed one.
    pub fn allows_origin(&self, origin: &str) -> bool {
        let public = self.public_url.trim_end_matches('/');
        origin == public || self.allowed_origins.iter().any(|o| o == "*" || o == origin)
    }

    /// Whether `X-Forwarded-For` from this address is trusted.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(peer))
    }
}

/// A network in CIDR notation; a bare address is a network of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether `ip` is in the network; an IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.bits);
                u64::from(net.to_bits()) >> shift == u64::from(ip.to_bits()) >> shift
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("`{text}` is not a network such as 10.0.0.0/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let max_bits = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(max_bits), |b| b.parse().map_err(|_| invalid()))?;
        if bits > max_bits { Err(invalid()) } else { Ok(Self { address, bits }) }
    }
}

impl TryFrom<String> for Network {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{}/{}", self.address, self.bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cidr_network_contains_only_its_addresses() {
        let net: Network = "10.1.0.0/16".parse().unwrap();
        assert!(net.contains("10.1.255.1".parse().unwrap()));
        assert!(net.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!net.contains("10.2.0.1".parse().unwrap()));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("255.255.255.255".parse().unwrap()));
        let six: Network = "2001:db8::/32".parse().unwrap();
        assert!(six.contains("2001:db8:1::1".parse().unwrap()));
        assert!(!six.contains("2001:db9::1".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<Network>().is_err());
    }
}
