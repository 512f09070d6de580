//! Probes audio and video containers for duration and dimensions without decoding. Reads are
//! bounded, whatever the file claims.

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
use crate::limits::{
    MAX_MEDIA_DURATION_MS, MAX_MP4_BOXES, MAX_PACKET_SCAN, MAX_PROBE_BYTES, MAX_PROBE_PACKETS,
    MAX_PROBE_READS,
};
use crate::telemetry::metrics::AV_PROBES;

/// Maximum time of a probe; the file is stored without the information if it takes longer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Properties of an audio or video file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AvInfo {
    /// Displayed width and height in pixels.
    pub(super) pixels: Option<Dimensions>,
    /// Duration in milliseconds.
    pub(super) duration_ms: Option<i64>,
    /// Whether there are only audio tracks, whatever the container is commonly used for.
    pub(super) is_audio_only: bool,
}

/// Probes an audio or video file; properties that cannot be determined are `None`.
pub(super) async fn probe(images: &ImageProcessor, content_type: &str, file: &Path) -> AvInfo {
    if !content_type.starts_with("video/") && !content_type.starts_with("audio/") {
        return AvInfo::default();
    }
    let Some(permit) = images.acquire_slot().await else {
        counter!(AV_PROBES, "outcome" => "busy").increment(1);
        return AvInfo::default();
    };
    let file: PathBuf = file.to_owned();
    // Dropping the handle does not stop the work: it holds its slot until it is done.
    let work = spawn_blocking(move || {
        let _permit = permit;
        catch_unwind(|| read_info(&file).ok()).ok().flatten()
    });
    let (outcome, info) = match tokio::time::timeout(PROBE_TIMEOUT, work).await {
        Ok(Ok(Some(info))) => ("known", info),
        Ok(_) => ("unclear", AvInfo::default()),
        Err(_) => ("slow", AvInfo::default()),
    };
    counter!(AV_PROBES, "outcome" => outcome).increment(1);
    info
}

fn read_info(path: &Path) -> io::Result<AvInfo> {
    let source = BoundedReader::open(path)?;
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    // Tags and cover images are not needed.
    let metadata = MetadataOptions::default()
        .limit_tag_bytes(Limit::Maximum(0))
        .limit_visual_bytes(Limit::Maximum(0));
    let mut reader = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), metadata)
        .map_err(io::Error::other)?;
    let media = reader.media_info();
    let tracks =
        reader.tracks().iter().filter_map(|track| duration_ms(track.time_base, track.duration));
    let declared = tracks.chain(duration_ms(media.time_base, media.duration)).max();
    let is_audio = |track: &Track| matches!(track.codec_params, Some(CodecParameters::Audio(_)));
    let is_audio_only = !reader.tracks().is_empty() && reader.tracks().iter().all(is_audio);
    let mut pixels = reader.tracks().iter().find_map(dimensions);
    let boxes = match reader.format_info().format {
        FORMAT_ID_ISOMP4 => Mp4Boxes::of(&File::open(path)?)?,
        _ => Mp4Boxes::default(),
    };
    // In fragmented files the declared duration covers the first fragment at most.
    let declared = declared.filter(|_| !boxes.is_fragmented);
    let may_scan = boxes.samples <= u64::from(MAX_PROBE_PACKETS);
    let duration_ms = declared.or_else(|| may_scan.then(|| scan_duration(&mut *reader)).flatten());
    if pixels.is_some() && boxes.is_rotated {
        pixels = pixels.map(|(width, height)| (height, width));
    }
    Ok(AvInfo { pixels, duration_ms, is_audio_only })
}

/// Duration from the first packet to the end of the last one, for recordings without a declared
/// duration (recorders do not know it when they start). `None` if there are too many packets.
fn scan_duration(reader: &mut dyn FormatReader) -> Option<i64> {
    let tracks = reader.tracks().iter().filter_map(|track| Some((track.id, track.time_base?)));
    let bases: Vec<_> = tracks.collect();
    let (mut first_ms, mut last_ms) = (None::<i64>, None::<i64>);
    let (mut packets, started) = (0..MAX_PROBE_PACKETS, Instant::now());
    loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // A recording may end in the middle of a packet.
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(_) => return None,
        };
        packets.next().filter(|_| started.elapsed() < MAX_PACKET_SCAN)?;
        let Some((_, base)) = bases.iter().find(|(id, _)| *id == packet.track_id) else { continue };
        let to_ms = |time| i64::try_from(base.calc_time(time)?.as_millis()).ok();
        let (Some(start), Some(end)) =
            (to_ms(packet.pts), to_ms(packet.pts.saturating_add(packet.dur)))
        else {
            continue;
        };
        first_ms = Some(first_ms.map_or(start, |before| before.min(start)));
        last_ms = Some(last_ms.map_or(end, |before| before.max(end)));
    }
    last_ms?.checked_sub(first_ms?).filter(|ms| (1..=MAX_MEDIA_DURATION_MS).contains(ms))
}

