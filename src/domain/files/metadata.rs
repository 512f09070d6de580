//! Removes image metadata: location, camera, comments.
//!
//! Each format is a sequence of segments, copied one by one; only segments needed to display the
//! image are kept. Data after the end of the image (motion photos, a second image with its own
//! location) is cut off.

use image::metadata::Orientation;

use super::content_type::ImageFormat;

/// Removes the metadata of an image except its orientation. `None` if the file structure is
/// invalid.
pub(super) fn strip(format: ImageFormat, bytes: &[u8]) -> Option<Vec<u8>> {
    match format {
        ImageFormat::Jpeg => jpeg(bytes),
        ImageFormat::Png => png(bytes),
        ImageFormat::WebP => webp(bytes),
        ImageFormat::Gif => gif(bytes),
    }
}

/// Reads consecutive bytes; returns `None` when there are too few.
struct ChunkReader<'a>(&'a [u8]);

impl<'a> ChunkReader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn u16_be(&mut self) -> Option<usize> {
        self.take(2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))
    }
}

/// TIFF structure with only the orientation (CIPA DC-008, tag 0x0112); `None` if not rotated.
fn orientation_only(exif: &[u8]) -> Option<Vec<u8>> {
    let orientation = Orientation::from_exif_chunk(exif)?.to_exif();
    let mut tiff = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0]);
    (orientation != 1).then_some(tiff)
}

/// JPEG (ISO/IEC 10918-1, annex B).
fn jpeg(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut input = ChunkReader(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    out.extend(input.take(2)?);
    let mut orientation_copied = false;
    loop {
        if input.byte()? != 0xff {
            return None;
        }
        let mut marker = input.byte()?;
        while marker == 0xff {
            marker = input.byte()?; // fill bytes
        }
        match marker {
            0xd9 => {
                out.extend([0xff, marker]);
                return Some(out);
            }
            0x01 | 0xd0..=0xd8 => continue, // markers without content, not allowed here
            _ => {}
        }
        let length = input.u16_be()?;
        let body = input.take(length.checked_sub(2)?)?;
        let keep = match marker {
            0xe1 => {
                let exif = body.strip_prefix(b"Exif\0\0").filter(|_| !orientation_copied);
                if let Some(tiff) = exif.and_then(orientation_only) {
                    orientation_copied = true;
                    let length = u16::try_from(tiff.len() + 8).ok()?;
                    out.extend([0xff, 0xe1]);
                    out.extend(length.to_be_bytes());
                    out.extend(b"Exif\0\0");
                    out.extend(tiff);
                }
                false
            }
            0xe2 => body.starts_with(b"ICC_PROFILE\0"),
            0xe0 => body.starts_with(b"JFIF\0"),
            0xee => body.starts_with(b"Adobe"),
            0xe3..=0xef | 0xfe => false,
            _ => true,
        };
        if keep {
            out.extend([0xff, marker]);
            out.extend(u16::try_from(length).ok()?.to_be_bytes());
            out.extend(body);
        }
        if marker == 0xda {
            let end = scan_end(input.0)?;
            out.extend(input.take(end)?);
        }
    }
}

/// Offset of the end of the entropy-coded data of a scan.
fn scan_end(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += data.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        match data.get(at + 1)? {
            0x00 | 0xd0..=0xd7 => at += 2, // escaped 0xff, and restart markers
            0xff => at += 1,
            _ => return Some(at),
        }
    }
}

