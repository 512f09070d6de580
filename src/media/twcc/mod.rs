//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): what came when, told
//! to a publisher, and heard from a subscriber.

mod receiver;
mod sender;

pub(crate) use receiver::TwccReceiver;
pub(crate) use sender::{PacketResult, TwccSender};

use std::time::Duration;

/// Payload type and format of the feedback in RTCP.
pub(crate) const PACKET_TYPE: u8 = 205;
/// The format field of such a packet.
pub(crate) const FORMAT: u8 = 15;

/// The unit of arrival times.
const TICK: Duration = Duration::from_micros(250);
/// Ticks in the unit of the reference time, 64 ms.
const REFERENCE: i64 = 256;

const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

/// The most packets that one run-length chunk tells of.
const MAX_RUN_LENGTH: usize = 0x1fff;

/// The full number nearest to `near` that ends in these 16 bits.
fn unwrap(sequence: u16, near: u64) -> Option<u64> {
    let step = sequence.wrapping_sub(near as u16) as i16;
    near.checked_add_signed(i64::from(step))
}

#[cfg(test)]
mod tests;
