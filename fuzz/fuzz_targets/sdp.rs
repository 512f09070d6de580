//! Any text as a session description.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::hostile;
use std::time::Instant;

fuzz_target!(|text: &str| hostile::sdp(Instant::now(), text));
