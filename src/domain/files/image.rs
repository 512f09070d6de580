//! Image processing: size check before decoding, metadata removal, thumbnails. Concurrency, memory
//! and time are bounded.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::content_type::ImageFormat;
use super::{FileError, metadata};
use crate::config;
use crate::telemetry::metrics::IMAGE_PROCESSING;

/// How long a file waits for a processing slot.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum time to create a thumbnail; the image is stored without one if it takes longer.
const IMAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// JPEG quality of thumbnails, 1 to 100.
const JPEG_QUALITY: u8 = 80;

/// Processes images on a bounded number of threads.
pub(super) struct ImageProcessor {
    slots: Arc<Semaphore>,
    max_bytes: u64,
    max_pixels: u64,
    max_edge: u32,
}

/// Result of processing an image.
pub(super) struct ProcessedImage {
    /// Displayed width and height in pixels.
    pub(super) pixels: (i64, i64),
    /// Image bytes without metadata.
    pub(super) bytes: Vec<u8>,
    /// Thumbnail (JPEG), if one could be created.
    pub(super) thumbnail: Option<Vec<u8>>,
}

impl ImageProcessor {
    pub(super) fn new(config: &config::FilesConfig) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(config.image_threads)),
            max_bytes: config.max_image_bytes,
            max_pixels: config.max_image_pixels,
            max_edge: config.thumbnail_max_edge_pixels,
        }
    }

    /// Waits for a processing slot; `None` after [`QUEUE_TIMEOUT`].
    pub(super) async fn acquire_slot(&self) -> Option<OwnedSemaphorePermit> {
        let permit = tokio::time::timeout(QUEUE_TIMEOUT, self.slots.clone().acquire_owned()).await;
        permit.ok()?.ok()
    }

    pub(super) async fn process(
        &self,
        format: ImageFormat,
        file: PathBuf,
        size: u64,
    ) -> Result<ProcessedImage, FileError> {
        if size > self.max_bytes {
            return Err(FileError::TooLarge(self.max_bytes));
        }
        let permit = self.acquire_slot().await.ok_or(FileError::Overloaded)?;
        let max_pixels = self.max_pixels;
        let work =
            spawn_blocking(move || strip(format, &file, max_pixels).map(|image| (image, permit)));
        let ((mut pixels, bytes), permit) = work.await.map_err(|_| FileError::InvalidImage)??;

        let (input, max_edge) = (bytes.clone(), self.max_edge);
        // Dropping the handle does not stop the work: it holds its slot until it is done.
        let work =
            spawn_blocking(move || make_thumbnail(format, &input, (max_pixels, max_edge), permit));
        let (outcome, thumbnail) = match tokio::time::timeout(IMAGE_TIMEOUT, work).await {
            Ok(Ok(Some((rotated, thumbnail)))) => {
                if rotated {
                    pixels = (pixels.1, pixels.0);
                }
                ("made", Some(thumbnail))
            }
            Ok(_) => ("damaged", None),
            Err(_) => ("slow", None),
        };
        counter!(IMAGE_PROCESSING, "outcome" => outcome).increment(1);
        Ok(ProcessedImage { pixels, bytes: bytes.to_vec(), thumbnail })
    }
}

fn image_format(format: ImageFormat) -> image::ImageFormat {
    match format {
        ImageFormat::Jpeg => image::ImageFormat::Jpeg,
        ImageFormat::Png => image::ImageFormat::Png,
        ImageFormat::Gif => image::ImageFormat::Gif,
        ImageFormat::WebP => image::ImageFormat::WebP,
    }
}

type StrippedImage = ((i64, i64), bytes::Bytes);

fn strip(
    format: ImageFormat,
    file: &std::path::Path,
    max_pixels: u64,
) -> Result<StrippedImage, FileError> {
    let bytes = std::fs::read(file)?;
    let reader = ImageReader::with_format(Cursor::new(&bytes), image_format(format));
    let (width, height) = reader.into_dimensions().map_err(|_| FileError::InvalidImage)?;
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(FileError::ImageTooLarge(max_pixels));
    }
    let stripped = metadata::strip(format, &bytes).ok_or(FileError::InvalidImage)?;
    Ok(((width.into(), height.into()), stripped.into()))
}

/// Creates the thumbnail. Also returns whether the image is displayed rotated by 90 degrees.
fn make_thumbnail(
    format: ImageFormat,
    bytes: &[u8],
    (max_pixels, max_edge): (u64, u32),
    _permit: OwnedSemaphorePermit,
) -> Option<(bool, Vec<u8>)> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), image_format(format));
    let mut limits = Limits::default();
    limits.max_alloc = Some(max_pixels.saturating_mul(8));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let orientation = decoder.orientation().ok()?;
    let mut image = DynamicImage::from_decoder(decoder).ok()?;
    if image.width().max(image.height()) > max_edge {
        image = image.thumbnail(max_edge, max_edge);
    }
    image.apply_orientation(orientation);
    let mut out = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY);
    flatten_on_white(&image).write_with_encoder(encoder).ok()?;
    Some((orientation.to_exif() >= 5, out))
}

/// Blends transparent images onto white, since JPEG has no transparency.
fn flatten_on_white(image: &DynamicImage) -> DynamicImage {
    if !image.color().has_alpha() {
        return DynamicImage::ImageRgb8(image.to_rgb8());
    }
    let mut flat = image::RgbImage::new(image.width(), image.height());
    for (target, source) in flat.pixels_mut().zip(image.to_rgba8().pixels()) {
        let [r, g, b, a] = source.0;
        let mix =
            |c: u8| u8::try_from((u16::from(c) * u16::from(a) + 255 * (255 - u16::from(a))) / 255);
        *target = image::Rgb([r, g, b].map(|c| mix(c).unwrap_or(255)));
    }
    DynamicImage::ImageRgb8(flat)
}
