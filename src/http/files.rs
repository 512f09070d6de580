//! Files over HTTP: taken in as a stream, given out whole or in part.

use std::time::Duration;

use actix_multipart::Multipart;
use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponseBuilder};
use base::ids::AttachmentId;
use futures_util::StreamExt;

use super::AppState;
use super::extract::{CurrentUser, PathIds};
use super::problem::ApiError;
use crate::domain::files::{FileDownload, FileError, may_show};
use crate::telemetry::metrics::refused;

/// Whoever sends nothing for this long is gone.
pub(super) const READ_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// What a page made of a file may do: nothing.
const POLICY: &str = "default-src 'none'; sandbox";

/// Counts a file that was refused.
pub(super) fn counted(error: FileError) -> ApiError {
    let refusal = ApiError::from(error);
    refused(refusal.code());
    refusal
}

/// `POST /api/attachments`
pub(super) async fn upload(
    app: Data<AppState>,
    me: CurrentUser,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(ApiError::new(
            status,
            "files/not-multipart",
            FileError::MissingFilePart.to_string(),
        ));
    }
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse().ok());
    let parts = Multipart::new(request.headers(), payload);
    let made = take(&app, &me, announced, parts).await.map_err(counted)?;
    Ok(HttpResponse::Created().json(made))
}

async fn take(
    app: &AppState,
    me: &CurrentUser,
    announced: Option<u64>,
    mut parts: Multipart,
) -> Result<crate::protocol::files::UploadedAttachment, FileError> {
    let mut incoming = app.files.begin(me.0.user, announced).await?;
    let broken =
        |error: actix_multipart::MultipartError| FileError::UploadAborted(error.to_string());
    let mut part = loop {
        match soon(parts.next()).await? {
            None => return Err(FileError::MissingFilePart),
            Some(part) => {
                let part = part.map_err(broken)?;
                if part.name() == Some("file") {
                    break part;
                }
            }
        }
    };
    let called = part.content_disposition().and_then(|header| header.get_filename());
    let called = called.unwrap_or_default().to_owned();
    while let Some(piece) = soon(part.next()).await? {
        incoming.write(&piece.map_err(broken)?).await?;
    }
    app.files.keep(me.0.user, &called, incoming).await
}

/// What comes before the sender counts as gone.
pub(super) async fn soon<T>(next: impl Future<Output = T>) -> Result<T, FileError> {
    let gone = |_| FileError::UploadAborted("nothing came for too long".to_owned());
    tokio::time::timeout(READ_IDLE_TIMEOUT, next).await.map_err(gone)
}

/// `GET /api/attachments/{id}`
pub(super) async fn download(
    app: Data<AppState>,
    me: CurrentUser,
    path: PathIds<(AttachmentId,)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let found = app.files.find(me.0.user, path.0.0).await?;
    give(&app, found, request.headers()).await
}

/// `GET /api/attachments/{id}/thumbnail`
pub(super) async fn thumbnail(
    app: Data<AppState>,
    me: CurrentUser,
    path: PathIds<(AttachmentId,)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let found = app.files.thumbnail(me.0.user, path.0.0).await?;
    give(&app, found, request.headers()).await
}

/// A file as RFC 9110 §13 and §14 want it.
async fn give(
    app: &AppState,
    found: FileDownload,
    asked: &HeaderMap,
) -> Result<HttpResponse, ApiError> {
    let etag = format!("\"{}\"", found.name.hash());
    let text = |name| asked.get(name).and_then(|value| value.to_str().ok());
    let matches = |tag: &str| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == etag;
    if text(IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(matches)) {
        return Ok(dressed(HttpResponse::NotModified(), &found, &etag).finish());
    }
    let unchanged = text(IF_RANGE).is_none_or(|tag| tag == etag);
    let range = text(RANGE).filter(|_| unchanged);
    let (mut answer, part) =
        match range.map_or(RangeRequest::All, |range| wanted(range, found.size)) {
            RangeRequest::All => (HttpResponse::Ok(), 0..found.size),
            RangeRequest::Part(from, to) => {
                let mut answer = HttpResponse::PartialContent();
                let range = format!("bytes {from}-{}/{}", to - 1, found.size);
                answer.insert_header((CONTENT_RANGE, range));
                (answer, from..to)
            }
            RangeRequest::Nothing => {
                return Ok(HttpResponse::RangeNotSatisfiable()
                    .insert_header((CONTENT_RANGE, format!("bytes */{}", found.size)))
                    .finish());
            }
        };
    let length = part.end - part.start;
    let pieces = app.files.read(&found.name, part).await?;
    let pieces = pieces.map(|piece| piece.map_err(actix_web::Error::from));
    answer = dressed(answer, &found, &etag);
    Ok(answer.body(SizedStream::new(length, pieces)))
}

