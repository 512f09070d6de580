//! Pictures without what they tell about their makers: the place, the camera, the comments.
//!
//! Each format is a row of segments, copied one by one; only those stay that the picture needs.
//! What follows its end (motion, a second picture with the place again) is cut off.

use image::metadata::Orientation;

use super::content_type::ImageFormat;

/// The same picture without its metadata; how it is to be turned stays. `None` if its structure is
/// broken.
pub(super) fn without(picture: ImageFormat, bytes: &[u8]) -> Option<Vec<u8>> {
    match picture {
        ImageFormat::Jpeg => jpeg(bytes),
        ImageFormat::Png => png(bytes),
        ImageFormat::WebP => webp(bytes),
        ImageFormat::Gif => gif(bytes),
    }
}

/// Reads on and on; `None` once there is less than wanted.
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

    fn number(&mut self) -> Option<usize> {
        self.take(2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))
    }
}

/// TIFF with nothing but an orientation (CIPA DC-008, tag 0x0112).
fn only_turned(exif: &[u8]) -> Option<Vec<u8>> {
    let turned = Orientation::from_exif_chunk(exif)?.to_exif();
    let mut tiff = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([turned, 0, 0, 0, 0, 0, 0]);
    (turned != 1).then_some(tiff)
}

/// ISO/IEC 10918-1, annex B.
fn jpeg(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut input = ChunkReader(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    out.extend(input.take(2)?);
    let mut turned = false;
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
            0x01 | 0xd0..=0xd8 => continue, // no content, and no place here
            _ => {}
        }
        let length = input.number()?;
        let body = input.take(length.checked_sub(2)?)?;
        let keep = match marker {
            0xe1 => {
                let exif = body.strip_prefix(b"Exif\0\0").filter(|_| !turned);
                if let Some(tiff) = exif.and_then(only_turned) {
                    turned = true;
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
            let end = scan(input.0)?;
            out.extend(input.take(end)?);
        }
    }
}

/// Where the entropy-coded data of a scan end.
fn scan(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += data.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        match data.get(at + 1)? {
            0x00 | 0xd0..=0xd7 => at += 2, // a 255 in the data, and restarts
            0xff => at += 1,
            _ => return Some(at),
        }
    }
}

/// W3C PNG, third edition.
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
                if let Some(tiff) = only_turned(body) {
                    out.extend(u32::try_from(tiff.len()).ok()?.to_be_bytes());
                    let from = out.len();
                    out.extend(b"eXIf");
                    out.extend(tiff);
                    out.extend(crc32(&out[from..]).to_be_bytes());
                }
            }
            // Critical chunks, and those that say how to show it.
            _ if kind[0].is_ascii_uppercase() || SHOWING.contains(&kind) => {
                out.extend(chunk.get(..12 + length)?);
            }
            _ => {}
        }
        if kind == b"IEND" {
            return Some(out);
        }
    }
}

/// Chunks that say how a PNG is to be shown, its animation among them.
const SHOWING: [&[u8]; 15] = [
    b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"bKGD",
    b"pHYs", b"acTL", b"fcTL", b"fdAT", b"hIST",
];

/// The checksum of PNG chunks (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// RFC 9649.
fn webp(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut input = ChunkReader(bytes);
    let header = input.take(12)?;
    let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
    input.0 = input.0.get(..length.checked_sub(4)?)?; // what follows is not of it
    let mut out = header.to_vec();
    let (mut flags_at, mut turned) = (None, None);
    while !input.0.is_empty() {
        let chunk = input.0;
        let kind = input.take(4)?;
        let size = input.take(4)?;
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
        let body = input.take(size)?;
        let padding = size % 2;
        let _ = input.take(padding); // may be missing at the end
        match kind {
            b"EXIF" => turned = only_turned(body.strip_prefix(b"Exif\0\0").unwrap_or(body)),
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
        *flags &= !0x0c; // neither XMP nor Exif …
        if turned.is_some() {
            *flags |= 0x08; // … unless it is to be turned
        }
    }
    if let Some(tiff) = turned.filter(|_| flags_at.is_some()) {
        out.extend(b"EXIF");
        out.extend(u32::try_from(tiff.len()).ok()?.to_le_bytes());
        out.extend(&tiff);
    }
    let length = u32::try_from(out.len() - 8).ok()?.to_le_bytes();
    out.get_mut(4..8)?.copy_from_slice(&length);
    Some(out)
}

/// The GIF of 1989: comments and foreign applications (XMP among them) go, repetition stays.
fn gif(bytes: &[u8]) -> Option<Vec<u8>> {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut input = ChunkReader(bytes);
    let screen = input.take(13)?;
    let mut out = screen.to_vec();
    out.extend(input.take(table(screen[10]))?);
    loop {
        match input.byte()? {
            0x3b => {
                out.push(0x3b);
                return Some(out);
            }
            0x21 => {
                let label = input.byte()?;
                let blocks = blocks(&mut input)?;
                let repeats = blocks.get(1..12) == Some(b"NETSCAPE2.0");
                if label == 0xf9 || label == 0xff && repeats {
                    out.extend([0x21, label]);
                    out.extend(blocks);
                }
            }
            0x2c => {
                let head = input.take(9)?;
                out.push(0x2c);
                out.extend(head);
                out.extend(input.take(table(head[8]) + 1)?);
                out.extend(blocks(&mut input)?);
            }
            _ => return None,
        }
    }
}

/// Blocks up to the empty one, with their lengths.
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
