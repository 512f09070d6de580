//! VP8 in RTP (RFC 7741 §4.2): parses the payload descriptor, and rewrites its counters so that they stay
//! continuous for a subscriber that is switched between layers (like the VP8 munger of `LiveKit`).

use std::collections::VecDeque;

use crate::limits::MAX_PICTURE_ID_SPANS;

/// Bits of the first byte of the payload descriptor: X and S.
const EXTENSION: u8 = 0x80;
const START_OF_PARTITION: u8 = 0x10;
/// Bits of the extension byte: I, L, T and K.
const HAS_PICTURE_ID: u8 = 0x80;
const HAS_TL0PICIDX: u8 = 0x40;
const HAS_TEMPORAL_ID: u8 = 0x20;
const HAS_KEYIDX: u8 = 0x10;
/// The M bit: the picture id has 15 bits.
const FIFTEEN_BITS: u8 = 0x80;

/// The payload descriptor of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vp8Descriptor {
    /// The S bit: this packet is the first of its partition.
    pub(crate) starts_partition: bool,
    /// The partition index; partition 0 contains the frame header.
    pub(crate) partition: u8,
    /// The picture id, 7 or 15 bits.
    pub(crate) picture_id: Option<PictureId>,
    /// TL0PICIDX: running number of the frames of the lowest temporal layer.
    pub(crate) tl0_pic_idx: Option<u8>,
    /// The temporal layer (TID) and the Y bit: the frame refers only to the lowest layer (a switching point).
    pub(crate) temporal_layer: Option<(u8, bool)>,
    /// Length of the descriptor in bytes.
    pub(crate) length: usize,
    picture_id_offset: usize,
    tl0_offset: usize,
}

/// A picture id and its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PictureId {
    /// The value.
    pub(crate) number: u16,
    /// Encoded in 15 bits instead of 7.
    pub(crate) is_15_bit: bool,
}

impl PictureId {
    fn modulus(self) -> u16 {
        if self.is_15_bit { 1 << 15 } else { 1 << 7 }
    }
}

impl Vp8Descriptor {
    /// Parses a descriptor; `None` if the payload ends within it or directly behind it.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let flags = *payload.first()?;
        let mut descriptor = Self {
            starts_partition: flags & START_OF_PARTITION != 0,
            partition: flags & 0x07,
            picture_id: None,
            tl0_pic_idx: None,
            temporal_layer: None,
            length: 1,
            picture_id_offset: 0,
            tl0_offset: 0,
        };
        if flags & EXTENSION != 0 {
            descriptor.read_extension(payload)?;
        }
        payload.get(descriptor.length)?;
        Some(descriptor)
    }

    fn read_extension(&mut self, payload: &[u8]) -> Option<()> {
        let flags = *payload.get(1)?;
        let mut offset = 2;
        if flags & HAS_PICTURE_ID != 0 {
            let first = *payload.get(offset)?;
            self.picture_id_offset = offset;
            let is_15_bit = first & FIFTEEN_BITS != 0;
            let number = if is_15_bit {
                u16::from_be_bytes([first & !FIFTEEN_BITS, *payload.get(offset + 1)?])
            } else {
                u16::from(first)
            };
            self.picture_id = Some(PictureId { number, is_15_bit });
            offset += if is_15_bit { 2 } else { 1 };
        }
        if flags & HAS_TL0PICIDX != 0 {
            self.tl0_offset = offset;
            self.tl0_pic_idx = Some(*payload.get(offset)?);
            offset += 1;
        }
        if flags & (HAS_TEMPORAL_ID | HAS_KEYIDX) != 0 {
            let byte = *payload.get(offset)?;
            if flags & HAS_TEMPORAL_ID != 0 {
                self.temporal_layer = Some((byte >> 6, byte & 0x20 != 0));
            }
            offset += 1;
        }
        self.length = offset;
        Some(())
    }

    /// Shifts both counters in place, modulo their size.
    fn patch(&self, payload: &mut [u8], picture_shift: u16, tl0_shift: u8) {
        if let Some(picture) = self.picture_id {
            let number = picture.number.wrapping_add(picture_shift) % picture.modulus();
            let [high, low] = number.to_be_bytes();
            let bytes = payload.get_mut(self.picture_id_offset..);
            match (bytes, picture.is_15_bit) {
                (Some([first, second, ..]), true) => (*first, *second) = (FIFTEEN_BITS | high, low),
                (Some([first, ..]), false) => *first = low,
                _ => {}
            }
        }
        if let (Some(index), Some(byte)) = (self.tl0_pic_idx, payload.get_mut(self.tl0_offset)) {
            *byte = index.wrapping_add(tl0_shift);
        }
    }
}

