//! Numbers and records the packets sent to a subscriber, and reads its feedback about them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{
    DELTA_UNIT, LARGE_DELTA, NOT_RECEIVED, REFERENCE_TIME_TICKS, SMALL_DELTA, unwrap_sequence,
};
use crate::limits::MAX_SENT_PACKETS;

/// How long sent packets are stored.
const SENT_PACKET_TTL: Duration = Duration::from_secs(3);

/// What feedback says about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketResult {
    /// Extended transport-wide sequence number.
    pub(crate) index: u64,
    /// When it was sent.
    pub(crate) sent_at: Instant,
    /// Size in bytes.
    pub(crate) bytes: usize,
    /// Arrival time by the receiver's clock, relative to an arbitrary origin; `None` if it was lost.
    pub(crate) arrived_at: Option<Duration>,
}

/// What is known about a sent packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PacketFate {
    Unknown,
    Lost,
    Arrived,
}

/// A packet that was sent.
#[derive(Clone, Copy, Debug)]
struct SentPacket {
    sent_at: Instant,
    bytes: u16,
    fate: PacketFate,
}

/// The packets recently sent on one transport.
#[derive(Debug)]
pub(crate) struct TwccSender {
    /// Extended sequence number of the first stored packet.
    first_index: u64,
    packets: VecDeque<SentPacket>,
    /// The last reference time, unwrapped, in units of 64 ms.
    last_reference: Option<i64>,
}

impl Default for TwccSender {
    fn default() -> Self {
        // Not zero, so that sequence numbers before the first one can be distinguished from later ones.
        Self { first_index: 1 << 16, packets: VecDeque::new(), last_reference: None }
    }
}

impl TwccSender {
    /// Records a packet to send; returns its transport-wide sequence number.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: usize) -> u16 {
        let is_expired =
            |sent: &SentPacket| now.saturating_duration_since(sent.sent_at) > SENT_PACKET_TTL;
        while self.packets.len() >= MAX_SENT_PACKETS || self.packets.front().is_some_and(is_expired)
        {
            self.packets.pop_front();
            self.first_index += 1;
        }
        let sequence = self.next_index() as u16;
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        self.packets.push_back(SentPacket { sent_at: now, bytes, fate: PacketFate::Unknown });
        sequence
    }

    /// The extended sequence number of the next packet.
    pub(crate) fn next_index(&self) -> u64 {
        self.first_index + self.packets.len() as u64
    }

    /// Parses feedback, starting behind its header and two SSRCs. Appends what is new about stored packets, in
    /// sending order. Invalid data ends the parsing. What was reported before is not reported again, except
    /// that a lost packet may still arrive.
    pub(crate) fn on_feedback(&mut self, body: &[u8], results: &mut Vec<PacketResult>) {
        let Some((header, rest)) = body.split_first_chunk::<8>() else { return };
        let [base_high, base_low, count_high, count_low, time @ .., _] = *header;
        let count = usize::from(u16::from_be_bytes([count_high, count_low]));
        let Some(base) =
            unwrap_sequence(u16::from_be_bytes([base_high, base_low]), self.next_index())
        else {
            return;
        };
        let Some(chunks) = status_chunks(rest, count) else { return };
        let mut deltas = rest.get(chunks.len()..).unwrap_or_default();
        let mut ticks = self.unwrap_reference(time) * REFERENCE_TIME_TICKS;
        let symbols = chunks.as_chunks::<2>().0.iter().flat_map(|chunk| StatusSymbols::new(*chunk));
        for (position, symbol) in symbols.take(count).enumerate() {
            let arrival = match symbol {
                NOT_RECEIVED => None,
                SMALL_DELTA => {
                    let Some((&delta, tail)) = deltas.split_first() else { return };
                    deltas = tail;
                    ticks += i64::from(delta);
                    Some(ticks)
                }
                LARGE_DELTA => {
                    let Some((&delta, tail)) = deltas.split_first_chunk() else { return };
                    deltas = tail;
                    ticks += i64::from(i16::from_be_bytes(delta));
                    Some(ticks)
                }
                _ => return,
            };
            results.extend(self.report(base + position as u64, arrival));
        }
        self.discard_arrived();
    }

    /// Discards packets that have arrived, since nothing more will be reported about them. Packets in flight are
    /// far fewer than those of [`SENT_PACKET_TTL`], and every subscriber has such a queue.
    fn discard_arrived(&mut self) {
        while self.packets.front().is_some_and(|packet| packet.fate == PacketFate::Arrived) {
            self.packets.pop_front();
            self.first_index += 1;
        }
    }

    /// Updates the state of a packet; returns a result if it is new.
    fn report(&mut self, index: u64, ticks: Option<i64>) -> Option<PacketResult> {
        let position = usize::try_from(index.checked_sub(self.first_index)?).ok()?;
        let packet = self.packets.get_mut(position)?;
        let fate = if ticks.is_some() { PacketFate::Arrived } else { PacketFate::Lost };
        let is_new = match packet.fate {
            PacketFate::Unknown => true,
            PacketFate::Lost => fate == PacketFate::Arrived,
            PacketFate::Arrived => false,
        };
        if !is_new {
            return None;
        }
        packet.fate = fate;
        let arrived = ticks.map(|ticks| {
            let micros = ticks.max(0).unsigned_abs() * DELTA_UNIT.as_micros() as u64;
            Duration::from_micros(micros)
        });
        Some(PacketResult {
            index,
            sent_at: packet.sent_at,
            bytes: usize::from(packet.bytes),
            arrived_at: arrived,
        })
    }

    /// The reference time has 24 bits and wraps every twelve days. The unwrapped value starts far from zero, so
    /// that it stays positive when a clock is set back.
    fn unwrap_reference(&mut self, [high, middle, low]: [u8; 3]) -> i64 {
        let bits = i64::from(u32::from_be_bytes([0, high, middle, low]));
        let cycle = 1 << 24;
        let reference = match self.last_reference {
            None => cycle + bits,
            Some(previous) => {
                let step = (bits - previous).rem_euclid(cycle);
                previous + if step >= cycle / 2 { step - cycle } else { step }
            }
        };
        self.last_reference = Some(reference);
        reference
    }
}

