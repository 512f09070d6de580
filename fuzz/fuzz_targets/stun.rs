//! Any bytes from an address that nobody knows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::{NetworkPath, TransportProtocol, fuzz_targets};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

fuzz_target!(|bytes: &[u8]| {
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    fuzz_targets::stun(Instant::now(), NetworkPath { transport: TransportProtocol::Udp, remote }, bytes);
});
