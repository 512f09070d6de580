//! Any bytes as a compound of RTCP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::hostile;
use std::time::Instant;

fuzz_target!(|bytes: &[u8]| hostile::rtcp(Instant::now(), bytes));
