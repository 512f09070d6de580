//! Records when a publisher's packets came, and writes the feedback about them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{
    FORMAT, LARGE_DELTA, MAX_RUN_LENGTH, NOT_RECEIVED, PACKET_TYPE, REFERENCE, SMALL_DELTA, TICK,
    unwrap,
};

/// Feedback goes out this often while packets come.
const INTERVAL: Duration = Duration::from_millis(50);
/// How many packets one feedback tells of: so many that it stays below 1,000 bytes.
const MAX_PACKET_STATUSES: usize = 400;
/// A bigger jump of the sequence numbers is a new beginning.
const MAX_PENDING_PACKETS: u64 = 4096;

/// When the packets came that no feedback told of yet.
#[derive(Debug)]
pub(crate) struct TwccReceiver {
    epoch: Instant,
    /// The first packet to tell of.
    base: Option<u64>,
    /// From `base` on: ticks since the epoch.
    pending: VecDeque<Option<i64>>,
    /// When the first of them came.
    oldest: Option<Instant>,
    count: u8,
    symbols: Vec<u8>,
    deltas: Vec<u8>,
}

impl TwccReceiver {
    /// Nothing has come; times are told from `epoch` on.
    pub(crate) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            base: None,
            pending: VecDeque::new(),
            oldest: None,
            count: 0,
            symbols: Vec::new(),
            deltas: Vec::new(),
        }
    }

    /// A packet came with this transport-wide sequence number. One that was told of as missing
    /// before it came stays missing.
    pub(crate) fn received(&mut self, now: Instant, sequence: u16) {
        let base = *self.base.get_or_insert(1 << 16 | u64::from(sequence));
        let near = base + self.pending.len() as u64;
        let Some(index) = unwrap(sequence, near) else { return };
        if index < base {
            return;
        }
        if index - base >= MAX_PENDING_PACKETS {
            self.base = Some(index);
            self.pending.clear();
        }
        let position = (index - self.base.unwrap_or(index)) as usize;
        if self.pending.len() <= position {
            self.pending.resize(position + 1, None);
        }
        let ticks = now.saturating_duration_since(self.epoch).as_micros() / TICK.as_micros();
        if let Some(place) = self.pending.get_mut(position)
            && place.is_none()
        {
            *place = Some(ticks as i64);
            self.oldest.get_or_insert(now);
        }
    }

    /// When feedback is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.oldest.map(|oldest| oldest + INTERVAL)
    }

    /// Appends what there is to tell, as whole RTCP packets: from `sender` about `media`, which may
    /// be any stream of the transport.
    pub(crate) fn write(&mut self, sender: u32, media: u32, into: &mut Vec<u8>) {
        self.oldest = None;
        while !self.pending.is_empty() {
            self.write_one(sender, media, into);
        }
    }

    fn write_one(&mut self, sender: u32, media: u32, into: &mut Vec<u8>) {
        let base = self.base.unwrap_or_default();
        let first = self.pending.iter().flatten().next().copied().unwrap_or_default();
        let reference = first.div_euclid(REFERENCE);
        self.collect(reference * REFERENCE);

        let start = into.len();
        into.extend([0x80 | FORMAT, PACKET_TYPE, 0, 0]);
        into.extend(sender.to_be_bytes());
        into.extend(media.to_be_bytes());
        into.extend((base as u16).to_be_bytes());
        into.extend((self.symbols.len() as u16).to_be_bytes());
        into.extend([(reference >> 16) as u8, (reference >> 8) as u8, reference as u8, self.count]);
        write_chunks(&self.symbols, into);
        into.extend(&self.deltas);
        pad(start, into);

        self.count = self.count.wrapping_add(1);
        self.base = Some(base + self.symbols.len() as u64);
    }

    /// Takes from the pending what fits into one packet, as symbols and deltas.
    fn collect(&mut self, mut last: i64) {
        self.symbols.clear();
        self.deltas.clear();
        while let Some(&arrived) = self.pending.front()
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
                        // Eight seconds apart: a new packet with a reference time of its own. It
                        // cannot be the first one here, from which the reference is taken.
                        return;
                    }
                    last = ticks;
                }
            }
            self.pending.pop_front();
        }
    }
}

/// Chunks of a run or of a vector, whichever tells more (§3.1.3, §3.1.4).
fn write_chunks(mut symbols: &[u8], into: &mut Vec<u8>) {
    while let Some(&first) = symbols.first() {
        let run =
            symbols.iter().take(MAX_RUN_LENGTH).take_while(|symbol| **symbol == first).count();
        let fits_one_bit = symbols.iter().take(14).all(|symbol| *symbol != LARGE_DELTA);
        let vector = if fits_one_bit { 14 } else { 7 };
        if run >= vector.min(symbols.len()) {
            into.extend((u16::from(first) << 13 | run as u16).to_be_bytes());
            symbols = symbols.get(run..).unwrap_or_default();
            continue;
        }
        let (mut chunk, bits) = if fits_one_bit { (0x8000, 1) } else { (0xc000, 2) };
        for (position, symbol) in symbols.iter().take(vector).enumerate() {
            chunk |= u16::from(*symbol) << (14 - bits * (position + 1));
        }
        into.extend(u16::to_be_bytes(chunk));
        symbols = symbols.get(vector..).unwrap_or_default();
    }
}

/// Ends a packet at a multiple of four bytes, and writes its length into its header.
fn pad(start: usize, into: &mut Vec<u8>) {
    let padding = (4 - (into.len() - start) % 4) % 4;
    if padding > 0 {
        into.resize(into.len() + padding - 1, 0);
        into.push(padding as u8);
    }
    let words = ((into.len() - start) / 4 - 1) as u16;
    if let Some([flags, _, high, low, ..]) = into.get_mut(start..) {
        *flags |= u8::from(padding > 0) << 5;
        [*high, *low] = words.to_be_bytes();
    }
}
