//! Resumable uploads over HTTP: tus 1.0 core with creation, expiration, checksum and termination.
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
use super::extract::{CurrentUser, PathIds};
use super::files::{counted, soon};
use super::problem::ApiError;
use crate::actors::uploads::WriterToken;
use crate::domain::files::{CreateUpload, FileError, PIECE};

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,expiration,checksum,termination";
/// Longest `Upload-Metadata`.
const MAX_UPLOAD_METADATA_BYTES: usize = 4096;

/// What every answer at `/api/uploads/` says of the protocol, refusals too.
pub(super) fn add_tus_headers(route: &str, status: StatusCode, headers: &mut HeaderMap) {
    if route.starts_with("/api/uploads/") {
        let version = HeaderValue::from_static(VERSION);
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

/// `OPTIONS /api/uploads/`: what this server can.
pub(super) async fn options(app: Data<AppState>) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header(("Tus-Version", VERSION))
        .insert_header(("Tus-Extension", EXTENSIONS))
        .insert_header(("Tus-Checksum-Algorithm", "sha1,sha256"))
        .insert_header(("Tus-Max-Size", app.config.files.max_bytes))
        .finish()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok())
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<u64, ApiError> {
    let number = text(headers, name).and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "uploads/invalid-header",
            format!("{name}: a number"),
        )
    })
}

/// Every request says which protocol it speaks.
fn speaks(headers: &HeaderMap) -> Result<(), ApiError> {
    if text(headers, "Tus-Resumable") == Some(VERSION) {
        return Ok(());
    }
    let status = StatusCode::PRECONDITION_FAILED;
    Err(ApiError::new(status, "uploads/unsupported-version", "send `Tus-Resumable: 1.0.0`"))
}

/// `POST /api/uploads/`
pub(super) async fn create(
    app: Data<AppState>,
    me: CurrentUser,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let headers = request.headers();
    speaks(headers)?;
    let size = number(headers, "Upload-Length")?;
    let mut new = CreateUpload { size, called: String::new(), purpose: None };
    let metadata = text(headers, "Upload-Metadata").unwrap_or_default();
    read_metadata(metadata, &mut new).map_err(counted)?;
    let made = app.files.begin_upload(me.0.user, new).await.map_err(counted)?;
    let place = format!("/api/uploads/{}", made.id);
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, place))
        .insert_header(("Upload-Offset", 0))
        .insert_header(expires(made.expires_at))
        .json(made))
}

/// `filename cGhvdG8uanBn,purpose …`: keys, and values in base64.
fn read_metadata(text: &str, new: &mut CreateUpload) -> Result<(), FileError> {
    const BAD: FileError = FileError::BadUpload("Upload-Metadata: keys, and values in base64");
    if text.len() > MAX_UPLOAD_METADATA_BYTES {
        return Err(BAD);
    }
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = STANDARD.decode(value.trim()).map_err(|_| BAD)?;
        let value = String::from_utf8(value).map_err(|_| BAD)?;
        match key {
            "filename" => new.called = value,
            "purpose" => new.purpose = Some(value),
            _ => {} // clients send what they like; what we need we judge ourselves
        }
    }
    Ok(())
}

/// `GET` and `HEAD /api/uploads/{id}`
pub(super) async fn get(
    app: Data<AppState>,
    me: CurrentUser,
    path: PathIds<(UploadId,)>,
) -> Result<HttpResponse, ApiError> {
    let upload = app.files.upload(me.0.user, path.0.0).await?;
    Ok(HttpResponse::Ok()
        .insert_header(("Upload-Offset", upload.offset))
        .insert_header(("Upload-Length", upload.size))
        .insert_header(expires(upload.expires_at))
        .json(upload))
}

