//! Origin checks: CORS for requests, and the same check for WebSocket upgrades, which CORS does not
//! protect.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::HttpConfig;

/// Response headers that pages of other origins may read.
const EXPOSED_HEADERS: &str = "retry-after, x-request-id, etag, content-range, content-disposition, location, \
     tus-resumable, tus-version, tus-extension, tus-max-size, upload-offset, upload-length, \
     upload-expires, upload-attachment";
/// Request headers that pages of other origins may send.
const ALLOWED_HEADERS: &str = "authorization, content-type, range, if-none-match, if-range, tus-resumable, \
     upload-length, upload-metadata, upload-offset, upload-checksum";

/// Whether the origin of the request is allowed. Requests without `Origin` (programs) are.
pub(super) fn is_allowed(request: &HttpRequest, config: &HttpConfig) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    config.allows_origin(origin) || is_own(origin, request)
}

/// Whether the page was served by this server under the host name of the request.
fn is_own(origin: &str, request: &HttpRequest) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some() && authority == host
}

/// Adds CORS headers to the response for allowed origins.
pub(super) fn add_cors_headers(
    request: &HttpRequest,
    config: &HttpConfig,
    headers: &mut HeaderMap,
) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.headers().get(header::ORIGIN) else { return };
    if is_allowed(request, config) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let allow = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, allow);
        let exposed = HeaderValue::from_static(EXPOSED_HEADERS);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// Whether the request is a CORS preflight.
pub(super) fn is_preflight(request: &HttpRequest) -> bool {
    request.method() == actix_web::http::Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Headers of a preflight response for allowed origins.
pub(super) fn preflight() -> [(HeaderName, HeaderValue); 3] {
    [
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
        ),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS)),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    ]
}
