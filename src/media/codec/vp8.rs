//! VP8 in RTP (RFC 7741 §4.2): reads the payload descriptor, and keeps its counters continuous for
//! a subscriber who is given one layer after the other.

use std::collections::VecDeque;

const EXTENDED: u8 = 0x80;
const BEGINS_PARTITION: u8 = 0x10;
const HAS_PICTURE_ID: u8 = 0x80;
const HAS_TL0_INDEX: u8 = 0x40;
const HAS_TEMPORAL_ID: u8 = 0x20;
const HAS_KEY_INDEX: u8 = 0x10;
const WIDE: u8 = 0x80;

/// The payload descriptor of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vp8Descriptor {
    /// Whether this packet is the first of its partition.
    pub(crate) begins_partition: bool,
    /// Which partition it belongs to; 0 holds the header of the frame.
    pub(crate) partition: u8,
    /// The number of the picture: 7 or 15 bits.
    pub(crate) picture: Option<PictureId>,
    /// The running number of pictures of the lowest temporal layer.
    pub(crate) tl0_index: Option<u8>,
    /// The temporal layer, and whether it refers to the lowest layer only (a place to move up).
    pub(crate) temporal: Option<(u8, bool)>,
    /// How many bytes the descriptor has.
    pub(crate) length: usize,
    picture_at: usize,
    tl0_at: usize,
}

/// A picture's number, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PictureId {
    /// The number.
    pub(crate) number: u16,
    /// In 15 bits, rather than in 7.
    pub(crate) wide: bool,
}

impl PictureId {
    fn modulus(self) -> u16 {
        if self.wide { 1 << 15 } else { 1 << 7 }
    }
}

impl Vp8Descriptor {
    /// Reads a descriptor; `None` if the payload ends inside it or right behind it.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let flags = *payload.first()?;
        let mut descriptor = Self {
            begins_partition: flags & BEGINS_PARTITION != 0,
            partition: flags & 0x07,
            picture: None,
            tl0_index: None,
            temporal: None,
            length: 1,
            picture_at: 0,
            tl0_at: 0,
        };
        if flags & EXTENDED != 0 {
            descriptor.read_extension(payload)?;
        }
        payload.get(descriptor.length)?;
        Some(descriptor)
    }

    fn read_extension(&mut self, payload: &[u8]) -> Option<()> {
        let flags = *payload.get(1)?;
        let mut at = 2;
        if flags & HAS_PICTURE_ID != 0 {
            let first = *payload.get(at)?;
            self.picture_at = at;
            let wide = first & WIDE != 0;
            let number = if wide {
                u16::from_be_bytes([first & !WIDE, *payload.get(at + 1)?])
            } else {
                u16::from(first)
            };
            self.picture = Some(PictureId { number, wide });
            at += if wide { 2 } else { 1 };
        }
        if flags & HAS_TL0_INDEX != 0 {
            self.tl0_at = at;
            self.tl0_index = Some(*payload.get(at)?);
            at += 1;
        }
        if flags & (HAS_TEMPORAL_ID | HAS_KEY_INDEX) != 0 {
            let byte = *payload.get(at)?;
            if flags & HAS_TEMPORAL_ID != 0 {
                self.temporal = Some((byte >> 6, byte & 0x20 != 0));
            }
            at += 1;
        }
        self.length = at;
        Some(())
    }

    /// Writes both counters where they stood, in as many bits as they had.
    fn patch(&self, payload: &mut [u8], picture_shift: u16, tl0_shift: u8) {
        if let Some(picture) = self.picture {
            let number = picture.number.wrapping_add(picture_shift) % picture.modulus();
            let [high, low] = number.to_be_bytes();
            let place = payload.get_mut(self.picture_at..);
            match (place, picture.wide) {
                (Some([first, second, ..]), true) => (*first, *second) = (WIDE | high, low),
                (Some([first, ..]), false) => *first = low,
                _ => {}
            }
        }
        if let (Some(index), Some(place)) = (self.tl0_index, payload.get_mut(self.tl0_at)) {
            *place = index.wrapping_add(tl0_shift);
        }
    }
}

pub(super) fn begins_key_frame(payload: &[u8]) -> bool {
    Vp8Descriptor::parse(payload).is_some_and(|descriptor| {
        let header = payload.get(descriptor.length);
        let key = header.is_some_and(|byte| byte & 1 == 0);
        descriptor.begins_partition && descriptor.partition == 0 && key
    })
}

