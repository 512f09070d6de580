//! Resumable uploads: tus 1.0 core with creation, expiration, checksum and termination.
//!
//! <https://tus.io/protocols/resumable-upload>

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use actix_web::web::{Bytes, BytesMut, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use aws_lc_rs::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use base::clock::Timestamp;
use base::ids::UploadId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;

use super::AppState;
use super::access::AccessRule;
use super::extract::{CurrentUser, PathIds};
use super::files::{count_rejection, with_idle_timeout};
use super::http_error::{INVALID_UPLOAD_HEADER, INVALID_UPLOAD_TYPE, UNSUPPORTED_UPLOAD_VERSION};
use super::problem::ApiError;
use super::route::Route;
use crate::actors::uploads::WriterToken;
use crate::domain::files::{CHUNK_BYTES, CreateUpload, FileError};
use crate::limits::MAX_UPLOAD_METADATA_BYTES;
use crate::protocol::files::UploadView;

/// The routes of resumable uploads.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::options("/api/uploads/", options, AccessRule::Anyone).summary("Capabilities of resumable uploads (tus 1.0)").empty_response(204),
        Route::post("/api/uploads/", create, AccessRule::User).summary("Create a resumable upload (tus 1.0)").response::<UploadView>(201),
        Route::get("/api/uploads/{id}", get, AccessRule::User).summary("State of an upload; HEAD as in tus")
            .response::<UploadView>(200),
        Route::patch("/api/uploads/{id}", append, AccessRule::User)
            .summary("Append to an upload (tus 1.0); the header `Upload-Attachment` names the file once it is complete").empty_response(204),
        Route::delete("/api/uploads/{id}", end, AccessRule::User).summary("Delete an upload (tus 1.0)").empty_response(204),
    ]
}

const TUS_VERSION: &str = "1.0.0";
const TUS_EXTENSIONS: &str = "creation,expiration,checksum,termination";

/// Adds the protocol version to every response at `/api/uploads/`, including errors.
pub(super) fn add_tus_headers(route: &str, status: StatusCode, headers: &mut HeaderMap) {
    if route.starts_with("/api/uploads/") {
        let version = HeaderValue::from_static(TUS_VERSION);
        headers.insert(HeaderName::from_static("tus-resumable"), version.clone());
        if status == StatusCode::PRECONDITION_FAILED {
            headers.insert(HeaderName::from_static("tus-version"), version);
        }
    }
}

fn expires(at: Timestamp) -> (HeaderName, String) {
    let at = std::time::UNIX_EPOCH
        + std::time::Duration::from_secs(u64::try_from(at.seconds()).unwrap_or(0));
    let date = actix_web::http::header::HttpDate::from(at);
    (HeaderName::from_static("upload-expires"), date.to_string())
}

/// `OPTIONS /api/uploads/`: tus capabilities of this server.
async fn options(app: Data<AppState>) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header(("Tus-Version", TUS_VERSION))
        .insert_header(("Tus-Extension", TUS_EXTENSIONS))
        .insert_header(("Tus-Checksum-Algorithm", "sha1,sha256"))
        .insert_header(("Tus-Max-Size", app.config.files.max_bytes))
        .finish()
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok())
}

fn header_number(headers: &HeaderMap, name: &'static str) -> Result<u64, ApiError> {
    let number = header_text(headers, name).and_then(|text| text.parse().ok());
    number.ok_or_else(|| ApiError::new(INVALID_UPLOAD_HEADER, format!("{name} must be a number")))
}

/// Checks the protocol version, which every request must send.
fn check_version(headers: &HeaderMap) -> Result<(), ApiError> {
    if header_text(headers, "Tus-Resumable") == Some(TUS_VERSION) {
        return Ok(());
    }
    Err(ApiError::new(UNSUPPORTED_UPLOAD_VERSION, UNSUPPORTED_UPLOAD_VERSION.text))
}

/// `POST /api/uploads/`
async fn create(
    app: Data<AppState>,
    principal: CurrentUser,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let headers = request.headers();
    check_version(headers)?;
    let size = header_number(headers, "Upload-Length")?;
    let mut new = CreateUpload { size, display_name: String::new(), purpose: None };
    let metadata = header_text(headers, "Upload-Metadata").unwrap_or_default();
    read_metadata(metadata, &mut new).map_err(count_rejection)?;
    let created = app.files.begin_upload(principal.0.user, new).await.map_err(count_rejection)?;
    let location = format!("/api/uploads/{}", created.id);
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, location))
        .insert_header(("Upload-Offset", 0))
        .insert_header(expires(created.expires_at))
        .json(created))
}

/// Parses `filename cGhvdG8uanBn,purpose …`: keys with base64 values.
fn read_metadata(text: &str, new: &mut CreateUpload) -> Result<(), FileError> {
    const INVALID: FileError =
        FileError::InvalidUpload("Upload-Metadata must be keys with base64 values");
    if text.len() > MAX_UPLOAD_METADATA_BYTES {
        return Err(INVALID);
    }
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = STANDARD.decode(value.trim()).map_err(|_| INVALID)?;
        let value = String::from_utf8(value).map_err(|_| INVALID)?;
        match key {
            "filename" => new.display_name = value,
            "purpose" => new.purpose = Some(value),
            _ => {} // unknown keys are ignored; the content type is detected from the bytes
        }
    }
    Ok(())
}

