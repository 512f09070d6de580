//! Any bytes as a packet of RTP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::fuzz_targets;

fuzz_target!(|bytes: &[u8]| fuzz_targets::rtp(bytes));