/// Shifts that hold for the pictures of one source from a certain one on.
#[derive(Clone, Copy, Debug)]
struct PictureIdSpan {
    source: u32,
    /// The first picture it holds for, in the source's numbers.
    first: u16,
    /// The first picture it holds for, in the numbers that the subscriber sees.
    begins: u16,
    picture_shift: u16,
    tl0_shift: u8,
}

/// How many spans are remembered for retransmissions: as many switches of the source.
const SPANS: usize = 32;

/// Keeps `PictureID` and TL0PICIDX of one subscriber's stream continuous, across switches of the
/// source. Pictures without a number are left as they are.
#[derive(Debug, Default)]
pub(crate) struct Vp8Munger {
    /// Oldest first.
    spans: VecDeque<PictureIdSpan>,
    /// What the subscriber saw last: picture and TL0 index.
    last: Option<(u16, u8)>,
    /// A source to begin with when its first packet comes.
    pending: Option<u32>,
}

impl Vp8Munger {
    /// From the next packet of `source` on, its pictures follow those sent so far.
    pub(crate) fn switch(&mut self, source: u32) {
        self.pending = Some(source);
    }

    /// Patches a copy of a packet's payload, also of one that is sent again later. False if it
    /// belongs to no span that is remembered: it must not be
    /// sent then.
    pub(crate) fn patch(&mut self, source: u32, payload: &mut [u8]) -> bool {
        let Some(descriptor) = Vp8Descriptor::parse(payload) else { return true };
        let Some(picture) = descriptor.picture else { return true };
        let tl0 = descriptor.tl0_index.unwrap_or(0);
        if self.pending == Some(source) {
            self.pending = None;
            self.begin(source, picture, tl0);
        }
        let Some(span) = self.span_of(source, picture) else { return false };
        descriptor.patch(payload, span.picture_shift, span.tl0_shift);
        let sent = picture.number.wrapping_add(span.picture_shift) % picture.modulus();
        let newer = self.last.is_none_or(|(last, _)| ahead(sent, last, picture.modulus()) > 0);
        if newer {
            self.last = Some((sent, tl0.wrapping_add(span.tl0_shift)));
            self.follow(picture);
        }
        true
    }

    /// Numbers are compared modulo their size, so the beginning of the newest span must not fall
    /// behind by half of it: it is moved up.
    fn follow(&mut self, picture: PictureId) {
        let modulus = picture.modulus();
        let Some(span) = self.spans.back_mut() else { return };
        if ahead(picture.number, span.first, modulus) > i32::from(modulus / 4) {
            span.first = span.first.wrapping_add(modulus / 8) % modulus;
            span.begins = span.begins.wrapping_add(modulus / 8) % modulus;
        }
    }

    fn begin(&mut self, source: u32, picture: PictureId, tl0: u8) {
        let (next, next_tl0) = match self.last {
            Some((last, last_tl0)) => (last.wrapping_add(1), last_tl0.wrapping_add(1)),
            None => (picture.number, tl0),
        };
        self.remember(PictureIdSpan {
            source,
            first: picture.number,
            begins: next % picture.modulus(),
            picture_shift: next.wrapping_sub(picture.number),
            tl0_shift: next_tl0.wrapping_sub(tl0),
        });
    }

    fn remember(&mut self, span: PictureIdSpan) {
        if self.spans.len() == SPANS {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }

    /// The newest span that holds for a picture, unless a later one has taken its number.
    fn span_of(&self, source: u32, picture: PictureId) -> Option<PictureIdSpan> {
        let modulus = picture.modulus();
        let mut taken: Option<u16> = None;
        for span in self.spans.iter().rev() {
            if span.source == source && ahead(picture.number, span.first, modulus) >= 0 {
                let number = picture.number.wrapping_add(span.picture_shift) % modulus;
                let free = taken.is_none_or(|taken| ahead(number, taken, modulus) < 0);
                return free.then_some(*span);
            }
            taken = Some(span.begins);
        }
        None
    }
}

/// By how much `a` is ahead of `b`, both counted modulo `modulus`.
fn ahead(a: u16, b: u16, modulus: u16) -> i32 {
    let forward = a.wrapping_sub(b) % modulus;
    if forward < modulus / 2 { i32::from(forward) } else { i32::from(forward) - i32::from(modulus) }
}

#[cfg(test)]
#[path = "vp8_tests.rs"]
mod tests;
