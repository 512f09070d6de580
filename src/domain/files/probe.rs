//! Sound and video: how long they last and how large their picture is, read from what wraps them
//! and never unpacked. Whatever a file says of itself, only so much of it is read.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use metrics::counter;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::common::Limit;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::FORMAT_ID_ISOMP4;
use symphonia::core::formats::{FormatOptions, FormatReader, Track};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::units::{Duration as Ticks, TimeBase};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::Dimensions;
use super::image::ImageProcessor;
use crate::telemetry::metrics::AV_PROBES;

/// Most bytes of a file that are read: the tables of a film of many hours fit.
const MAX_PROBE_BYTES: u64 = 16 * 1024 * 1024;
/// Most reads and jumps: the boxes of a film that comes in many fragments fit.
const MAX_PROBE_READS: u32 = 20_000;
/// How long it may take; the file is kept without an answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// What claims to last longer knows nothing of its time.
const MAX_DURATION_MS: i64 = 1000 * 60 * 60 * 1000;
/// Most packets that are counted where nothing says how long all of it lasts, an hour of speech; and how
/// long that may take: a file may claim any number of empty ones, each of them found more slowly.
const MAX_PROBE_PACKETS: u32 = 100_000;
const WALK: Duration = Duration::from_secs(1);
/// Most boxes of an MP4 that are looked at: those of a recording of twenty minutes.
const BOXES: usize = 10_000;

/// What is known of sound or video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AvInfo {
    /// As it is shown.
    pub(super) pixels: Option<Dimensions>,
    /// In milliseconds.
    pub(super) lasts: Option<i64>,
    /// There is sound, and nothing else, whatever the wrapping is commonly for.
    pub(super) is_sound: bool,
}

/// Looks at sound and video; whatever cannot be known is left open.
pub(super) async fn probe(studio: &ImageProcessor, content_type: &str, file: &Path) -> AvInfo {
    if !content_type.starts_with("video/") && !content_type.starts_with("audio/") {
        return AvInfo::default();
    }
    let Some(place) = studio.turn().await else {
        counter!(AV_PROBES, "outcome" => "busy").increment(1);
        return AvInfo::default();
    };
    let file: PathBuf = file.to_owned();
    // Whoever gives up waiting does not end the work: it keeps its place until it is done.
    let work = spawn_blocking(move || {
        let _place = place;
        catch_unwind(|| shape(&file).ok()).ok().flatten()
    });
    let (outcome, shape) = match tokio::time::timeout(PROBE_TIMEOUT, work).await {
        Ok(Ok(Some(shape))) => ("known", shape),
        Ok(_) => ("unclear", AvInfo::default()),
        Err(_) => ("slow", AvInfo::default()),
    };
    counter!(AV_PROBES, "outcome" => outcome).increment(1);
    shape
}

fn shape(path: &Path) -> io::Result<AvInfo> {
    let source = BoundedReader::open(path)?;
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    // What a file says in words, and its pictures, nobody asks for.
    let words = MetadataOptions::default()
        .limit_tag_bytes(Limit::Maximum(0))
        .limit_visual_bytes(Limit::Maximum(0));
    let mut found = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), words)
        .map_err(io::Error::other)?;
    let whole = found.media_info();
    let parts = found.tracks().iter().filter_map(|track| lasts(track.time_base, track.duration));
    let said = parts.chain(lasts(whole.time_base, whole.duration)).max();
    let sounds = |track: &Track| matches!(track.codec_params, Some(CodecParameters::Audio(_)));
    let is_sound = !found.tracks().is_empty() && found.tracks().iter().all(sounds);
    let mut pixels = found.tracks().iter().find_map(picture);
    let boxes = match found.format_info().format {
        FORMAT_ID_ISOMP4 => Mp4Boxes::of(&File::open(path)?)?,
        _ => Mp4Boxes::default(),
    };
    // What comes in fragments says how long the first one lasts, if anything.
    let said = said.filter(|_| !boxes.in_fragments);
    let may_walk = boxes.samples <= u64::from(MAX_PROBE_PACKETS);
    let lasts = said.or_else(|| may_walk.then(|| walked(&mut *found)).flatten());
    if pixels.is_some() && boxes.is_turned {
        pixels = pixels.map(|(width, height)| (height, width));
    }
    Ok(AvInfo { pixels, lasts, is_sound })
}

/// How long what was recorded lasts: whoever records does not know it when the file begins, so browsers
/// leave it out. From the first packet to the end of the last one; `None` if they are too many.
fn walked(file: &mut dyn FormatReader) -> Option<i64> {
    let tracks = file.tracks().iter().filter_map(|track| Some((track.id, track.time_base?)));
    let bases: Vec<_> = tracks.collect();
    let (mut begins, mut ends) = (None::<i64>, None::<i64>);
    let (mut packets, began) = (0..MAX_PROBE_PACKETS, Instant::now());
    loop {
        let packet = match file.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // The last part of what was recorded ends where the file ends.
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(_) => return None,
        };
        packets.next().filter(|_| began.elapsed() < WALK)?;
        let Some((_, base)) = bases.iter().find(|(id, _)| *id == packet.track_id) else { continue };
        let at = |time| i64::try_from(base.calc_time(time)?.as_millis()).ok();
        let (Some(begin), Some(end)) = (at(packet.pts), at(packet.pts.saturating_add(packet.dur)))
        else {
            continue;
        };
        begins = Some(begins.map_or(begin, |before| before.min(begin)));
        ends = Some(ends.map_or(end, |before| before.max(end)));
    }
    ends?.checked_sub(begins?).filter(|ms| (1..=MAX_DURATION_MS).contains(ms))
}

