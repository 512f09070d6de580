//! The streams that a client sends: VP8 and Opus by their headers, with filling instead of pictures.

use std::time::Instant;

use super::OfferSection;
use crate::limits::MAX_OVERHEAD_BYTES;
use crate::rtp::HeaderExtensionWriter;
use crate::srtp::SrtpContext;
use crate::{MediaKind, rtcp};

/// Bytes of payload of a packet of a picture, and of 20 ms of sound.
const PICTURE: usize = 1180;
const SOUND: usize = 120;
/// How many packets are kept to be sent again.
const KEPT: usize = 512;
/// Where the stamp lies: behind a VP8 descriptor (RFC 7741 §4.2) and the header of a key frame.
pub(super) const STAMP_AT: usize = 14;
/// What differs between payloads lies before this.
const HEAD: usize = STAMP_AT + 8;

/// As [`OfferSection`] numbers them.
const VP8: u8 = 96;
const REPAIR: u8 = 97;
const OPUS: u8 = 111;
const LEVEL: u8 = 1;
const TIME: u8 = 2;
const TRANSPORT: u8 = 3;
const MID: u8 = 4;
/// A voice of -30 dBov (RFC 6464).
const VOICE: u8 = 0x80 | 30;

struct SendStream {
    ssrc: u32,
    kind: MediaKind,
    mid: String,
    index: u64,
    repair: u64,
    timestamp: u32,
    picture: u16,
    key: bool,
    /// The heads of what was sent, by sequence number.
    kept: Vec<[u8; HEAD]>,
}

/// All streams of one client.
pub(super) struct SendStreams {
    epoch: Instant,
    ssrc: u32,
    streams: Vec<SendStream>,
    transport: u16,
    wanted: Vec<(usize, u16)>,
    pub(super) key_wanted: bool,
}

/// With what a packet is protected, and where it is written.
pub(super) struct PacketWriter<'k, 'b> {
    pub(super) keys: &'k mut SrtpContext,
    pub(super) buffer: &'b mut [u8],
}

/// What stands in the header of a packet.
struct RtpHeaderFields {
    /// Which stream it belongs to, and when it is sent, in microseconds.
    at: usize,
    micros: u128,
    payload_type: u8,
    marker: bool,
    index: u64,
    ssrc: u32,
}

impl SendStreams {
    pub(super) fn new(epoch: Instant, ssrc: u32) -> Self {
        Self { epoch, ssrc, streams: Vec::new(), transport: 0, wanted: vec![], key_wanted: true }
    }

    /// A stream for each sending section.
    pub(super) fn open(&mut self, lines: &[OfferSection]) {
        let ssrcs = (self.ssrc..).step_by(2);
        let sending = lines.iter().filter(|line| line.sends);
        let stream = |(line, ssrc): (&OfferSection, u32)| SendStream {
            ssrc,
            kind: line.kind,
            mid: line.mid.clone(),
            index: 1000,
            repair: 1,
            timestamp: 0,
            picture: 0,
            key: false,
            kept: vec![[0; HEAD]; KEPT],
        };
        self.streams = sending.zip(ssrcs).map(stream).collect();
    }

    /// The server says something about these streams.
    pub(super) fn told(&mut self, compound: &[u8]) {
        for part in rtcp::packets(compound) {
            let about = |it: &SendStream| Some(it.ssrc) == part.media_ssrc();
            match (part.packet_type, part.count) {
                (rtcp::PAYLOAD_FEEDBACK, rtcp::PLI | rtcp::FIR) => self.key_wanted = true,
                (rtcp::TRANSPORT_FEEDBACK, rtcp::NACK) => {
                    let Some(at) = self.streams.iter().position(about) else { continue };
                    self.wanted
                        .extend(part.nack_sequences().take(KEPT).map(|sequence| (at, sequence)));
                }
                _ => {}
            }
        }
    }