fn duration_ms(base: Option<TimeBase>, ticks: Option<Ticks>) -> Option<i64> {
    let time = base?.calc_duration(ticks?)?;
    i64::try_from(time.as_millis()).ok().filter(|ms| (1..=MAX_MEDIA_DURATION_MS).contains(ms))
}

fn dimensions(track: &Track) -> Option<Dimensions> {
    let Some(CodecParameters::Video(video)) = &track.codec_params else { return None };
    let (width, height) = (video.width?, video.height?);
    (width > 0 && height > 0).then(|| (width.into(), height.into()))
}

/// Properties read from MP4 boxes (ISO/IEC 14496-12).
#[derive(Default)]
struct Mp4Boxes {
    /// The first video track is displayed rotated by 90 degrees, as phones record.
    is_rotated: bool,
    /// The file is fragmented, as browsers record.
    is_fragmented: bool,
    /// Number of samples the fragments claim to have; a scan visits that many, whether they exist
    /// or not. [`u64::MAX`] if unknown.
    samples: u64,
}

impl Mp4Boxes {
    fn of(file: &File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        let mut open = vec![(0, end)];
        let (mut rotated, mut boxes) = (None, Self::default());
        for _ in 0..MAX_MP4_BOXES {
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
                boxes.samples = u64::MAX; // the demuxer may interpret it differently
                continue;
            }
            open.push((at + size, end));
            match &head[4..8] {
                b"moov" | b"trak" | b"moof" | b"traf" => open.push((at + skip, at + size)),
                b"mvex" => boxes.is_fragmented = true,
                b"trun" => {
                    let mut count = [0; 4];
                    file.read_exact_at(&mut count, at + skip + 4)?;
                    let count = u64::from(u32::from_be_bytes(count));
                    boxes.samples = boxes.samples.saturating_add(count);
                }
                b"tkhd" if rotated.is_none() => rotated = is_track_rotated(file, at + skip)?,
                _ => {}
            }
        }
        boxes.is_rotated = rotated.unwrap_or(false);
        if !open.is_empty() {
            boxes.samples = u64::MAX; // not all boxes were inspected
        }
        Ok(boxes)
    }
}

/// Whether a track is rotated by 90 degrees; `None` if it is not a video track.
fn is_track_rotated(file: &File, at: u64) -> io::Result<Option<bool>> {
    let mut head = [0; 96];
    let count = file.read_at(&mut head, at)?;
    let matrix = if head[0] == 1 { 52 } else { 40 };
    let entry = |n: usize| head.get(matrix + 4 * n..matrix + 4 * n + 4);
    let is_zero = |n| entry(n).is_some_and(|entry| entry == [0; 4]);
    if count < matrix + 44 || is_zero(9) || is_zero(10) {
        return Ok(None);
    }
    Ok(Some(is_zero(0) && is_zero(4) && !is_zero(1) && !is_zero(3)))
}

/// A file with limits on bytes read and on the number of reads and seeks.
struct BoundedReader {
    file: File,
    size: u64,
    bytes_left: u64,
    operations_left: u32,
}

impl BoundedReader {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size, bytes_left: MAX_PROBE_BYTES, operations_left: MAX_PROBE_READS })
    }

    fn count_operation(&mut self) -> io::Result<()> {
        self.operations_left = self.operations_left.checked_sub(1).ok_or_else(limit_reached)?;
        Ok(())
    }
}

fn limit_reached() -> io::Error {
    io::Error::other("probe read limit reached")
}

impl Read for BoundedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.count_operation()?;
        let count = self.file.read(buffer)?;
        self.bytes_left = self.bytes_left.checked_sub(count as u64).ok_or_else(limit_reached)?;
        Ok(count)
    }
}

impl Seek for BoundedReader {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.count_operation()?;
        self.file.seek(position)
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

        let seeks =
            (0..=MAX_PROBE_READS).take_while(|_| source.seek(SeekFrom::Start(0)).is_ok()).count();
        assert_eq!(seeks, 20_000);
    }

    #[test]
    fn unterminated_mp4_boxes_are_parsed_with_bounded_depth() {
        let mut nest = Vec::new();
        for _ in 0..MAX_MP4_BOXES * 2 {
            nest.extend(b"\0\0\0\0moov");
        }
        let (_folder, path) = file(&nest);
        assert!(!Mp4Boxes::of(&File::open(path).unwrap()).unwrap().is_rotated);
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
