//! Middleware around every request: request id, rate limits, access, response headers, metrics and
//! one log line. A panic in a handler becomes a 500.

use std::panic::AssertUnwindSafe;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpResponse};
use base::error::{CodedError, ErrorKind};
use base::ids::RequestId;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::access::{self, authorize, is_safe_method};
use super::extract::not_found;
use super::http_error::{INVALID_REQUEST, METHOD_NOT_ALLOWED};
use super::problem::ApiError;
use super::routes::AccessTable;
use super::{AppState, origin, uploads};
use crate::telemetry::metrics;

/// Outermost middleware.
pub(super) async fn handle_request(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let id = RequestId::new().to_string();
    let app = request.app_data::<Data<AppState>>().cloned();
    let table = request.app_data::<Data<AccessTable>>().cloned();
    let (Some(app), Some(table)) = (app, table) else {
        return Err(actix_web::error::ErrorInternalServerError("application state is missing"));
    };
    let method = request.method().clone();
    let pattern = request.match_pattern();

    let mut response = if origin::is_preflight(request.request()) {
        let response = preflight(&request, &app);
        request.into_response(response)
    } else {
        let handled = call_handler(request, next, &app, &table, pattern.as_deref(), &id);
        handled.await.inspect_err(|error| {
            let status = error.as_response_error().status_code().as_u16();
            let route = pattern.as_deref().unwrap_or("none");
            metrics::record_request(
                method_name(&method),
                route,
                status,
                started.elapsed().as_secs_f64(),
            );
        })?
    };

    let (http, response_head) = (response.request().clone(), response.response_mut());
    add_security_headers(response_head.headers_mut(), &app, &id);
    origin::add_cors_headers(&http, &app.config.http, response_head.headers_mut());
    let status = response_head.status().as_u16();
    let elapsed = started.elapsed();
    let route = pattern.as_deref().unwrap_or("none");
    uploads::add_tus_headers(route, response_head.status(), response_head.headers_mut());
    metrics::record_request(method_name(&method), route, status, elapsed.as_secs_f64());
    tracing::debug!(
        request.id = id,
        http.method = %method,
        http.route = route,
        http.status = status,
        took_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        "request answered"
    );
    Ok(response)
}

/// Checks access, then runs the handler; every failure becomes a problem response. The router needs
/// exclusive access to the request, so no other handle to it may exist while the handler runs.
async fn call_handler(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    app: &AppState,
    table: &AccessTable,
    pattern: Option<&str>,
    id: &str,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Err(error) = check_access(&request, app, table, pattern).await {
        return Ok(request.into_response(error.response(Some(id))));
    }
    match Box::pin(AssertUnwindSafe(next.call(request)).catch_unwind()).await {
        Ok(Ok(response)) => Ok(match error_of(response.response()) {
            Some(error) => response.into_response(error.response(Some(id))),
            None => response.map_into_boxed_body(),
        }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ApiError::from(HandlerPanicked).named(id).into()),
    }
}

async fn check_access(
    request: &ServiceRequest,
    app: &AppState,
    table: &AccessTable,
    pattern: Option<&str>,
) -> Result<(), ApiError> {
    if app.draining.is_on() && !is_safe_method(request.method()) {
        return Err(access::AccessError::Draining.into());
    }
    let pattern = pattern.ok_or_else(not_found)?;
    let access = table.access(request.method(), pattern);
    let (rule, rate) = access.ok_or_else(|| method_not_allowed(&table.methods(pattern)))?;
    authorize(app, request, rule, rate).await
}

fn error_of<B>(response: &HttpResponse<B>) -> Option<ApiError> {
    let error = response.error()?;
    Some(error.as_error::<ApiError>().cloned().unwrap_or_else(|| {
        library_error(error.as_response_error().status_code(), &error.to_string())
    }))
}

/// An error of the HTTP library itself, such as a truncated body.
fn library_error(status: StatusCode, detail: &str) -> ApiError {
    ApiError::new(INVALID_REQUEST, detail).with_status(status)
}

fn method_not_allowed(allowed: &[Method]) -> ApiError {
    let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
    ApiError::new(METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED.text).allow(names.join(", "))
}

/// A handler panicked; the panic hook has logged the location.
#[derive(Debug, thiserror::Error)]
#[error("handler panicked")]
struct HandlerPanicked;

impl CodedError for HandlerPanicked {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }

    fn code(&self) -> &'static str {
        "internal"
    }
}

fn preflight(request: &ServiceRequest, app: &AppState) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    if origin::is_allowed(request.request(), &app.config.http) {
        for header in origin::preflight() {
            response.insert_header(header);
        }
    }
    response.finish()
}

/// Adds security headers unless the handler set them (OWASP Secure Headers).
fn add_security_headers(headers: &mut HeaderMap, app: &AppState, id: &str) {
    let mut set_default = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    set_default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set_default(header::X_FRAME_OPTIONS, "DENY");
    set_default(header::REFERRER_POLICY, "no-referrer");
    set_default(header::CACHE_CONTROL, "no-store");
    set_default(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    set_default(header::PERMISSIONS_POLICY, "geolocation=(), payment=()");
    set_default(HeaderName::from_static("cross-origin-resource-policy"), "same-site");
    if app.config.http.hsts {
        set_default(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains");
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}

/// Only known methods become metric labels, so that clients cannot create label values.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
