//! Replays what fuzzing has collected, so that every find stays found; and for each seed many bytes that are
//! nearly the same.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path as Folder;
use std::time::Instant;

use crate::{NetworkPath, TransportProtocol, fuzz_targets};

/// How often each seed is damaged.
const TIMES: usize = 300;

/// Calls `door` with every seed of a kind, and with what it is after some damage.
fn replay(kind: &str, mut door: impl FnMut(&[u8])) {
    let folder = Folder::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(kind);
    let mut dice = 0x9e37_79b9_u32;
    let mut roll = |most: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        dice as usize % most.max(1)
    };
    let mut seeds = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        seeds += 1;
        door(&seed);
        for _ in 0..TIMES {
            let mut bytes = seed.clone();
            for _ in 0..=roll(4) {
                let at = roll(bytes.len());
                match (roll(4), bytes.is_empty()) {
                    (_, true) => {}
                    (0, _) => bytes[at] ^= 1 << roll(8),
                    (1, _) => bytes[at] = [0, 0xff, 0x80, 0x7f][roll(4)],
                    (2, _) => bytes.truncate(at),
                    _ => {
                        let copy = bytes[at..].to_vec();
                        bytes.splice(at..at, copy);
                        bytes.truncate(1500 * 12);
                    }
                }
            }
            door(&bytes);
        }
    }
    assert!(seeds > 0, "there are seeds of {kind}");
}

#[expect(clippy::disallowed_methods, reason = "a test has a clock of its own")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn stun_corpus_does_not_panic() {
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    replay("stun", |bytes| {
        fuzz_targets::stun(now(), NetworkPath { transport: TransportProtocol::Udp, remote }, bytes);
    });
}

#[test]
fn dtls_corpus_does_not_panic() {
    replay("dtls", |bytes| fuzz_targets::dtls(now(), bytes));
}

#[test]
fn rtp_corpus_does_not_panic() {
    replay("rtp", fuzz_targets::rtp);
}

#[test]
fn rtcp_corpus_does_not_panic() {
    replay("rtcp", |bytes| fuzz_targets::rtcp(now(), bytes));
}

#[test]
fn sdp_corpus_does_not_panic() {
    replay("sdp", |bytes| fuzz_targets::sdp(now(), &String::from_utf8_lossy(bytes)));
}
