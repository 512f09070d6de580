//! The one place where an error becomes a response (RFC 9457, `application/problem+json`).

use std::fmt;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use base::error::{CodedError, ErrorKind};

use crate::protocol::problem::{FieldError, Problem};

/// Why a request is not done: a problem on its way out. Boxed, since it is the rare outcome.
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
    /// Our own mistake, for the log only.
    cause: Option<Arc<dyn CodedError + Send + Sync>>,
}

impl ApiError {
    /// A refusal that comes from HTTP itself.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let errors = Vec::new();
        let inner = ApiErrorInner {
            status,
            code,
            detail,
            errors,
            retry_after: None,
            allow: None,
            request_id: None,
            cause: None,
        };
        Self(Box::new(inner))
    }

    /// Names the request in the answer itself, where nothing further out can.
    pub fn named(mut self, request_id: &str) -> Self {
        self.0.request_id = Some(request_id.to_owned());
        self
    }

    /// Which field was wrong.
    pub fn field(mut self, field: impl Into<String>, detail: impl Into<String>) -> Self {
        self.0.errors.push(FieldError { field: field.into(), detail: detail.into() });
        self
    }

    /// Which methods are allowed (RFC 9110 §15.5.6).
    pub fn allow(mut self, methods: String) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// From an error that is shared.
    pub fn of(fault: Arc<dyn CodedError + Send + Sync>) -> Self {
        let status = status(fault.kind());
        let internal = fault.kind() == ErrorKind::Internal;
        let code = fault.code();
        let detail = if internal {
            "something broke on our side".to_owned()
        } else if code.starts_with("store/") {
            // What a database says of itself is for those who run it.
            tracing::warn!(error = %fault, code, "database error in request");
            "the server's database does not answer just now: try again".to_owned()
        } else {
            fault.to_string()
        };
        Self(Box::new(ApiErrorInner {
            status,
            code,
            detail,
            errors: vec![],
            retry_after: fault.retry_after(),
            allow: None,
            request_id: None,
            cause: internal.then_some(fault),
        }))
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What crosses the wire. Our own mistakes are logged here, once, with their cause.
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

    /// The response with the request's id.
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

const fn status(kind: ErrorKind) -> StatusCode {
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

    /// Usually only a draft: [`super::middleware`] builds the response again with the request's id.
    fn error_response(&self) -> HttpResponse {
        self.response(self.0.request_id.as_deref())
    }
}