/// `DELETE /api/uploads/{id}`
pub(super) async fn end(
    app: Data<AppState>,
    me: CurrentUser,
    path: PathIds<(UploadId,)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    speaks(request.headers())?;
    app.uploads.end(me.0.user, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `PATCH /api/uploads/{id}`; whoever completes an upload is told what became of it.
pub(super) async fn append(
    app: Data<AppState>,
    me: CurrentUser,
    path: PathIds<(UploadId,)>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let headers = request.headers();
    speaks(headers)?;
    if text(headers, CONTENT_TYPE.as_str()) != Some("application/offset+octet-stream") {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let words = "send `Content-Type: application/offset+octet-stream`";
        return Err(ApiError::new(status, "uploads/invalid-type", words));
    }
    let offset = number(headers, "Upload-Offset")?;
    let checksum = text(headers, "Upload-Checksum").map(Checksum::read).transpose()?;
    // The pen first: an older request of theirs ends without it, and leaves its place.
    let mut pen = app.uploads.acquire_writer(me.0.user, path.0.0).await.map_err(counted)?;
    let _place = app.files.place(me.0.user).map_err(counted)?;
    if pen.offset != offset {
        return Err(counted(FileError::WrongOffset));
    }
    let written = match write(&mut pen, payload, checksum).await {
        // The upload has ended: the next request opens it again.
        Err(FileError::Storage) => return Err(counted(FileError::Storage)),
        written => written,
    };
    if matches!(written, Err(FileError::BadChecksum | FileError::TooLarge(_))) {
        pen.truncate(offset).await.map_err(counted)?; // a piece is taken whole or not at all
    }
    let kept = pen.sync().await.map_err(counted)?;
    match written {
        Err(FileError::BadChecksum) => {
            let status = StatusCode::from_u16(460).unwrap_or(StatusCode::CONFLICT); // as tus has it
            let error = FileError::BadChecksum;
            return Err(ApiError::new(status, "uploads/checksum-mismatch", error.to_string()));
        }
        other => other.map_err(counted)?,
    }
    let mut answer = HttpResponse::NoContent();
    answer.insert_header(("Upload-Offset", kept)).insert_header(expires(pen.expires_at));
    if kept == pen.size {
        let made = pen.finish().await.map_err(counted)?;
        answer.insert_header(("Upload-Attachment", made.attachment.id.to_string()));
    }
    Ok(answer.finish())
}

/// Writes what comes; what came before a failure stays, to be gone on from.
async fn write(
    pen: &mut WriterToken,
    mut payload: Payload,
    mut checksum: Option<Checksum>,
) -> Result<(), FileError> {
    let mut waiting = BytesMut::new();
    let mut outcome = Ok(());
    loop {
        let piece = match soon(payload.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(piece))) => piece,
            Ok(Some(Err(error))) => {
                outcome = Err(FileError::Broken(error.to_string()));
                break;
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        };
        if let Some(checksum) = &mut checksum {
            checksum.hash.update(&piece);
        }
        waiting.extend_from_slice(&piece);
        if waiting.len() >= PIECE {
            pen.write(waiting.split().freeze()).await?;
        }
    }
    if !waiting.is_empty() {
        pen.write(Bytes::from(waiting)).await?;
    }
    if checksum.is_some_and(|checksum| !checksum.fits()) {
        Err(FileError::BadChecksum)
    } else {
        outcome
    }
}

/// What a piece must add up to.
struct Checksum {
    hash: Context,
    wanted: Vec<u8>,
}

impl Checksum {
    /// `sha256 …`, in base64.
    fn read(header: &str) -> Result<Self, ApiError> {
        let bad = || {
            let words = "Upload-Checksum: sha1 or sha256, and the sum in base64";
            ApiError::new(StatusCode::BAD_REQUEST, "uploads/invalid-header", words)
        };
        let (name, sum) = header.split_once(' ').ok_or_else(bad)?;
        let algorithm: &'static Algorithm = match name {
            "sha1" => &SHA1_FOR_LEGACY_USE_ONLY,
            "sha256" => &SHA256,
            _ => return Err(bad()),
        };
        let wanted = STANDARD.decode(sum.trim()).map_err(|_| bad())?;
        Ok(Self { hash: Context::new(algorithm), wanted })
    }

    fn fits(self) -> bool {
        self.hash.finish().as_ref() == self.wanted
    }
}
