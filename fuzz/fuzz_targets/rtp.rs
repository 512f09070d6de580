//! Any bytes as a packet of RTP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::hostile;

fuzz_target!(|bytes: &[u8]| hostile::rtp(bytes));