/// The status chunks for `count` packets: the shortest sufficient prefix, whole chunks.
fn status_chunks(bytes: &[u8], count: usize) -> Option<&[u8]> {
    let (mut covered, mut length) = (0, 0);
    while covered < count {
        let chunk = bytes.get(length..)?.first_chunk::<2>()?;
        covered += StatusSymbols::new(*chunk).remaining;
        length += 2;
    }
    bytes.get(..length)
}

/// The status symbols of one chunk, highest bits first.
struct StatusSymbols {
    bits: u16,
    symbol_bits: u32,
    remaining: usize,
    /// The symbol of a run-length chunk.
    run_symbol: Option<u8>,
}

impl StatusSymbols {
    fn new(chunk: [u8; 2]) -> Self {
        let bits = u16::from_be_bytes(chunk);
        match bits >> 14 {
            0b10 => Self { bits: bits << 2, symbol_bits: 1, remaining: 14, run_symbol: None },
            0b11 => Self { bits: bits << 2, symbol_bits: 2, remaining: 7, run_symbol: None },
            _ => {
                let run = Some((bits >> 13 & 3) as u8);
                Self {
                    bits,
                    symbol_bits: 0,
                    remaining: usize::from(bits & 0x1fff),
                    run_symbol: run,
                }
            }
        }
    }
}

impl Iterator for StatusSymbols {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.remaining = self.remaining.checked_sub(1)?;
        if self.run_symbol.is_some() {
            return self.run_symbol;
        }
        let symbol = self.bits >> (16 - self.symbol_bits);
        self.bits <<= self.symbol_bits;
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
        let epoch = start();
        let (mut sender, mut receiver) = (TwccSender::default(), TwccReceiver::new(epoch));
        let mut results = Vec::new();
        for n in 0..1_000 {
            let at = epoch + ms(n);
            let sequence = sender.on_sent(at, 1000);
            if n != 900 {
                receiver.on_packet(at, sequence);
            }
            if receiver.next_due().is_some_and(|due| due <= at) {
                let mut packet = Vec::new();
                receiver.write(1, 2, &mut packet);
                sender.on_feedback(&packet[12..], &mut results);
            }
            assert!(n >= 900 || sender.packets.len() <= 51, "only packets since the last feedback");
        }

        assert!(sender.packets.len() >= 100, "a lost packet may still arrive");
        let unreported =
            sender.packets.iter().filter(|sent| sent.fate == PacketFate::Unknown).count();
        assert_eq!(results.len() + unreported, 1_000);
    }
}
