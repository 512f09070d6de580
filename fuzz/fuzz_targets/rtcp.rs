//! Any bytes as a compound of RTCP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::fuzz_targets;
use std::time::Instant;

fuzz_target!(|bytes: &[u8]| fuzz_targets::rtcp(Instant::now(), bytes));
