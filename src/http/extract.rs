//! Extractors for handlers: typed bodies, queries, path ids and the authenticated user.

use std::future::{Future, Ready, ready};
use std::net::IpAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_TYPE, USER_AGENT};
use actix_web::web::{BytesMut, Data};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::AppState;
use super::http_error::{
    BODY_TIMEOUT, BODY_TOO_LARGE, INVALID_BODY, INVALID_JSON, NOT_FOUND, NOT_JSON,
};
use super::problem::ApiError;
use crate::domain::accounts;

/// The authenticated user; set by [`super::access`].
#[derive(Clone, Debug)]
pub struct CurrentUser(pub crate::domain::identity::Principal);

impl FromRequest for CurrentUser {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let user = request.extensions().get::<Self>().cloned();
        ready(user.ok_or_else(|| accounts::AccountError::InvalidToken.into()))
    }
}

/// The authenticated user, or `None` for a service with an API token.
#[derive(Clone, Debug)]
pub struct OptionalUser(pub Option<crate::domain::identity::Principal>);

impl FromRequest for OptionalUser {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(request.extensions().get::<CurrentUser>().map(|user| user.0.clone()))))
    }
}

/// Client address, resolved through trusted proxies.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddr(pub Option<IpAddr>);

impl FromRequest for ClientAddr {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(client_ip(request))))
    }
}

/// Client address and `User-Agent` of a sign-in request.
#[derive(Clone, Debug)]
pub struct SignInSource(pub crate::domain::identity::ClientInfo);

impl FromRequest for SignInSource {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let agent = agent.map(str::to_owned);
        ready(Ok(Self(crate::domain::identity::ClientInfo { ip: client_ip(request), agent })))
    }
}

/// Client address: the peer's, or the one reported by a trusted proxy in `X-Forwarded-For`.
pub fn client_ip(request: &HttpRequest) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    let app = request.app_data::<Data<AppState>>()?;
    let mut address = peer;
    let forwarded = request.headers().get_all("x-forwarded-for");
    let hops: Vec<_> = forwarded.filter_map(|value| value.to_str().ok()).collect();
    for hop in hops.iter().rev().flat_map(|line| line.rsplit(',')) {
        if !app.config.http.trusts(address) {
            break;
        }
        let Ok(next) = hop.trim().parse::<IpAddr>() else { break };
        address = next.to_canonical();
    }
    Some(address)
}

/// A required JSON body.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for JsonBody<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let json = is_json(request);
        let bytes = read_body(request, payload.take());
        Box::pin(async move {
            let bytes = bytes.await?;
            if json { parse(&bytes).map(Self) } else { Err(not_json()) }
        })
    }
}

/// An optional JSON body; the default value if it is empty.
#[derive(Debug)]
pub struct OptionalJsonBody<T>(pub T);

impl<T: DeserializeOwned + Default + 'static> FromRequest for OptionalJsonBody<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let json = is_json(request);
        let bytes = read_body(request, payload.take());
        Box::pin(async move {
            let bytes = bytes.await?;
            if bytes.is_empty() {
                return Ok(Self(T::default()));
            }
            if json { parse(&bytes).map(Self) } else { Err(not_json()) }
        })
    }
}

/// Reads a body up to `http.max_body_bytes` within [`BODY_READ_TIMEOUT`].
fn read_body(
    request: &HttpRequest,
    mut payload: Payload,
) -> impl Future<Output = Result<BytesMut, ApiError>> + use<> {
    let max_bytes =
        request.app_data::<Data<AppState>>().map_or(65_536, |app| app.config.http.max_body_bytes);
    let body = async move {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|e| invalid_json(&e.to_string()))?;
            if bytes.len() + chunk.len() > max_bytes {
                return Err(ApiError::new(
                    BODY_TOO_LARGE,
                    format!("a body has at most {max_bytes} bytes"),
                ));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    async move {
        tokio::time::timeout(BODY_READ_TIMEOUT, body)
            .await
            .unwrap_or_else(|_| Err(ApiError::new(BODY_TIMEOUT, BODY_TIMEOUT.text)))
    }
}

/// Maximum time to receive a body, so that slow senders do not hold connections.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);

fn not_json() -> ApiError {
    ApiError::new(NOT_JSON, NOT_JSON.text)
}

fn is_json(request: &HttpRequest) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
}

fn invalid_json(reason: &str) -> ApiError {
    ApiError::new(INVALID_JSON, reason)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let field = e.path().to_string();
        let inner = e.into_inner();
        if inner.is_data() {
            invalid(field, &inner.to_string())
        } else {
            invalid_json(&inner.to_string())
        }
    })?;
    json.end().map_err(|e| invalid_json(&e.to_string()))?;
    Ok(value)
}

fn invalid(field: String, detail: &str) -> ApiError {
    ApiError::new(INVALID_BODY, INVALID_BODY.text).field(field, detail)
}

/// Query parameters of the request.
#[derive(Debug)]
pub struct QueryParams<T>(pub T);

impl<T: DeserializeOwned> FromRequest for QueryParams<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // No valid parameter contains NUL, and PostgreSQL rejects it in text.
        if request.query_string().contains("%00") {
            return ready(Err(invalid("query".to_owned(), "NUL characters are not allowed")));
        }
        let query = actix_web::web::Query::<T>::from_query(request.query_string());
        ready(
            query
                .map(|q| Self(q.into_inner()))
                .map_err(|e| invalid("query".to_owned(), &e.to_string())),
        )
    }
}

/// Typed ids of the path. A segment that does not parse gives 404.
#[derive(Debug)]
pub struct PathIds<T>(pub T);

impl<A: FromStr> FromRequest for PathIds<(A,)> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(segment(request, 0).map(|a| Self((a,))))
    }
}

impl<A: FromStr, B: FromStr> FromRequest for PathIds<(A, B)> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(segment(request, 0).and_then(|a| Ok(Self((a, segment(request, 1)?)))))
    }
}

impl<A: FromStr, B: FromStr, C: FromStr> FromRequest for PathIds<(A, B, C)> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let ids = || Ok((segment(request, 0)?, segment(request, 1)?, segment(request, 2)?));
        ready(ids().map(Self))
    }
}

fn segment<T: FromStr>(request: &HttpRequest, index: usize) -> Result<T, ApiError> {
    let text = request.match_info().iter().nth(index).map(|(_, text)| text);
    text.and_then(|text| text.parse().ok()).ok_or_else(not_found)
}

/// 404 for unknown paths and unparsable ids.
pub fn not_found() -> ApiError {
    ApiError::new(NOT_FOUND, NOT_FOUND.text)
}

/// Validates a page size: 1 to 200, default 50.
///
/// # Errors
/// 422 for any other number.
pub fn limit(requested: Option<u32>) -> Result<usize, ApiError> {
    match requested.unwrap_or(50) {
        n @ 1..=200 => Ok(n as usize),
        _ => Err(invalid("limit".to_owned(), "limit must be 1 to 200")),
    }
}

/// Parses the page cursor `after`.
///
/// # Errors
/// 422 if it is not the `next` value of a page.
pub fn after<T: FromStr>(text: Option<&str>) -> Result<Option<T>, ApiError> {
    text.map(str::parse).transpose().map_err(|_| {
        invalid("after".to_owned(), "after must be the `next` value of the previous page")
    })
}
