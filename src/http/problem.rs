//! Conversion of errors into responses (RFC 9457, `application/problem+json`).

use std::fmt;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use base::error::{CodedError, ErrorKind};

use super::http_error::HttpErrorCode;
use crate::protocol::problem::{FieldError, Problem};

/// An error on its way to the client. Boxed, since errors are rare.
#[derive(Clone)]
pub struct ApiError(Box<ApiErrorInner>);

#[derive(Clone)]
struct ApiErrorInner {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<u64>,
    allow: Option<String>,
    request_id: Option<String>,
    /// Cause of an internal error, for the log only.
    cause: Option<Arc<dyn CodedError + Send + Sync>>,
}

impl ApiError {
    /// An error of the HTTP layer itself.
    pub fn new(code: HttpErrorCode, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.status);
        let inner = ApiErrorInner {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: code.code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            allow: None,
            request_id: None,
            cause: None,
        };
        Self(Box::new(inner))
    }

    /// Replaces the status.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// Sets the request id in the response, where no middleware can add it.
    pub fn named(mut self, request_id: &str) -> Self {
        self.0.request_id = Some(request_id.to_owned());
        self
    }

    /// Adds details about one invalid field.
    pub fn field(mut self, field: impl Into<String>, detail: impl Into<String>) -> Self {
        self.0.errors.push(FieldError { field: field.into(), detail: detail.into() });
        self
    }

    /// Sets the allowed methods (RFC 9110 §15.5.6).
    pub fn allow(mut self, methods: String) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// Converts a shared error.
    pub fn of(error: Arc<dyn CodedError + Send + Sync>) -> Self {
        let status = status(error.kind());
        let internal = error.kind() == ErrorKind::Internal;
        let code = error.code();
        let detail = if internal {
            "internal server error".to_owned()
        } else if code.starts_with("store/") {
            // Database errors are internal details, so they are only logged.
            tracing::warn!(error = %error, code, "database error in request");
            "the database is unavailable: try again".to_owned()
        } else {
            error.to_string()
        };
        Self(Box::new(ApiErrorInner {
            status,
            code,
            detail,
            errors: vec![],
            retry_after: error.retry_after(),
            allow: None,
            request_id: None,
            cause: internal.then_some(error),
        }))
    }

    /// Stable problem code, `area/reason`.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// Problem body. Internal errors are logged here once, with their cause.
    pub fn problem(&self, request_id: Option<&str>) -> Problem {
        if let (Some(cause), Some(id)) = (&self.0.cause, request_id) {
            tracing::error!(request.id = id, error = %cause, code = self.0.code, "request failed");
        }
        Problem {
            r#type: format!("urn:securevox:{}", self.0.code),
            title: self.0.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.0.status.as_u16(),
            detail: self.0.detail.clone(),
            code: self.0.code.to_owned(),
            request_id: request_id.map(str::to_owned),
            errors: self.0.errors.clone(),
        }
    }

    /// HTTP response with the request id.
    pub fn response(&self, request_id: Option<&str>) -> HttpResponse {
        let mut response = HttpResponse::build(self.0.status);
        response.content_type("application/problem+json");
        if let Some(seconds) = self.0.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Some(allow) = self.0.allow.as_deref().and_then(|a| HeaderValue::from_str(a).ok()) {
            response.insert_header((ALLOW, allow));
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            response.insert_header(("WWW-Authenticate", "Bearer"));
        }
        response.json(self.problem(request_id))
    }
}

impl<E: CodedError + Send + Sync + 'static> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self::of(Arc::new(error))
    }
}

/// The status of a category of errors.
pub(super) const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.status.as_u16(), self.0.code)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    /// Usually a draft: [`super::middleware`] builds the response again with the request id.
    fn error_response(&self) -> HttpResponse {
        self.response(self.0.request_id.as_deref())
    }
}
