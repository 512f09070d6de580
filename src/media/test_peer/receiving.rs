//! What a client keeps of the streams that it receives: what came, what is missing, when it was sent.

use std::collections::BTreeMap;
use std::time::Instant;

use super::description::RemoteDescription;
use super::sending::STAMP_AT;
use crate::rtcp::{CompoundWriter, ReportBlock};
use crate::rtp::RtpPacket;
use crate::srtp::{ReplayWindow, SrtpContext};
use crate::twcc::TwccReceiver;

/// A packet of media that came and is authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedPacket {
    /// The number that the publisher wrote into it.
    pub stamp: u64,
    /// Whether it was sent again.
    pub again: bool,
}

/// Counts of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketCounts {
    /// That came under a number of their own.
    pub received: u64,
    /// That were missing and came again.
    pub repaired: u64,
    /// That were missing between others when a later one came.
    pub missing: u64,
}

#[derive(Default)]
struct ReceiveStream {
    window: ReplayWindow,
    first: u64,
    highest: u64,
    received: u64,
    /// Expected and received when it was reported last.
    reported: (u64, u64),
}

/// All streams of one client.
pub(super) struct ReceiveStreams {
    streams: BTreeMap<u32, ReceiveStream>,
    /// Streams of retransmissions, and which stream each repairs.
    repairs: BTreeMap<u32, u32>,
    transport: Option<u8>,
    missing: Vec<(u32, u16)>,
    pub(super) arrivals: TwccReceiver,
    pub(super) tally: PacketCounts,
}

/// The most packets of one gap that are asked for.
const MOST: u64 = 64;

impl ReceiveStreams {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            streams: BTreeMap::new(),
            repairs: BTreeMap::new(),
            transport: None,
            missing: Vec::new(),
            arrivals: TwccReceiver::new(now),
            tally: PacketCounts::default(),
        }
    }

    pub(super) fn expect(&mut self, remote: &RemoteDescription) {
        self.transport = remote.transport;
        self.repairs = remote.repairs.iter().copied().collect();
    }

    /// Opens and counts a packet.
    pub(super) fn media(
        &mut self,
        now: Instant,
        keys: &mut SrtpContext,
        datagram: &mut [u8],
    ) -> Option<ReceivedPacket> {
        let header = crate::rtp::header_length(datagram).ok()?;
        let &[_, _, high, low, _, _, _, _, a, b, c, d, ..] = &*datagram else { return None };
        let ssrc = u32::from_be_bytes([a, b, c, d]);
        let stream = self.streams.entry(ssrc).or_default();
        let index = stream.window.extend(u16::from_be_bytes([high, low]));
        if !stream.window.is_new(index) {
            return None;
        }
        let length = keys.decrypt_rtp(datagram, header, index)?;
        stream.window.insert(index);
        let packet = RtpPacket::parse(datagram.get(..length)?).ok()?;
        let transport = packet.extensions().find(|(id, _)| Some(*id) == self.transport);
        if let Some((_, &[high, low])) = transport {
            self.arrivals.on_packet(now, u16::from_be_bytes([high, low]));
        }
        if self.repairs.contains_key(&ssrc) {
            // Probes repeat what came, or are padding.
            let [high, low, ..] = *packet.payload() else { return None };
            let origin = self.repairs.get(&ssrc).and_then(|origin| self.streams.get_mut(origin))?;
            let index = origin.window.extend(u16::from_be_bytes([high, low]));
            if index < origin.first || !origin.window.is_new(index) {
                return None;
            }
            origin.window.insert(index);
            self.tally.repaired += 1;
            let stamp = stamp(packet.payload().get(2..)?)?;
            return Some(ReceivedPacket { stamp, again: true });
        }
        if stream.received == 0 {
            (stream.first, stream.highest) = (index, index);
        }
        for gone in (stream.highest + 1..index).take(MOST as usize) {
            self.missing.push((ssrc, gone as u16));
        }
        self.tally.missing += index.saturating_sub(stream.highest + 1);
        if index < stream.highest && index > stream.first {
            self.tally.missing = self.tally.missing.saturating_sub(1); // it was only late
        }
        stream.highest = stream.highest.max(index);
        stream.received += 1;
        self.tally.received += 1;
        Some(ReceivedPacket { stamp: stamp(packet.payload())?, again: false })
    }

    /// Adds a receiver report (RFC 3550 §6.4.2); jitter is not measured.
    pub(super) fn report(&mut self, compound: &mut CompoundWriter) {
        let repairs = &self.repairs;
        let media = self.streams.iter_mut().filter(|(ssrc, _)| !repairs.contains_key(ssrc));
        let blocks: Vec<ReportBlock> = media
            .map(|(ssrc, stream)| {
                let expected = stream.highest - stream.first + 1;
                let (before, received) = stream.reported;
                stream.reported = (expected, stream.received);
                let (expected_now, received_now) =
                    (expected - before.min(expected), stream.received - received);
                let lost_now = expected_now.saturating_sub(received_now);
                let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0);
                ReportBlock {
                    ssrc: *ssrc,
                    fraction_lost: fraction.min(255) as u8,
                    cumulative_lost: expected.saturating_sub(stream.received) as i32,
                    highest_sequence: stream.highest as u32,
                    ..ReportBlock::default()
                }
            })
            .collect();
        if !blocks.is_empty() {
            compound.receiver_report(1, &blocks);
        }
    }

    /// Asks once for what is missing.
    pub(super) fn request(&mut self, compound: &mut CompoundWriter) {
        while let Some(&(ssrc, _)) = self.missing.first() {
            let all = self.missing.iter().filter(|(of, _)| *of == ssrc);
            let numbers: Vec<u16> = all.map(|(_, number)| *number).take(MOST as usize).collect();
            compound.nack(1, ssrc, &numbers);
            self.missing.retain(|(of, _)| *of != ssrc);
        }
    }
}

fn stamp(payload: &[u8]) -> Option<u64> {
    let bytes = payload.get(STAMP_AT..STAMP_AT + 8)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}
