//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): written
//! about packets of a publisher, and read about packets to a subscriber.

mod receiver;
mod sender;

use std::time::Duration;

pub(crate) use receiver::TwccReceiver;
pub(crate) use sender::{PacketResult, TwccSender};

/// RTCP packet type of the feedback (transport layer feedback).
pub(crate) const PACKET_TYPE: u8 = 205;
/// Feedback message type of the feedback.
pub(crate) const FEEDBACK_FORMAT: u8 = 15;

/// Unit of receive deltas.
const DELTA_UNIT: Duration = Duration::from_micros(250);
/// Receive delta units in the unit of the reference time, 64 ms.
const REFERENCE_TIME_TICKS: i64 = 256;

/// Packet status symbols (§3.1.1).
const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

/// The extended sequence number closest to `near` with these low 16 bits.
fn unwrap_sequence(sequence: u16, near: u64) -> Option<u64> {
    let step = sequence.wrapping_sub(near as u16) as i16;
    near.checked_add_signed(i64::from(step))
}

#[cfg(test)]
mod tests;
