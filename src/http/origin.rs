//! Which web pages may call: CORS for requests, and the same question for WebSocket upgrades, which
//! CORS does not protect.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::HttpConfig;

/// Headers of ours that a page of another origin may read.
const SHOWN: &str = "retry-after, x-request-id, etag, content-range, content-disposition, location, \
     tus-resumable, tus-version, tus-extension, tus-max-size, upload-offset, upload-length, \
     upload-expires, upload-attachment";
/// Headers that it may send.
const TAKEN: &str = "authorization, content-type, range, if-none-match, if-range, tus-resumable, \
     upload-length, upload-metadata, upload-offset, upload-checksum";

/// Whether the page that sends this may talk to us; programs send no `Origin` and may.
pub(super) fn is_allowed(request: &HttpRequest, config: &HttpConfig) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    config.allows_origin(origin) || is_own(origin, request)
}

/// A page that this server itself handed out under the name the browser used.
fn is_own(origin: &str, request: &HttpRequest) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some() && authority == host
}

/// Adds what a browser wants to see before it shows our answer to an allowed page.
pub(super) fn answer(request: &HttpRequest, config: &HttpConfig, headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.headers().get(header::ORIGIN) else { return };
    if is_allowed(request, config) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let yes = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        let shown = HeaderValue::from_static(SHOWN);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, shown);
    }
}

/// Whether a request is a browser's question before the real one (a preflight).
pub(super) fn is_preflight(request: &HttpRequest) -> bool {
    request.method() == actix_web::http::Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a preflight of an allowed page is told.
pub(super) fn preflight() -> [(HeaderName, HeaderValue); 3] {
    [
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
        ),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(TAKEN)),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    ]
}
