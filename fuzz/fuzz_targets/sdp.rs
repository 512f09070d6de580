//! Any text as a session description.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::fuzz_targets;
use std::time::Instant;

fuzz_target!(|text: &str| fuzz_targets::sdp(Instant::now(), text));
