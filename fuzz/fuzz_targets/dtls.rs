//! Any bytes as datagrams of DTLS.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::hostile;
use std::time::Instant;

fuzz_target!(|bytes: &[u8]| hostile::dtls(Instant::now(), bytes));
