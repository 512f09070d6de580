//! Problem codes of the HTTP layer itself, for requests that no service gets to see.

/// An error of the HTTP layer: a request that no handler gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpErrorCode {
    /// The code, `area/reason`.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What it means.
    pub text: &'static str,
}

macro_rules! http_error_codes {
    ($($name:ident = $status:literal $code:literal $text:literal,)+) => {
        $(#[doc = concat!("`", $code, "`: ", $text)]
        pub(super) const $name: HttpErrorCode =
            HttpErrorCode { code: $code, status: $status, text: $text };)+

        /// The codes of the HTTP layer.
        pub const HTTP_ERROR_CODES: &[HttpErrorCode] = &[$($name),+];
    };
}

http_error_codes! {
    INVALID_REQUEST = 400 "http/invalid-request" "the request violates HTTP",
    INVALID_JSON = 400 "http/invalid-json" "the body is not valid JSON",
    UPGRADE_REQUIRED = 400 "http/upgrade-required" "this resource is a WebSocket",
    ORIGIN_NOT_ALLOWED = 403 "http/origin-not-allowed" "this origin is not allowed: see http.allowed_origins",
    NOT_FOUND = 404 "http/not-found" "no such resource",
    METHOD_NOT_ALLOWED = 405 "http/method-not-allowed" "this resource does not support this method",
    BODY_TIMEOUT = 408 "http/body-timeout" "the body was not received in time",
    BODY_TOO_LARGE = 413 "http/body-too-large" "a body has at most `http.max_body_bytes` bytes",
    NOT_JSON = 415 "http/not-json" "send `Content-Type: application/json`",
    INVALID_BODY = 422 "http/invalid-body" "the request does not match the schema",
    NOT_MULTIPART = 415 "files/not-multipart" "send the file as the part `file` of multipart/form-data",
    INVALID_UPLOAD_HEADER = 400 "uploads/invalid-header" "a header of the upload is missing or malformed",
    UNSUPPORTED_UPLOAD_VERSION = 412 "uploads/unsupported-version" "send `Tus-Resumable: 1.0.0`",
    INVALID_UPLOAD_TYPE = 415 "uploads/invalid-type" "send `Content-Type: application/offset+octet-stream`",
}