/// PNG (W3C PNG, third edition).
fn png(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut input = ChunkReader(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    out.extend(input.take(8)?);
    loop {
        let chunk = input.0;
        let length = input.take(4)?;
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let kind = input.take(4)?;
        let body = input.take(length)?;
        input.take(4)?; // its checksum
        match kind {
            b"tEXt" | b"zTXt" | b"iTXt" | b"tIME" => {}
            b"eXIf" => {
                if let Some(tiff) = orientation_only(body) {
                    out.extend(u32::try_from(tiff.len()).ok()?.to_be_bytes());
                    let start = out.len();
                    out.extend(b"eXIf");
                    out.extend(tiff);
                    out.extend(crc32(&out[start..]).to_be_bytes());
                }
            }
            // Critical chunks and display-related chunks.
            _ if kind[0].is_ascii_uppercase() || DISPLAY_CHUNKS.contains(&kind) => {
                out.extend(chunk.get(..12 + length)?);
            }
            _ => {}
        }
        if kind == b"IEND" {
            return Some(out);
        }
    }
}

/// Ancillary PNG chunks that affect display, including animation.
const DISPLAY_CHUNKS: [&[u8]; 15] = [
    b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"bKGD",
    b"pHYs", b"acTL", b"fcTL", b"fdAT", b"hIST",
];

/// CRC-32 of PNG chunks (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// WebP (RFC 9649).
fn webp(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut input = ChunkReader(bytes);
    let header = input.take(12)?;
    let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
    input.0 = input.0.get(..length.checked_sub(4)?)?; // ignore trailing data
    let mut out = header.to_vec();
    let (mut flags_at, mut orientation) = (None, None);
    while !input.0.is_empty() {
        let chunk = input.0;
        let kind = input.take(4)?;
        let size = input.take(4)?;
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
        let body = input.take(size)?;
        let padding = size % 2;
        let _ = input.take(padding); // may be missing at the end
        match kind {
            b"EXIF" => {
                orientation = orientation_only(body.strip_prefix(b"Exif\0\0").unwrap_or(body))
            }
            b"VP8X" | b"VP8 " | b"VP8L" | b"ANIM" | b"ANMF" | b"ALPH" | b"ICCP" => {
                if kind == b"VP8X" {
                    flags_at = Some(out.len() + 8);
                }
                out.extend(chunk.get(..8 + size)?);
                out.resize(out.len() + padding, 0);
            }
            _ => {}
        }
    }
    if let Some(flags) = flags_at.and_then(|at| out.get_mut(at)) {
        *flags &= !0x0c; // clear the XMP and Exif flags …
        if orientation.is_some() {
            *flags |= 0x08; // … unless the orientation is kept
        }
    }
    if let Some(tiff) = orientation.filter(|_| flags_at.is_some()) {
        out.extend(b"EXIF");
        out.extend(u32::try_from(tiff.len()).ok()?.to_le_bytes());
        out.extend(&tiff);
    }
    let length = u32::try_from(out.len() - 8).ok()?.to_le_bytes();
    out.get_mut(4..8)?.copy_from_slice(&length);
    Some(out)
}

/// `GIF89a`. Removes comments and application extensions (XMP among them) except the loop extension.
fn gif(bytes: &[u8]) -> Option<Vec<u8>> {
    let color_table_bytes = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut input = ChunkReader(bytes);
    let screen = input.take(13)?;
    let mut out = screen.to_vec();
    out.extend(input.take(color_table_bytes(screen[10]))?);
    loop {
        match input.byte()? {
            0x3b => {
                out.push(0x3b);
                return Some(out);
            }
            0x21 => {
                let label = input.byte()?;
                let blocks = blocks(&mut input)?;
                let is_loop = blocks.get(1..12) == Some(b"NETSCAPE2.0");
                if label == 0xf9 || label == 0xff && is_loop {
                    out.extend([0x21, label]);
                    out.extend(blocks);
                }
            }
            0x2c => {
                let head = input.take(9)?;
                out.push(0x2c);
                out.extend(head);
                out.extend(input.take(color_table_bytes(head[8]) + 1)?);
                out.extend(blocks(&mut input)?);
            }
            _ => return None,
        }
    }
}

/// Sub-blocks up to and including the empty one, with their length bytes.
fn blocks<'a>(input: &mut ChunkReader<'a>) -> Option<&'a [u8]> {
    let all = input.0;
    let mut length = 0;
    loop {
        let size = usize::from(input.byte()?);
        input.take(size)?;
        length += 1 + size;
        if size == 0 {
            return all.get(..length);
        }
    }
}
