//! Replays the fuzzing corpus as regression tests, with random mutations of each seed.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path as Folder;
use std::time::Instant;

use crate::{NetworkPath, TransportProtocol, fuzz_targets};

/// Number of mutations of each seed.
const MUTATIONS_PER_SEED: usize = 300;

/// Calls `target` with every seed of a kind and with mutations of it.
fn replay(kind: &str, mut target: impl FnMut(&[u8])) {
    let folder = Folder::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(kind);
    let mut state = 0x9e37_79b9_u32;
    let mut random_below = |max: usize| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as usize % max.max(1)
    };
    let mut seeds = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        seeds += 1;
        target(&seed);
        for _ in 0..MUTATIONS_PER_SEED {
            let mut bytes = seed.clone();
            for _ in 0..=random_below(4) {
                let at = random_below(bytes.len());
                match (random_below(4), bytes.is_empty()) {
                    (_, true) => {}
                    (0, _) => bytes[at] ^= 1 << random_below(8),
                    (1, _) => bytes[at] = [0, 0xff, 0x80, 0x7f][random_below(4)],
                    (2, _) => bytes.truncate(at),
                    _ => {
                        let copy = bytes[at..].to_vec();
                        bytes.splice(at..at, copy);
                        bytes.truncate(1500 * 12);
                    }
                }
            }
            target(&bytes);
        }
    }
    assert!(seeds > 0, "no seeds of {kind}");
}

#[expect(clippy::disallowed_methods, reason = "tests use the real clock")]
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