/// `GET` and `HEAD /api/uploads/{id}`
async fn get(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UploadId,)>,
) -> Result<HttpResponse, ApiError> {
    let upload = app.files.upload(principal.0.user, path.0.0).await?;
    Ok(HttpResponse::Ok()
        .insert_header(("Upload-Offset", upload.offset))
        .insert_header(("Upload-Length", upload.size))
        .insert_header(expires(upload.expires_at))
        .json(upload))
}

/// `DELETE /api/uploads/{id}`
async fn end(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UploadId,)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    check_version(request.headers())?;
    app.uploads.end(principal.0.user, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `PATCH /api/uploads/{id}`; the request that completes an upload gets the attachment id.
async fn append(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UploadId,)>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let headers = request.headers();
    check_version(headers)?;
    if header_text(headers, CONTENT_TYPE.as_str()) != Some("application/offset+octet-stream") {
        return Err(ApiError::new(INVALID_UPLOAD_TYPE, INVALID_UPLOAD_TYPE.text));
    }
    let offset = header_number(headers, "Upload-Offset")?;
    let checksum = header_text(headers, "Upload-Checksum").map(Checksum::parse).transpose()?;
    // The writer token first: an older request of the user ends without it and releases its permit.
    let mut writer =
        app.uploads.acquire_writer(principal.0.user, path.0.0).await.map_err(count_rejection)?;
    let _permit = app.files.acquire_permit(principal.0.user).map_err(count_rejection)?;
    if writer.offset != offset {
        return Err(count_rejection(FileError::OffsetMismatch));
    }
    let outcome = match write(&mut writer, payload, checksum).await {
        // The upload actor has ended: the next request opens it again.
        Err(FileError::StorageUnavailable) => {
            return Err(count_rejection(FileError::StorageUnavailable));
        }
        outcome => outcome,
    };
    if matches!(outcome, Err(FileError::ChecksumMismatch | FileError::TooLarge(_))) {
        // A request is stored completely or not at all.
        writer.truncate(offset).await.map_err(count_rejection)?;
    }
    let stored_size = writer.sync().await.map_err(count_rejection)?;
    match outcome {
        Err(FileError::ChecksumMismatch) => {
            // Checksum Mismatch (tus).
            let status = StatusCode::from_u16(460).unwrap_or(StatusCode::CONFLICT);
            return Err(ApiError::from(FileError::ChecksumMismatch).with_status(status));
        }
        other => other.map_err(count_rejection)?,
    }
    let mut response = HttpResponse::NoContent();
    response
        .insert_header(("Upload-Offset", stored_size))
        .insert_header(expires(writer.expires_at));
    if stored_size == writer.size {
        let completed = writer.finish().await.map_err(count_rejection)?;
        response.insert_header(("Upload-Attachment", completed.attachment.id.to_string()));
    }
    Ok(response.finish())
}

/// Writes the body. Bytes received before a failure are kept, so that the client can continue.
async fn write(
    writer: &mut WriterToken,
    mut payload: Payload,
    mut checksum: Option<Checksum>,
) -> Result<(), FileError> {
    let mut buffer = BytesMut::new();
    let mut outcome = Ok(());
    loop {
        let chunk = match with_idle_timeout(payload.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(error))) => {
                outcome = Err(FileError::UploadAborted(error.to_string()));
                break;
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        };
        if let Some(checksum) = &mut checksum {
            checksum.hash.update(&chunk);
        }
        buffer.extend_from_slice(&chunk);
        if buffer.len() >= CHUNK_BYTES {
            writer.write(buffer.split().freeze()).await?;
        }
    }
    if !buffer.is_empty() {
        writer.write(Bytes::from(buffer)).await?;
    }
    if checksum.is_some_and(|checksum| !checksum.matches()) {
        Err(FileError::ChecksumMismatch)
    } else {
        outcome
    }
}

/// Expected checksum of a request body.
struct Checksum {
    hash: Context,
    expected: Vec<u8>,
}

impl Checksum {
    /// Parses `sha256 …` with the digest in base64.
    fn parse(header: &str) -> Result<Self, ApiError> {
        let invalid = || {
            let message = "Upload-Checksum must be sha1 or sha256 and the digest in base64";
            ApiError::new(INVALID_UPLOAD_HEADER, message)
        };
        let (name, digest) = header.split_once(' ').ok_or_else(invalid)?;
        let algorithm: &'static Algorithm = match name {
            "sha1" => &SHA1_FOR_LEGACY_USE_ONLY,
            "sha256" => &SHA256,
            _ => return Err(invalid()),
        };
        let expected = STANDARD.decode(digest.trim()).map_err(|_| invalid())?;
        Ok(Self { hash: Context::new(algorithm), expected })
    }

    fn matches(self) -> bool {
        self.hash.finish().as_ref() == self.expected
    }
}