fn lasts(base: Option<TimeBase>, ticks: Option<Ticks>) -> Option<i64> {
    let time = base?.calc_duration(ticks?)?;
    i64::try_from(time.as_millis()).ok().filter(|ms| (1..=MAX_DURATION_MS).contains(ms))
}

fn picture(track: &Track) -> Option<Dimensions> {
    let Some(CodecParameters::Video(video)) = &track.codec_params else { return None };
    let (width, height) = (video.width?, video.height?);
    (width > 0 && height > 0).then(|| (width.into(), height.into()))
}

/// What the boxes of an MP4 say (ISO/IEC 14496-12).
#[derive(Default)]
struct Mp4Boxes {
    /// Its picture lies on its side, as phones take it. The first picture counts.
    is_turned: bool,
    /// It comes in fragments, as browsers record it.
    in_fragments: bool,
    /// How many samples its fragments claim to have; that many are gone through whether they are there
    /// or not. [`u64::MAX`] if they are not known.
    samples: u64,
}

impl Mp4Boxes {
    fn of(file: &File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        let mut open = vec![(0, end)];
        let (mut turned, mut boxes) = (None, Self::default());
        for _ in 0..BOXES {
            let Some((at, end)) = open.pop() else { break };
            if end.saturating_sub(at) < 8 {
                continue;
            }
            let mut head = [0; 16];
            let count = file.read_at(&mut head, at)?;
            let size = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
            let (size, skip) = match size {
                0 => (end - at, 8),
                1 if count == 16 => {
                    let mut long = [0; 8];
                    long.copy_from_slice(&head[8..]);
                    (u64::from_be_bytes(long), 16)
                }
                size => (size, 8),
            };
            if size < skip || size > end - at {
                boxes.samples = u64::MAX; // others may read it in another way
                continue;
            }
            open.push((at + size, end));
            match &head[4..8] {
                b"moov" | b"trak" | b"moof" | b"traf" => open.push((at + skip, at + size)),
                b"mvex" => boxes.in_fragments = true,
                b"trun" => {
                    let mut count = [0; 4];
                    file.read_exact_at(&mut count, at + skip + 4)?;
                    let count = u64::from(u32::from_be_bytes(count));
                    boxes.samples = boxes.samples.saturating_add(count);
                }
                b"tkhd" if turned.is_none() => turned = turn(file, at + skip)?,
                _ => {}
            }
        }
        boxes.is_turned = turned.unwrap_or(false);
        if !open.is_empty() {
            boxes.samples = u64::MAX; // there are more boxes than are looked at
        }
        Ok(boxes)
    }
}

/// Whether a track lies on its side; `None` if it is no picture.
fn turn(file: &File, at: u64) -> io::Result<Option<bool>> {
    let mut head = [0; 96];
    let count = file.read_at(&mut head, at)?;
    let matrix = if head[0] == 1 { 52 } else { 40 };
    let word = |n: usize| head.get(matrix + 4 * n..matrix + 4 * n + 4);
    let is_nothing = |n| word(n).is_some_and(|word| word == [0; 4]);
    if count < matrix + 44 || is_nothing(9) || is_nothing(10) {
        return Ok(None);
    }
    Ok(Some(is_nothing(0) && is_nothing(4) && !is_nothing(1) && !is_nothing(3)))
}

/// A file of which only so much is read.
struct BoundedReader {
    file: File,
    size: u64,
    bytes: u64,
    steps: u32,
}

impl BoundedReader {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size, bytes: MAX_PROBE_BYTES, steps: MAX_PROBE_READS })
    }

    fn step(&mut self) -> io::Result<()> {
        self.steps = self.steps.checked_sub(1).ok_or_else(spent)?;
        Ok(())
    }
}

fn spent() -> io::Error {
    io::Error::other("enough of this file was read")
}

impl Read for BoundedReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.step()?;
        let count = self.file.read(into)?;
        self.bytes = self.bytes.checked_sub(count as u64).ok_or_else(spent)?;
        Ok(count)
    }
}

impl Seek for BoundedReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.step()?;
        self.file.seek(to)
    }
}

impl MediaSource for BoundedReader {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn media_probe_read_and_seek_budget_is_bounded() {
        let (_folder, path) = file(b"");
        File::options().write(true).open(&path).unwrap().set_len(MAX_PROBE_BYTES + 1).unwrap();
        let mut source = BoundedReader::open(&path).unwrap();
        assert!(io::copy(&mut source, &mut io::sink()).is_err());
        let mut source = BoundedReader::open(&path).unwrap();

        let jumps =
            (0..=MAX_PROBE_READS).take_while(|_| source.seek(SeekFrom::Start(0)).is_ok()).count();
        assert_eq!(jumps, 20_000);
    }

    #[test]
    fn unterminated_mp4_boxes_are_parsed_with_bounded_depth() {
        let mut nest = Vec::new();
        for _ in 0..BOXES * 2 {
            nest.extend(b"\0\0\0\0moov");
        }
        let (_folder, path) = file(&nest);
        assert!(!Mp4Boxes::of(&File::open(path).unwrap()).unwrap().is_turned);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_mp4_box_content_does_not_panic(content in proptest::collection::vec(0u8..=255, 0..200)) {
            let mut boxes = b"\0\0\0\0moov\0\0\0\0trak\0\0\0\0tkhd".to_vec();
            boxes.extend(content);
            let (_folder, path) = file(&boxes);
            Mp4Boxes::of(&File::open(path).unwrap()).unwrap();
        }
    }
}
