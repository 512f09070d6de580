//! The way of every request in and out: its id, its limits, who may, its answer's headers, one line
//! in the log. A panic below ends here as a 500 and nowhere else.

use std::panic::AssertUnwindSafe;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpResponse};
use base::ids::RequestId;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::access::{self, authorize, is_reading};
use super::extract::not_found;
use super::problem::ApiError;
use super::routes::AccessTable;
use super::{AppState, origin, uploads};
use crate::telemetry::metrics;

/// Wraps everything else.
pub(super) async fn entry(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let begun = Instant::now();
    let id = RequestId::new().to_string();
    let services = request.app_data::<Data<AppState>>().cloned();
    let table = request.app_data::<Data<AccessTable>>().cloned();
    let (Some(services), Some(table)) = (services, table) else {
        return Err(actix_web::error::ErrorInternalServerError("the app has no services"));
    };
    let method = request.method().clone();
    let pattern = request.match_pattern();

    let mut response = if origin::is_preflight(request.request()) {
        let response = preflight(&request, &services);
        request.into_response(response)
    } else {
        let inside = inside(request, next, &services, &table, pattern.as_deref(), &id);
        inside.await.inspect_err(|error| {
            let status = error.as_response_error().status_code().as_u16();
            let route = pattern.as_deref().unwrap_or("none");
            metrics::record_request(
                method_name(&method),
                route,
                status,
                begun.elapsed().as_secs_f64(),
            );
        })?
    };

    let (http, response_head) = (response.request().clone(), response.response_mut());
    dress(response_head.headers_mut(), &services, &id);
    origin::answer(&http, &services.config.http, response_head.headers_mut());
    let status = response_head.status().as_u16();
    let took = begun.elapsed();
    let route = pattern.as_deref().unwrap_or("none");
    uploads::add_tus_headers(route, response_head.status(), response_head.headers_mut());
    metrics::record_request(method_name(&method), route, status, took.as_secs_f64());
    tracing::debug!(
        request.id = id,
        http.method = %method,
        http.route = route,
        http.status = status,
        took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    Ok(response)
}

/// Asks who may, then lets the handler work; every failure becomes a problem. The router needs
/// the request for itself alone, so no second handle to it may exist while the handler works.
async fn inside(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    services: &AppState,
    table: &AccessTable,
    pattern: Option<&str>,
    id: &str,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Err(refusal) = may_enter(&request, services, table, pattern).await {
        return Ok(request.into_response(refusal.response(Some(id))));
    }
    match Box::pin(AssertUnwindSafe(next.call(request)).catch_unwind()).await {
        Ok(Ok(response)) => Ok(match own_error(response.response()) {
            Some(refusal) => response.into_response(refusal.response(Some(id))),
            None => response.map_into_boxed_body(),
        }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ApiError::from(HandlerPanicked).named(id).into()),
    }
}

async fn may_enter(
    request: &ServiceRequest,
    services: &AppState,
    table: &AccessTable,
    pattern: Option<&str>,
) -> Result<(), ApiError> {
    if services.draining.is_on() && !is_reading(request.method()) {
        return Err(access::AccessError::Leaving.into());
    }
    let pattern = pattern.ok_or_else(not_found)?;
    let access = table.access(request.method(), pattern);
    let (who, rate) = access.ok_or_else(|| wrong_method(&table.methods(pattern)))?;
    authorize(services, request, who, rate).await
}

fn own_error<B>(response: &HttpResponse<B>) -> Option<ApiError> {
    let error = response.error()?;
    Some(
        error.as_error::<ApiError>().cloned().unwrap_or_else(|| {
            foreign(error.as_response_error().status_code(), &error.to_string())
        }),
    )
}

/// An error of the HTTP library itself, such as a body cut off.
fn foreign(status: StatusCode, detail: &str) -> ApiError {
    ApiError::new(status, "http/invalid-request", detail)
}

fn wrong_method(allowed: &[Method]) -> ApiError {
    let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "http/method-not-allowed",
        "this address does not take this method",
    )
    .allow(names.join(", "))
}

/// A handler panicked; the panic hook has logged where.
#[derive(Debug, thiserror::Error)]
#[error("a handler panicked")]
struct HandlerPanicked;

impl base::error::CodedError for HandlerPanicked {
    fn kind(&self) -> base::error::ErrorKind {
        base::error::ErrorKind::Internal
    }

    fn code(&self) -> &'static str {
        "internal"
    }
}

fn preflight(request: &ServiceRequest, services: &AppState) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    if origin::is_allowed(request.request(), &services.config.http) {
        for header in origin::preflight() {
            response.insert_header(header);
        }
    }
    response.finish()
}

/// Headers that every answer has unless its handler chose otherwise (OWASP Secure Headers).
fn dress(headers: &mut HeaderMap, services: &AppState, id: &str) {
    let mut put = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::X_FRAME_OPTIONS, "DENY");
    put(header::REFERRER_POLICY, "no-referrer");
    put(header::CACHE_CONTROL, "no-store");
    put(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    put(header::PERMISSIONS_POLICY, "geolocation=(), payment=()");
    put(HeaderName::from_static("cross-origin-resource-policy"), "same-site");
    if services.config.http.hsts {
        put(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains");
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}

/// Only known names become labels, so that a client cannot make up metrics.
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