fn dressed(
    mut answer: HttpResponseBuilder,
    found: &FileDownload,
    etag: &str,
) -> HttpResponseBuilder {
    let shown = may_show(&found.content_type);
    let kind = match found.content_type.as_str() {
        "text/plain" => "text/plain; charset=utf-8",
        kind if shown => kind,
        kind if kind.starts_with("text/") || kind.contains("xml") => "application/octet-stream",
        kind => kind,
    };
    answer.insert_header((CONTENT_TYPE, kind));
    answer.insert_header((CONTENT_DISPOSITION, disposition(shown, &found.display_name)));
    answer.insert_header((CONTENT_SECURITY_POLICY, POLICY));
    answer.insert_header((ETAG, etag));
    answer.insert_header((ACCEPT_RANGES, "bytes"));
    // May be kept, but whether it may still be seen is asked each time.
    answer.insert_header((CACHE_CONTROL, "private, no-cache"));
    answer
}

/// The name in a form that every client understands (RFC 6266, RFC 8187).
fn disposition(shown: bool, name: &str) -> String {
    let how = if shown { "inline" } else { "attachment" };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._- ".contains(c);
    let ascii: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let mut coded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            coded.push(char::from(byte));
        } else {
            coded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{how}; filename=\"{ascii}\"; filename*=UTF-8''{coded}")
}

#[derive(Debug, PartialEq, Eq)]
enum RangeRequest {
    All,
    Part(u64, u64),
    Nothing,
}

/// The part of `Range: bytes=…`; several parts at once are more than we give.
fn wanted(range: &str, size: u64) -> RangeRequest {
    let Some(range) = range.trim().strip_prefix("bytes=") else { return RangeRequest::All };
    if range.contains(',') {
        return RangeRequest::Nothing;
    }
    let Some((from, to)) = range.split_once('-') else { return RangeRequest::All };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (from.trim(), to.trim()) {
        ("", "") => RangeRequest::All,
        ("", last) => match number(last) {
            None => RangeRequest::All,
            Some(0) => RangeRequest::Nothing,
            Some(last) => RangeRequest::Part(size.saturating_sub(last), size),
        },
        (from, to) => match (number(from), if to.is_empty() { Some(size) } else { number(to) }) {
            (Some(from), Some(_)) if from >= size => RangeRequest::Nothing,
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
        assert_eq!(wanted("bytes=0-9", 100), RangeRequest::Part(0, 10));
        assert_eq!(wanted("bytes=90-", 100), RangeRequest::Part(90, 100));
        assert_eq!(wanted("bytes=-10", 100), RangeRequest::Part(90, 100));
        assert_eq!(wanted("bytes=-1000", 100), RangeRequest::Part(0, 100));
        assert_eq!(wanted("bytes=90-1000", 100), RangeRequest::Part(90, 100));
        assert_eq!(wanted("bytes=100-", 100), RangeRequest::Nothing);
        assert_eq!(wanted("bytes=-0", 100), RangeRequest::Nothing);
        assert_eq!(wanted("bytes=0-1,5-6", 100), RangeRequest::Nothing);
        assert_eq!(wanted("bytes=9-0", 100), RangeRequest::All);
        assert_eq!(wanted("bytes=a-", 100), RangeRequest::All);
        assert_eq!(wanted("lines=1-2", 100), RangeRequest::All);
    }

    #[test]
    fn file_name_cannot_inject_into_content_disposition() {
        let header = disposition(false, "a\"; x=\r\nü.txt");
        assert!(header.is_ascii() && !header.contains(['\r', '\n']));
        assert_eq!(header.matches('"').count(), 2);
    }
}
