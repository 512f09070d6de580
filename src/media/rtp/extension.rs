//! RTP header extensions (RFC 8285): read in place in both forms, written in the one-byte form.

/// Profile of the one-byte form.
const ONE_BYTE_PROFILE: [u8; 2] = [0xbe, 0xde];
/// The upper twelve bits of the profile of the two-byte form.
const TWO_BYTE_PROFILE: u16 = 0x1000;
/// Size of the fixed header in bytes.
const FIXED_HEADER_BYTES: usize = 12;

/// Iterator over the extension elements of a header: id and value.
#[derive(Clone)]
pub(crate) struct HeaderExtensions<'a> {
    rest: &'a [u8],
    is_two_byte: bool,
}

impl<'a> HeaderExtensions<'a> {
    /// The elements of a complete header.
    pub(super) fn new(header: &'a [u8]) -> Self {
        let none = Self { rest: &[], is_two_byte: false };
        let Some(first) = header.first().filter(|first| *first & 0x10 != 0) else { return none };
        let offset = FIXED_HEADER_BYTES + usize::from(first & 0x0f) * 4;
        let (Some(profile), Some(rest)) =
            (header.get(offset..offset + 2), header.get(offset + 4..))
        else {
            return none;
        };
        if profile == ONE_BYTE_PROFILE {
            return Self { rest, is_two_byte: false };
        }
        let profile = u16::from_be_bytes([profile[0], profile[1]]);
        if profile & 0xfff0 == TWO_BYTE_PROFILE { Self { rest, is_two_byte: true } } else { none }
    }
}

impl<'a> Iterator for HeaderExtensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            if first == 0 {
                self.rest = rest; // padding
                continue;
            }
            let (id, length, rest) = if self.is_two_byte {
                let (&length, rest) = rest.split_first()?;
                (first, usize::from(length), rest)
            } else {
                (first >> 4, usize::from(first & 0x0f) + 1, rest)
            };
            if !self.is_two_byte && id == 15 {
                self.rest = &[]; // reserved: the rest must be ignored
                return None;
            }
            let value = rest.get(..length)?;
            self.rest = &rest[length..];
            return Some((id, value));
        }
    }
}

/// Writes elements in the one-byte form behind a fixed header without contributing sources.
pub(crate) struct HeaderExtensionWriter<'a> {
    packet: &'a mut [u8],
    position: usize,
}

impl<'a> HeaderExtensionWriter<'a> {
    /// Starts behind the fixed header, in a buffer that is long enough.
    pub(crate) fn new(packet: &'a mut [u8]) -> Self {
        Self { packet, position: FIXED_HEADER_BYTES + 4 }
    }

    /// Adds an element, unless it has no id or does not fit the form. Returns the offset of its value.
    pub(crate) fn add(&mut self, id: Option<u8>, value: &[u8]) -> Option<usize> {
        let (Some(id @ 1..=14), 1..=16) = (id, value.len()) else { return None };
        let value_start = self.position + 1;
        let end = value_start + value.len();
        let element = self.packet.get_mut(self.position..end)?;
        element[0] = id << 4 | (value.len() as u8 - 1);
        element[1..].copy_from_slice(value);
        self.position = end;
        Some(value_start)
    }

    /// Pads, writes the length and sets the extension bit. Returns the offset of the payload.
    pub(crate) fn finish(self) -> usize {
        let elements_start = FIXED_HEADER_BYTES + 4;
        if self.position == elements_start {
            return FIXED_HEADER_BYTES;
        }
        let end = self.position.next_multiple_of(4);
        self.packet[self.position..end].fill(0);
        let words = ((end - elements_start) / 4) as u16;
        self.packet[FIXED_HEADER_BYTES..FIXED_HEADER_BYTES + 2].copy_from_slice(&ONE_BYTE_PROFILE);
        self.packet[FIXED_HEADER_BYTES + 2..elements_start].copy_from_slice(&words.to_be_bytes());
        self.packet[0] |= 0x10;
        end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::RtpPacket;

    fn elements(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
        RtpPacket::parse(packet).unwrap().extensions().map(|(id, v)| (id, v.to_vec())).collect()
    }

    #[test]
    fn one_and_two_byte_header_extensions_are_parsed() {
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
        packet.extend([0xbe, 0xde, 0, 2, 0x10, 0xaa, 0, 0x21, 1, 2, 0xf0, 9]);
        assert_eq!(elements(&packet), [(1, vec![0xaa]), (2, vec![1, 2])]);
        packet.truncate(12);
        packet.extend([0x10, 0x00, 0, 2, 1, 0, 20, 3, b'a', b'b', b'c', 0]);
        assert_eq!(elements(&packet), [(1, vec![]), (20, b"abc".to_vec())]);
    }

    #[test]
    fn header_extension_without_elements_is_omitted() {
        let mut packet = [0x80; 40];
        let mut writer = HeaderExtensionWriter::new(&mut packet);
        writer.add(None, &[1]);
        writer.add(Some(15), &[1]);

        assert_eq!(writer.finish(), 12);
        assert_eq!(packet[0], 0x80);
    }

    proptest! {
        #[test]
        fn header_extension_elements_round_trip(
            values in prop::collection::vec((1u8..15, prop::collection::vec(any::<u8>(), 1..17)), 1..6),
        ) {
            let mut packet = vec![0; 200];
            packet[0] = 0x80;
            let mut writer = HeaderExtensionWriter::new(&mut packet);
            for (id, value) in &values {
                prop_assert!(writer.add(Some(*id), value).is_some());
            }
            let end = writer.finish();
            packet.truncate(end);
            prop_assert_eq!(elements(&packet), values);
        }

        #[test]
        fn arbitrary_header_extension_does_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 16..60), two_byte: bool) {
            bytes[0] = 0x90;
            let words = ((bytes.len() - 16) / 4) as u16;
            bytes[12..14].copy_from_slice(if two_byte { &[0x10, 0] } else { &ONE_BYTE_PROFILE });
            bytes[14..16].copy_from_slice(&words.to_be_bytes());
            let packet = RtpPacket::parse(&bytes).unwrap();
            prop_assert!(packet.extensions().count() <= bytes.len());
        }
    }
}