    /// Writes and protects the next packet of a stream.
    pub(super) fn publish<'a>(
        &mut self,
        now: Instant,
        at: usize,
        stamp: u64,
        (begins, ends): (bool, bool),
        mut pen: PacketWriter<'_, 'a>,
    ) -> Option<&'a [u8]> {
        let stream = self.streams.get_mut(at)?;
        let micros = now.saturating_duration_since(self.epoch).as_micros();
        let rate = if stream.kind == MediaKind::Video { 90 } else { 48 };
        if begins {
            stream.timestamp = (micros * rate / 1000) as u32;
            stream.picture = (stream.picture + 1) & 0x7fff;
            if stream.kind == MediaKind::Video {
                stream.key = std::mem::take(&mut self.key_wanted);
            }
        }
        stream.index += 1;
        let sequence = stream.index as u16;
        let [high, low] = stream.picture.to_be_bytes();
        let inter = u8::from(!stream.key);
        let mut head = [0; HEAD];
        // X and S, then I and a wide PictureID; the frame's tag, its start code and size.
        head[..STAMP_AT].copy_from_slice(&[
            0x80 | u8::from(begins) << 4,
            0x80,
            0x80 | high,
            low,
            inter,
            0,
            0,
            0x9d,
            0x01,
            0x2a,
            0x80,
            0x02,
            0xe0,
            0x01,
        ]);
        head[STAMP_AT..].copy_from_slice(&stamp.to_be_bytes());
        if let Some(place) = stream.kept.get_mut(usize::from(sequence) % KEPT) {
            *place = head;
        }
        let payload_type = if stream.kind == MediaKind::Video { VP8 } else { OPUS };
        let (index, ssrc) = (stream.index, stream.ssrc);
        let header = RtpHeaderFields { at, micros, payload_type, marker: ends, index, ssrc };
        let length = self.protect(&header, &head, &[], &mut pen)?;
        pen.buffer.get(..length)
    }

    /// Sends again what the server asked for (RFC 4588).
    pub(super) fn repair(&mut self, pen: &mut PacketWriter<'_, '_>, send: &mut impl FnMut(&[u8])) {
        while let Some((at, sequence)) = self.wanted.pop() {
            let Some(stream) = self.streams.get_mut(at) else { continue };
            if stream.kind == MediaKind::Audio {
                continue;
            }
            let Some(&head) = stream.kept.get(usize::from(sequence) % KEPT) else { continue };
            stream.repair += 1;
            let (index, ssrc) = (stream.repair, stream.ssrc + 1);
            let (micros, payload_type, marker) = (0, REPAIR, false);
            let header = RtpHeaderFields { at, micros, payload_type, marker, index, ssrc };
            let original = sequence.to_be_bytes();
            if let Some(length) = self.protect(&header, &head, &original, pen) {
                pen.buffer.get(..length).into_iter().for_each(&mut *send);
            }
        }
    }

    /// Gives the length.
    fn protect(
        &mut self,
        header: &RtpHeaderFields,
        head: &[u8; HEAD],
        before: &[u8],
        PacketWriter { keys, buffer }: &mut PacketWriter<'_, '_>,
    ) -> Option<usize> {
        let stream = self.streams.get(header.at)?;
        buffer.get_mut(..4)?.copy_from_slice(&[
            0x80,
            u8::from(header.marker) << 7 | header.payload_type,
            (header.index >> 8) as u8,
            header.index as u8,
        ]);
        buffer.get_mut(4..8)?.copy_from_slice(&stream.timestamp.to_be_bytes());
        buffer.get_mut(8..12)?.copy_from_slice(&header.ssrc.to_be_bytes());
        self.transport = self.transport.wrapping_add(1);
        let mut extending = HeaderExtensionWriter::new(buffer);
        extending.add(Some(MID), stream.mid.as_bytes());
        let [.., high, middle, low] = ((header.micros << 18) / 1_000_000).to_be_bytes();
        extending.add(Some(TIME), &[high, middle, low]);
        extending.add(Some(TRANSPORT), &self.transport.to_be_bytes());
        if stream.kind == MediaKind::Audio {
            extending.add(Some(LEVEL), &[VOICE]);
        }
        let begin = extending.finish();
        let size = if stream.kind == MediaKind::Video { PICTURE } else { SOUND };
        let body = begin + before.len();
        let end = body + size;
        buffer.get_mut(begin..body)?.copy_from_slice(before);
        buffer.get_mut(body..body + HEAD)?.copy_from_slice(head);
        buffer.get_mut(body + HEAD..end)?.fill(0x5a); // it was encrypted in place last time
        let space = buffer.get_mut(..end + MAX_OVERHEAD_BYTES)?;
        keys.encrypt_rtp(space, begin, end, header.index)
    }
}
