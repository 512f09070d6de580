//! Remembers when packets went to a subscriber, and reads its feedback about them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{LARGE_DELTA, NOT_RECEIVED, REFERENCE, SMALL_DELTA, TICK, unwrap};

/// Packets are remembered for so long, but no more than so many.
const SENT_PACKET_TTL: Duration = Duration::from_secs(3);
const MAX_SENT_PACKETS: usize = 8192;

/// The fate of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketResult {
    /// Counts the packets of this transport, without wrapping.
    pub(crate) index: u64,
    /// When it was sent.
    pub(crate) sent: Instant,
    /// Its size.
    pub(crate) bytes: usize,
    /// When it came, by the receiver's clock, since some moment; `None` if it did not.
    pub(crate) arrived: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PacketFate {
    Unknown,
    Missing,
    Arrived,
}

#[derive(Clone, Copy, Debug)]
struct SentPacket {
    at: Instant,
    bytes: u16,
    fate: PacketFate,
}

/// The packets that were sent lately on one transport.
#[derive(Debug)]
pub(crate) struct TwccSender {
    /// The number of the first packet that is remembered.
    first: u64,
    sent: VecDeque<SentPacket>,
    /// The last reference time, unwrapped, in units of 64 ms.
    reference: Option<i64>,
}

impl Default for TwccSender {
    fn default() -> Self {
        // Not zero, so that numbers before the first one can be told from those behind it.
        Self { first: 1 << 16, sent: VecDeque::new(), reference: None }
    }
}

impl TwccSender {
    /// A packet goes out; gives the transport-wide sequence number to put into it.
    pub(crate) fn sent(&mut self, now: Instant, bytes: usize) -> u16 {
        let old = |sent: &SentPacket| now.saturating_duration_since(sent.at) > SENT_PACKET_TTL;
        while self.sent.len() >= MAX_SENT_PACKETS || self.sent.front().is_some_and(old) {
            self.sent.pop_front();
            self.first += 1;
        }
        let sequence = self.next_index() as u16;
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        self.sent.push_back(SentPacket { at: now, bytes, fate: PacketFate::Unknown });
        sequence
    }

    /// How many packets were sent.
    pub(crate) fn next_index(&self) -> u64 {
        self.first + self.sent.len() as u64
    }

    /// Reads a feedback packet: what stands behind its header and its two SSRCs. Appends what is
    /// new about packets that are remembered, in the order of sending. What cannot be read ends the
    /// packet; what was told before is not told again, except that a missing packet may arrive.
    pub(crate) fn feedback(&mut self, body: &[u8], into: &mut Vec<PacketResult>) {
        let Some((header, rest)) = body.split_first_chunk::<8>() else { return };
        let [base_high, base_low, count_high, count_low, time @ .., _] = *header;
        let count = usize::from(u16::from_be_bytes([count_high, count_low]));
        let Some(base) = unwrap(u16::from_be_bytes([base_high, base_low]), self.next_index())
        else {
            return;
        };
        let Some(chunks) = chunks_of(rest, count) else { return };
        let mut deltas = rest.get(chunks.len()..).unwrap_or_default();
        let mut ticks = self.unwrap_reference(time) * REFERENCE;
        let symbols = chunks.as_chunks::<2>().0.iter().flat_map(|chunk| StatusSymbols::of(*chunk));
        for (position, symbol) in symbols.take(count).enumerate() {
            let arrived = match symbol {
                NOT_RECEIVED => None,
                SMALL_DELTA => {
                    let Some((&delta, behind)) = deltas.split_first() else { return };
                    deltas = behind;
                    ticks += i64::from(delta);
                    Some(ticks)
                }
                LARGE_DELTA => {
                    let Some((&delta, behind)) = deltas.split_first_chunk() else { return };
                    deltas = behind;
                    ticks += i64::from(i16::from_be_bytes(delta));
                    Some(ticks)
                }
                _ => return,
            };
            into.extend(self.settle(base + position as u64, arrived));
        }
        self.forget_arrived();
    }

