//! Work on pictures: their size read before anything is unpacked, their metadata removed, a small
//! one made. On few threads at a time, with an end to memory and patience.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::FileError;
use super::content_type::ImageFormat;
use super::metadata;
use crate::config;
use crate::telemetry::metrics::IMAGE_PROCESSING;

/// How long a file waits for its turn.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a small picture may take; the large one is kept without it.
const IMAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Of small pictures, from 1 to 100.
const QUALITY: u8 = 80;

/// Where pictures are worked on.
pub(super) struct ImageProcessor {
    places: Arc<Semaphore>,
    bytes: u64,
    pixels: u64,
    side: u32,
}

/// What came of a picture.
pub(super) struct ProcessedImage {
    /// As it is shown.
    pub(super) pixels: (i64, i64),
    /// Without its metadata.
    pub(super) clean: Vec<u8>,
    /// The small one (JPEG), if one could be made.
    pub(super) small: Option<Vec<u8>>,
}

impl ImageProcessor {
    pub(super) fn new(config: &config::FilesConfig) -> Self {
        Self {
            places: Arc::new(Semaphore::new(config.image_threads)),
            bytes: config.max_image_bytes,
            pixels: config.max_image_pixels,
            side: config.thumbnail_max_edge_pixels,
        }
    }

    /// A place to work at, if one is free in time.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let place = tokio::time::timeout(QUEUE_TIMEOUT, self.places.clone().acquire_owned()).await;
        place.ok()?.ok()
    }

    pub(super) async fn process(
        &self,
        picture: ImageFormat,
        file: PathBuf,
        size: u64,
    ) -> Result<ProcessedImage, FileError> {
        if size > self.bytes {
            return Err(FileError::TooLarge(self.bytes));
        }
        let place = self.turn().await.ok_or(FileError::Busy)?;
        let most = self.pixels;
        let work = spawn_blocking(move || clean(picture, &file, most).map(|clean| (clean, place)));
        let ((mut pixels, clean), place) = work.await.map_err(|_| FileError::BadPicture)??;

        let (bytes, side) = (clean.clone(), self.side);
        // Whoever gives up waiting does not end the work: it keeps its place until it is done.
        let work = spawn_blocking(move || small(picture, &bytes, (most, side), place));
        let (outcome, small) = match tokio::time::timeout(IMAGE_TIMEOUT, work).await {
            Ok(Ok(Some((turned, small)))) => {
                if turned {
                    pixels = (pixels.1, pixels.0);
                }
                ("made", Some(small))
            }
            Ok(_) => ("damaged", None),
            Err(_) => ("slow", None),
        };
        counter!(IMAGE_PROCESSING, "outcome" => outcome).increment(1);
        Ok(ProcessedImage { pixels, clean: clean.to_vec(), small })
    }
}

fn format(picture: ImageFormat) -> image::ImageFormat {
    match picture {
        ImageFormat::Jpeg => image::ImageFormat::Jpeg,
        ImageFormat::Png => image::ImageFormat::Png,
        ImageFormat::Gif => image::ImageFormat::Gif,
        ImageFormat::WebP => image::ImageFormat::WebP,
    }
}

type StrippedImage = ((i64, i64), bytes::Bytes);

fn clean(
    picture: ImageFormat,
    file: &std::path::Path,
    most: u64,
) -> Result<StrippedImage, FileError> {
    let bytes = std::fs::read(file)?;
    let reader = ImageReader::with_format(Cursor::new(&bytes), format(picture));
    let (width, height) = reader.into_dimensions().map_err(|_| FileError::BadPicture)?;
    if u64::from(width) * u64::from(height) > most {
        return Err(FileError::TooManyPixels(most));
    }
    let clean = metadata::without(picture, &bytes).ok_or(FileError::BadPicture)?;
    Ok(((width.into(), height.into()), clean.into()))
}

/// The small picture, and whether it lies on another side than its bytes say.
fn small(
    picture: ImageFormat,
    bytes: &[u8],
    (most, side): (u64, u32),
    _place: OwnedSemaphorePermit,
) -> Option<(bool, Vec<u8>)> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format(picture));
    let mut limits = Limits::default();
    limits.max_alloc = Some(most.saturating_mul(8));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let turn = decoder.orientation().ok()?;
    let mut image = DynamicImage::from_decoder(decoder).ok()?;
    if image.width().max(image.height()) > side {
        image = image.thumbnail(side, side);
    }
    image.apply_orientation(turn);
    let mut out = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut out, QUALITY);
    on_white(&image).write_with_encoder(encoder).ok()?;
    Some((turn.to_exif() >= 5, out))
}

/// JPEG knows nothing transparent.
fn on_white(image: &DynamicImage) -> DynamicImage {
    if !image.color().has_alpha() {
        return DynamicImage::ImageRgb8(image.to_rgb8());
    }
    let mut flat = image::RgbImage::new(image.width(), image.height());
    for (to, from) in flat.pixels_mut().zip(image.to_rgba8().pixels()) {
        let [r, g, b, a] = from.0;
        let mix =
            |c: u8| u8::try_from((u16::from(c) * u16::from(a) + 255 * (255 - u16::from(a))) / 255);
        *to = image::Rgb([r, g, b].map(|c| mix(c).unwrap_or(255)));
    }
    DynamicImage::ImageRgb8(flat)
}
