//! Access control: checks the access rule and rate limits of the route for every request.

use std::net::IpAddr;

use actix_web::dev::ServiceRequest;
use actix_web::http::{Method, header};
use actix_web::{HttpMessage, HttpRequest};
use base::error::CodedError;
use store::Role;

use super::AppState;
use super::extract::{CurrentUser, client_ip};
use super::problem::ApiError;
use crate::cluster::RateLimit;
use crate::domain::accounts;
use crate::telemetry::metrics::count_rejected;

/// Access rule of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessRule {
    /// Everybody, with or without credentials.
    Anyone,
    /// Users who are signed in.
    User,
    /// Signed-in users, and API tokens with this scope.
    UserOrScope(&'static str),
    /// Operators and administrators.
    Operator,
    /// Users with the role administrator.
    Admin,
    /// Loopback clients, operators, administrators, and API tokens with this scope.
    LocalOrScope(&'static str),
}

/// Rate limit class of a route; limits apply per client address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateClass {
    /// The general API limit only.
    Api,
    /// No limit: health probes.
    Probe,
    /// The general limit and `limits.login_per_minute`.
    Login,
    /// The general limit and `limits.registration_per_minute`.
    Registration,
}

/// Why access to a route was denied.
#[derive(Clone, Copy, Debug, thiserror::Error, CodedError)]
pub enum AccessError {
    /// The request has no credentials.
    #[error("sign in: send `Authorization: Bearer …`")]
    #[code("auth/unauthenticated", Unauthenticated)]
    Unauthenticated,
    /// The credentials are of a type that the route does not accept.
    #[error("this route does not accept this type of credentials")]
    #[code("auth/token-type-not-allowed", Forbidden)]
    TokenTypeNotAllowed,
    /// The user's role does not permit the request.
    #[error("your role does not permit this")]
    #[code("auth/forbidden", Forbidden)]
    Forbidden,
    /// The node is draining.
    #[error("this server is shutting down: try again in a moment")]
    #[code("node/draining", Unavailable, retry_after = 2)]
    Draining,
}

/// Checks rate limits, credentials and role; on success the user is attached to the request.
pub(super) async fn authorize(
    app: &AppState,
    request: &ServiceRequest,
    rule: AccessRule,
    rate: RateClass,
) -> Result<(), ApiError> {
    take_rate_limits(app, request.request(), rate).await?;
    match (rule, credentials(request.request())) {
        (AccessRule::Anyone, _) => Ok(()),
        (AccessRule::LocalOrScope(_), None)
            if app.config.telemetry.metrics_allow_loopback && is_local(request.request()) =>
        {
            Ok(())
        }
        (_, None) => Err(AccessError::Unauthenticated.into()),
        (_, Some(Credentials::Malformed)) => Err(accounts::AccountError::InvalidToken.into()),
        (
            AccessRule::LocalOrScope(scope) | AccessRule::UserOrScope(scope),
            Some(Credentials::Token(secret)),
        ) => {
            let token = app.api_tokens.identify(secret).await?;
            let holds = token.scopes.iter().any(|s| s == scope);
            if holds { Ok(()) } else { Err(AccessError::TokenTypeNotAllowed.into()) }
        }
        (_, Some(Credentials::Token(secret))) => {
            app.api_tokens.identify(secret).await?;
            Err(AccessError::TokenTypeNotAllowed.into())
        }
        (_, Some(Credentials::Bearer(token))) => {
            let principal = app.accounts.authenticate(token).await?;
            let permitted = match rule {
                AccessRule::Anyone | AccessRule::User | AccessRule::UserOrScope(_) => true,
                AccessRule::Operator | AccessRule::LocalOrScope(_) => {
                    matches!(principal.role, Role::Operator | Role::Admin)
                }
                AccessRule::Admin => principal.role == Role::Admin,
            };
            if !permitted {
                return Err(AccessError::Forbidden.into());
            }
            request.extensions_mut().insert(CurrentUser(principal));
            Ok(())
        }
    }
}

async fn take_rate_limits(
    app: &AppState,
    request: &HttpRequest,
    rate: RateClass,
) -> Result<(), ApiError> {
    let limits = &app.config.limits;
    let class_limit = match rate {
        RateClass::Probe => return Ok(()),
        RateClass::Api => None,
        RateClass::Login => Some(RateLimit::per_minute("login", limits.login_per_minute)),
        RateClass::Registration => {
            Some(RateLimit::per_minute("registration", limits.registration_per_minute))
        }
    };
    let general = RateLimit::per_second("api", limits.api_per_second, limits.api_burst);
    let key = rate_limit_key(client_ip(request));
    let outcome = general.allow_uncounted(app.cache.take(general, &key).await);
    outcome.inspect_err(|_| count_rejected(general.name))?;
    if let Some(limit) = class_limit {
        app.cache.take(limit, &key).await.inspect_err(|_| count_rejected(limit.name))?;
    }
    Ok(())
}

/// Key under which requests of an address are counted. An IPv6 /64 network counts as one client.
pub(super) fn rate_limit_key(source: Option<IpAddr>) -> String {
    match source {
        Some(IpAddr::V6(ip)) => format!("{:x}/64", ip.to_bits() >> 64),
        Some(ip) => ip.to_string(),
        None => "unknown".to_owned(),
    }
}

enum Credentials<'a> {
    Bearer(&'a str),
    Token(&'a str),
    Malformed,
}

fn credentials(request: &HttpRequest) -> Option<Credentials<'_>> {
    let header = request.headers().get(header::AUTHORIZATION)?;
    let parts = header.to_str().ok().and_then(|text| text.split_once(' '));
    Some(match parts {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Credentials::Bearer(token.trim())
        }
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("token") => {
            Credentials::Token(token.trim())
        }
        _ => Credentials::Malformed,
    })
}

/// Whether the request comes from this machine and not through a proxy.
fn is_local(request: &HttpRequest) -> bool {
    let proxy_headers = ["x-forwarded-for", "forwarded", "via"];
    let direct = !proxy_headers.iter().any(|name| request.headers().contains_key(*name));
    direct && request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}

/// Whether the method is safe (RFC 9110 §9.2.1), so that it is still served while draining.
pub(super) fn is_safe_method(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