    /// Of a packet that came there is nothing more to be told. What is under way is much less than
    /// what [`SENT_PACKET_TTL`] holds, and every subscriber has one of these.
    fn forget_arrived(&mut self) {
        while self.sent.front().is_some_and(|sent| sent.fate == PacketFate::Arrived) {
            self.sent.pop_front();
            self.first += 1;
        }
    }

    fn settle(&mut self, index: u64, ticks: Option<i64>) -> Option<PacketResult> {
        let position = usize::try_from(index.checked_sub(self.first)?).ok()?;
        let sent = self.sent.get_mut(position)?;
        let fate = if ticks.is_some() { PacketFate::Arrived } else { PacketFate::Missing };
        let news = match sent.fate {
            PacketFate::Unknown => true,
            PacketFate::Missing => fate == PacketFate::Arrived,
            PacketFate::Arrived => false,
        };
        if !news {
            return None;
        }
        sent.fate = fate;
        let arrived = ticks.map(|ticks| {
            let micros = ticks.max(0).unsigned_abs() * TICK.as_micros() as u64;
            Duration::from_micros(micros)
        });
        Some(PacketResult { index, sent: sent.at, bytes: usize::from(sent.bytes), arrived })
    }

    /// The reference time has 24 bits and goes round every twelve days. It begins far from zero, so
    /// that a clock which is set back is still ahead of it.
    fn unwrap_reference(&mut self, [high, middle, low]: [u8; 3]) -> i64 {
        let bits = i64::from(u32::from_be_bytes([0, high, middle, low]));
        let round = 1 << 24;
        let reference = match self.reference {
            None => round + bits,
            Some(last) => {
                let step = (bits - last).rem_euclid(round);
                last + if step >= round / 2 { step - round } else { step }
            }
        };
        self.reference = Some(reference);
        reference
    }
}

/// The chunks that tell of `count` packets: as many bytes of the beginning as it takes.
fn chunks_of(bytes: &[u8], count: usize) -> Option<&[u8]> {
    let (mut told, mut length) = (0, 0);
    while told < count {
        let chunk = bytes.get(length..)?.first_chunk::<2>()?;
        told += StatusSymbols::of(*chunk).left;
        length += 2;
    }
    bytes.get(..length)
}

/// The statuses in one chunk, from the highest bits down.
struct StatusSymbols {
    bits: u16,
    width: u32,
    left: usize,
    /// Set if the same symbol is told again and again.
    run: Option<u8>,
}

impl StatusSymbols {
    fn of(chunk: [u8; 2]) -> Self {
        let bits = u16::from_be_bytes(chunk);
        match bits >> 14 {
            0b10 => Self { bits: bits << 2, width: 1, left: 14, run: None },
            0b11 => Self { bits: bits << 2, width: 2, left: 7, run: None },
            _ => {
                let run = Some((bits >> 13 & 3) as u8);
                Self { bits, width: 0, left: usize::from(bits & 0x1fff), run }
            }
        }
    }
}

impl Iterator for StatusSymbols {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.left = self.left.checked_sub(1)?;
        if self.run.is_some() {
            return self.run;
        }
        let symbol = self.bits >> (16 - self.width);
        self.bits <<= self.width;
        Some(symbol as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::super::TwccReceiver;
    use super::*;
    use crate::virtual_time::{ms, start};

    #[test]
    fn twcc_sender_tracks_only_packets_in_flight() {
        let begin = start();
        let (mut departures, mut arrivals) = (TwccSender::default(), TwccReceiver::new(begin));
        let mut results = Vec::new();
        for n in 0..1_000 {
            let at = begin + ms(n);
            let sequence = departures.sent(at, 1000);
            if n != 900 {
                arrivals.received(at, sequence);
            }
            if arrivals.next().is_some_and(|due| due <= at) {
                let mut packet = Vec::new();
                arrivals.write(1, 2, &mut packet);
                departures.feedback(&packet[12..], &mut results);
            }
            assert!(n >= 900 || departures.sent.len() <= 51, "between two feedbacks");
        }

        assert!(departures.sent.len() >= 100, "what is missing may come yet");
        let untold = departures.sent.iter().filter(|sent| sent.fate == PacketFate::Unknown).count();
        assert_eq!(results.len() + untold, 1_000);
    }
}