/// Whether a packet is the first of a key frame: the P bit of the frame header is 0 (RFC 7741 §4.3).
pub(super) fn starts_key_frame(payload: &[u8]) -> bool {
    Vp8Descriptor::parse(payload).is_some_and(|descriptor| {
        let header = payload.get(descriptor.length);
        let is_key_frame = header.is_some_and(|byte| byte & 1 == 0);
        descriptor.starts_partition && descriptor.partition == 0 && is_key_frame
    })
}

/// Shifts that apply to the pictures of one stream from a certain one on.
#[derive(Clone, Copy, Debug)]
struct PictureIdSpan {
    stream_id: u32,
    /// The first picture it applies to, in the stream's picture ids.
    first_in: u16,
    /// The first picture it applies to, in the subscriber's picture ids.
    first_out: u16,
    picture_shift: u16,
    tl0_shift: u8,
}

/// Keeps `PictureID` and TL0PICIDX of a subscriber's stream continuous across switches of the published stream.
/// Packets without a picture id stay unchanged.
#[derive(Debug, Default)]
pub(crate) struct Vp8Munger {
    /// Oldest first, at most [`MAX_PICTURE_ID_SPANS`].
    spans: VecDeque<PictureIdSpan>,
    /// Picture id and TL0PICIDX that were sent last.
    last_sent: Option<(u16, u8)>,
    /// The stream to switch to when its first packet arrives.
    pending_stream: Option<u32>,
}

impl Vp8Munger {
    /// From the next packet of this stream on, its pictures continue those sent so far.
    pub(crate) fn switch(&mut self, stream_id: u32) {
        self.pending_stream = Some(stream_id);
    }

    /// Rewrites a copy of a packet's payload, also of one that is retransmitted later. False if it belongs to
    /// no remembered span and must not be sent.
    pub(crate) fn patch(&mut self, stream_id: u32, payload: &mut [u8]) -> bool {
        let Some(descriptor) = Vp8Descriptor::parse(payload) else { return true };
        let Some(picture) = descriptor.picture_id else { return true };
        let tl0 = descriptor.tl0_pic_idx.unwrap_or(0);
        if self.pending_stream == Some(stream_id) {
            self.pending_stream = None;
            self.start_span(stream_id, picture, tl0);
        }
        let Some(span) = self.span_of(stream_id, picture) else { return false };
        descriptor.patch(payload, span.picture_shift, span.tl0_shift);
        let sent = picture.number.wrapping_add(span.picture_shift) % picture.modulus();
        let is_newer =
            self.last_sent.is_none_or(|(last, _)| distance(sent, last, picture.modulus()) > 0);
        if is_newer {
            self.last_sent = Some((sent, tl0.wrapping_add(span.tl0_shift)));
            self.advance_span(picture);
        }
        true
    }

    /// Picture ids are compared modulo their size, so the start of the newest span must not fall behind by half
    /// of it; it is moved forward.
    fn advance_span(&mut self, picture: PictureId) {
        let modulus = picture.modulus();
        let Some(span) = self.spans.back_mut() else { return };
        if distance(picture.number, span.first_in, modulus) > i32::from(modulus / 4) {
            span.first_in = span.first_in.wrapping_add(modulus / 8) % modulus;
            span.first_out = span.first_out.wrapping_add(modulus / 8) % modulus;
        }
    }

    fn start_span(&mut self, stream_id: u32, picture: PictureId, tl0: u8) {
        let (next, next_tl0) = match self.last_sent {
            Some((last, last_tl0)) => (last.wrapping_add(1), last_tl0.wrapping_add(1)),
            None => (picture.number, tl0),
        };
        self.push_span(PictureIdSpan {
            stream_id,
            first_in: picture.number,
            first_out: next % picture.modulus(),
            picture_shift: next.wrapping_sub(picture.number),
            tl0_shift: next_tl0.wrapping_sub(tl0),
        });
    }

    fn push_span(&mut self, span: PictureIdSpan) {
        if self.spans.len() == MAX_PICTURE_ID_SPANS {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }

    /// The newest span that applies to a picture, unless a later span uses its picture id.
    fn span_of(&self, stream_id: u32, picture: PictureId) -> Option<PictureIdSpan> {
        let modulus = picture.modulus();
        let mut next_first_out: Option<u16> = None;
        for span in self.spans.iter().rev() {
            if span.stream_id == stream_id && distance(picture.number, span.first_in, modulus) >= 0
            {
                let number = picture.number.wrapping_add(span.picture_shift) % modulus;
                let is_free = next_first_out
                    .is_none_or(|next_first_out| distance(number, next_first_out, modulus) < 0);
                return is_free.then_some(*span);
            }
            next_first_out = Some(span.first_out);
        }
        None
    }
}

/// The signed distance from `b` to `a`, both counted modulo `modulus`.
fn distance(a: u16, b: u16, modulus: u16) -> i32 {
    let forward = a.wrapping_sub(b) % modulus;
    if forward < modulus / 2 { i32::from(forward) } else { i32::from(forward) - i32::from(modulus) }
}

#[cfg(test)]
#[path = "vp8_tests.rs"]
mod tests;
