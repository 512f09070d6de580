//! HTTP handlers of files: streaming upload, download with ranges.

use std::time::Duration;

use actix_multipart::Multipart;
use actix_web::body::SizedStream;
use actix_web::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use base::ids::AttachmentId;
use futures_util::StreamExt;

use super::AppState;
use super::access::AccessRule;
use super::extract::{CurrentUser, PathIds};
use super::http_error::NOT_MULTIPART;
use super::problem::ApiError;
use super::route::Route;
use crate::domain::files::{FileDownload, FileError, is_displayable};
use crate::protocol::files::{AttachmentForm, UploadedAttachment};
use crate::telemetry::metrics::count_rejected;

/// The routes of files.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/attachments", upload, AccessRule::User).summary("Upload a file, to be attached to a message")
            .form_body::<AttachmentForm>().response::<UploadedAttachment>(201),
        Route::get("/api/attachments/{id}", download, AccessRule::User).summary("Download a file or one range of it; 206, 304 and 416 as in RFC 9110")
            .empty_response(200).empty_response(206).empty_response(304).empty_response(416),
        Route::get("/api/attachments/{id}/thumbnail", thumbnail, AccessRule::User).summary("Thumbnail of a file (JPEG); ranges as for the file")
            .empty_response(200).empty_response(206).empty_response(304).empty_response(416),
    ]
}

/// An upload that sends nothing for this long is aborted.
pub(super) const READ_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Content security policy of downloads: active content is disabled.
const DOWNLOAD_CSP: &str = "default-src 'none'; sandbox";

/// Converts an upload error and counts it as rejected.
pub(super) fn count_rejection(error: FileError) -> ApiError {
    let error = ApiError::from(error);
    count_rejected(error.code());
    error
}

/// `POST /api/attachments`
async fn upload(
    app: Data<AppState>,
    principal: CurrentUser,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
        return Err(ApiError::new(NOT_MULTIPART, NOT_MULTIPART.text));
    }
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse().ok());
    let parts = Multipart::new(request.headers(), payload);
    let created = receive(&app, &principal, announced, parts).await.map_err(count_rejection)?;
    Ok(HttpResponse::Created().json(created))
}

async fn receive(
    app: &AppState,
    principal: &CurrentUser,
    announced: Option<u64>,
    mut parts: Multipart,
) -> Result<crate::protocol::files::UploadedAttachment, FileError> {
    let mut incoming = app.files.begin(principal.0.user, announced).await?;
    let aborted =
        |error: actix_multipart::MultipartError| FileError::UploadAborted(error.to_string());
    let mut part = loop {
        match with_idle_timeout(parts.next()).await? {
            None => return Err(FileError::MissingFilePart),
            Some(part) => {
                let part = part.map_err(aborted)?;
                if part.name() == Some("file") {
                    break part;
                }
            }
        }
    };
    let file_name = part.content_disposition().and_then(|header| header.get_filename());
    let file_name = file_name.unwrap_or_default().to_owned();
    while let Some(chunk) = with_idle_timeout(part.next()).await? {
        incoming.write(&chunk.map_err(aborted)?).await?;
    }
    app.files.store_file(principal.0.user, &file_name, incoming).await
}

/// Waits for the next data, at most [`READ_IDLE_TIMEOUT`].
pub(super) async fn with_idle_timeout<T>(next: impl Future<Output = T>) -> Result<T, FileError> {
    let timed_out = |_| FileError::UploadAborted("no data was received in time".to_owned());
    tokio::time::timeout(READ_IDLE_TIMEOUT, next).await.map_err(timed_out)
}

/// `GET /api/attachments/{id}`
async fn download(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(AttachmentId,)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let found = app.files.find(principal.0.user, path.0.0).await?;
    serve_file(&app, found, request.headers()).await
}

/// `GET /api/attachments/{id}/thumbnail`
async fn thumbnail(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(AttachmentId,)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let found = app.files.thumbnail(principal.0.user, path.0.0).await?;
    serve_file(&app, found, request.headers()).await
}

