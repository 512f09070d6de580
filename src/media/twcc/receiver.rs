//! Records the arrival of a publisher's packets, and writes the feedback about them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{
    DELTA_UNIT, FEEDBACK_FORMAT, LARGE_DELTA, NOT_RECEIVED, PACKET_TYPE, REFERENCE_TIME_TICKS,
    SMALL_DELTA, unwrap_sequence,
};
use crate::limits::{MAX_PACKET_STATUSES, MAX_PENDING_PACKETS, MAX_RUN_LENGTH};

/// Interval of feedback while packets arrive.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);

/// Arrival times of packets that were not reported yet.
#[derive(Debug)]
pub(crate) struct TwccReceiver {
    epoch: Instant,
    /// Extended sequence number of the first packet to report.
    base_index: Option<u64>,
    /// From `base_index` on: ticks of 250 µs since the epoch; `None` if not received.
    pending_ticks: VecDeque<Option<i64>>,
    /// When the first of them arrived.
    first_arrival: Option<Instant>,
    feedback_count: u8,
    symbols: Vec<u8>,
    deltas: Vec<u8>,
}

impl TwccReceiver {
    /// A receiver without packets; times are relative to `epoch`.
    pub(crate) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            base_index: None,
            pending_ticks: VecDeque::new(),
            first_arrival: None,
            feedback_count: 0,
            symbols: Vec::new(),
            deltas: Vec::new(),
        }
    }

    /// Records the transport-wide sequence number of a packet. One that was already reported as lost stays
    /// lost.
    pub(crate) fn on_packet(&mut self, now: Instant, sequence: u16) {
        let base = *self.base_index.get_or_insert(1 << 16 | u64::from(sequence));
        let near = base + self.pending_ticks.len() as u64;
        let Some(index) = unwrap_sequence(sequence, near) else { return };
        if index < base {
            return;
        }
        if index - base >= MAX_PENDING_PACKETS {
            self.base_index = Some(index);
            self.pending_ticks.clear();
        }
        let position = (index - self.base_index.unwrap_or(index)) as usize;
        if self.pending_ticks.len() <= position {
            self.pending_ticks.resize(position + 1, None);
        }
        let ticks = now.saturating_duration_since(self.epoch).as_micros() / DELTA_UNIT.as_micros();
        if let Some(entry) = self.pending_ticks.get_mut(position)
            && entry.is_none()
        {
            *entry = Some(ticks as i64);
            self.first_arrival.get_or_insert(now);
        }
    }

    /// When feedback is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.first_arrival.map(|oldest| oldest + FEEDBACK_INTERVAL)
    }

    /// Appends all pending feedback as complete RTCP packets: from `sender_ssrc` about `media_ssrc`, which may be any
    /// stream of the transport.
    pub(crate) fn write(&mut self, sender_ssrc: u32, media_ssrc: u32, out: &mut Vec<u8>) {
        self.first_arrival = None;
        while !self.pending_ticks.is_empty() {
            self.write_one(sender_ssrc, media_ssrc, out);
        }
    }

    fn write_one(&mut self, sender_ssrc: u32, media_ssrc: u32, out: &mut Vec<u8>) {
        let base = self.base_index.unwrap_or_default();
        let first = self.pending_ticks.iter().flatten().next().copied().unwrap_or_default();
        let reference = first.div_euclid(REFERENCE_TIME_TICKS);
        self.collect(reference * REFERENCE_TIME_TICKS);

        let start = out.len();
        out.extend([0x80 | FEEDBACK_FORMAT, PACKET_TYPE, 0, 0]);
        out.extend(sender_ssrc.to_be_bytes());
        out.extend(media_ssrc.to_be_bytes());
        out.extend((base as u16).to_be_bytes());
        out.extend((self.symbols.len() as u16).to_be_bytes());
        out.extend([
            (reference >> 16) as u8,
            (reference >> 8) as u8,
            reference as u8,
            self.feedback_count,
        ]);
        write_chunks(&self.symbols, out);
        out.extend(&self.deltas);
        pad(start, out);

        self.feedback_count = self.feedback_count.wrapping_add(1);
        self.base_index = Some(base + self.symbols.len() as u64);
    }

    /// Moves the pending packets that fit into one feedback packet into symbols and deltas.
    fn collect(&mut self, mut last: i64) {
        self.symbols.clear();
        self.deltas.clear();
        while let Some(&arrived) = self.pending_ticks.front()
            && self.symbols.len() < MAX_PACKET_STATUSES
        {
            match arrived.map(|ticks| (ticks, ticks - last)) {
                None => self.symbols.push(NOT_RECEIVED),
                Some((ticks, delta)) => {
                    if let Ok(small) = u8::try_from(delta) {
                        self.symbols.push(SMALL_DELTA);
                        self.deltas.push(small);
                    } else if let Ok(large) = i16::try_from(delta) {
                        self.symbols.push(LARGE_DELTA);
                        self.deltas.extend(large.to_be_bytes());
                    } else {
                        // More than eight seconds apart: needs a new packet with its own reference time. It
                        // cannot be the first one here, from which the reference time is taken.
                        return;
                    }
                    last = ticks;
                }
            }
            self.pending_ticks.pop_front();
        }
    }
}

/// Encodes run-length or status vector chunks, whichever covers more packets (§3.1.3, §3.1.4).
fn write_chunks(mut symbols: &[u8], out: &mut Vec<u8>) {
    while let Some(&first) = symbols.first() {
        let run =
            symbols.iter().take(MAX_RUN_LENGTH).take_while(|symbol| **symbol == first).count();
        let fits_one_bit = symbols.iter().take(14).all(|symbol| *symbol != LARGE_DELTA);
        let vector = if fits_one_bit { 14 } else { 7 };
        if run >= vector.min(symbols.len()) {
            out.extend((u16::from(first) << 13 | run as u16).to_be_bytes());
            symbols = symbols.get(run..).unwrap_or_default();
            continue;
        }
        let (mut chunk, bits) = if fits_one_bit { (0x8000, 1) } else { (0xc000, 2) };
        for (position, symbol) in symbols.iter().take(vector).enumerate() {
            chunk |= u16::from(*symbol) << (14 - bits * (position + 1));
        }
        out.extend(u16::to_be_bytes(chunk));
        symbols = symbols.get(vector..).unwrap_or_default();
    }
}

/// Pads a packet to a multiple of four bytes and writes its length into the header.
fn pad(start: usize, out: &mut Vec<u8>) {
    let padding = (4 - (out.len() - start) % 4) % 4;
    if padding > 0 {
        out.resize(out.len() + padding - 1, 0);
        out.push(padding as u8);
    }
    let words = ((out.len() - start) / 4 - 1) as u16;
    if let Some([flags, _, high, low, ..]) = out.get_mut(start..) {
        *flags |= u8::from(padding > 0) << 5;
        [*high, *low] = words.to_be_bytes();
    }
}