/// Serves a file with conditional requests and ranges (RFC 9110 §13 and §14).
async fn serve_file(
    app: &AppState,
    file: FileDownload,
    request_headers: &HeaderMap,
) -> Result<HttpResponse, ApiError> {
    let etag = format!("\"{}\"", file.key.hash());
    let header_text = |name| request_headers.get(name).and_then(|value| value.to_str().ok());
    let matches = |tag: &str| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == etag;
    if header_text(IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(matches)) {
        return Ok(with_file_headers(HttpResponse::NotModified(), &file, &etag).finish());
    }
    let unchanged = header_text(IF_RANGE).is_none_or(|tag| tag == etag);
    let range = header_text(RANGE).filter(|_| unchanged);
    let (mut response, byte_range) =
        match range.map_or(RangeRequest::All, |range| parse_range(range, file.size)) {
            RangeRequest::All => (HttpResponse::Ok(), 0..file.size),
            RangeRequest::Part(start, end) => {
                let mut response = HttpResponse::PartialContent();
                let range = format!("bytes {start}-{}/{}", end - 1, file.size);
                response.insert_header((CONTENT_RANGE, range));
                (response, start..end)
            }
            RangeRequest::Unsatisfiable => {
                return Ok(HttpResponse::RangeNotSatisfiable()
                    .insert_header((CONTENT_RANGE, format!("bytes */{}", file.size)))
                    .finish());
            }
        };
    let length = byte_range.end - byte_range.start;
    let chunks = app.files.read(&file.key, byte_range).await?;
    let chunks = chunks.map(|chunk| chunk.map_err(actix_web::Error::from));
    response = with_file_headers(response, &file, &etag);
    Ok(response.body(SizedStream::new(length, chunks)))
}

fn with_file_headers(
    mut response: HttpResponseBuilder,
    file: &FileDownload,
    etag: &str,
) -> HttpResponseBuilder {
    let inline = is_displayable(&file.content_type);
    let kind = match file.content_type.as_str() {
        "text/plain" => "text/plain; charset=utf-8",
        kind if inline => kind,
        kind if kind.starts_with("text/") || kind.contains("xml") => "application/octet-stream",
        kind => kind,
    };
    response.insert_header((CONTENT_TYPE, kind));
    response.insert_header((CONTENT_DISPOSITION, disposition(inline, &file.display_name)));
    response.insert_header((CONTENT_SECURITY_POLICY, DOWNLOAD_CSP));
    response.insert_header((ETAG, etag));
    response.insert_header((ACCEPT_RANGES, "bytes"));
    // May be cached, but permission is checked on every request.
    response.insert_header((CACHE_CONTROL, "private, no-cache"));
    response
}

/// `Content-Disposition` with an ASCII and an encoded name (RFC 6266, RFC 8187).
fn disposition(inline: bool, name: &str) -> String {
    let kind = if inline { "inline" } else { "attachment" };
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "._- ".contains(c);
    let ascii: String = name.chars().map(|c| if is_safe(c) { c } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[derive(Debug, PartialEq, Eq)]
enum RangeRequest {
    All,
    Part(u64, u64),
    Unsatisfiable,
}

/// Parses `Range: bytes=…` with a single range; several ranges are not supported.
fn parse_range(range: &str, size: u64) -> RangeRequest {
    let Some(range) = range.trim().strip_prefix("bytes=") else { return RangeRequest::All };
    if range.contains(',') {
        return RangeRequest::Unsatisfiable;
    }
    let Some((from, to)) = range.split_once('-') else { return RangeRequest::All };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (from.trim(), to.trim()) {
        ("", "") => RangeRequest::All,
        ("", suffix_length) => match number(suffix_length) {
            None => RangeRequest::All,
            Some(0) => RangeRequest::Unsatisfiable,
            Some(suffix_length) => RangeRequest::Part(size.saturating_sub(suffix_length), size),
        },
        (from, to) => match (number(from), if to.is_empty() { Some(size) } else { number(to) }) {
            (Some(from), Some(_)) if from >= size => RangeRequest::Unsatisfiable,
            (Some(from), Some(_)) if to.is_empty() => RangeRequest::Part(from, size),
            (Some(from), Some(to)) if from <= to => RangeRequest::Part(from, to.min(size - 1) + 1),
            _ => RangeRequest::All,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_header_is_parsed_per_rfc_9110() {
        assert_eq!(parse_range("bytes=0-9", 100), RangeRequest::Part(0, 10));
        assert_eq!(parse_range("bytes=90-", 100), RangeRequest::Part(90, 100));
        assert_eq!(parse_range("bytes=-10", 100), RangeRequest::Part(90, 100));
        assert_eq!(parse_range("bytes=-1000", 100), RangeRequest::Part(0, 100));
        assert_eq!(parse_range("bytes=90-1000", 100), RangeRequest::Part(90, 100));
        assert_eq!(parse_range("bytes=100-", 100), RangeRequest::Unsatisfiable);
        assert_eq!(parse_range("bytes=-0", 100), RangeRequest::Unsatisfiable);
        assert_eq!(parse_range("bytes=0-1,5-6", 100), RangeRequest::Unsatisfiable);
        assert_eq!(parse_range("bytes=9-0", 100), RangeRequest::All);
        assert_eq!(parse_range("bytes=a-", 100), RangeRequest::All);
        assert_eq!(parse_range("lines=1-2", 100), RangeRequest::All);
    }

    #[test]
    fn file_name_cannot_inject_into_content_disposition() {
        let header = disposition(false, "a\"; x=\r\nü.txt");
        assert!(header.is_ascii() && !header.contains(['\r', '\n']));
        assert_eq!(header.matches('"').count(), 2);
    }
}
