//! Who may call what: every route says it, and here it is asked of every request.

use std::net::IpAddr;

use actix_web::dev::ServiceRequest;
use actix_web::http::{Method, header};
use actix_web::{HttpMessage, HttpRequest};
use base::error::{CodedError, ErrorKind};
use store::Role;

use super::AppState;
use super::extract::{CurrentUser, source};
use super::problem::ApiError;
use crate::cluster::RateLimit;
use crate::domain::accounts;
use crate::telemetry::metrics::count_rejected;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessRule {
    /// Everybody, signed in or not.
    Anyone,
    /// People who are signed in.
    Person,
    /// People who are signed in, and API tokens with this scope.
    PersonOr(&'static str),
    /// Operators and administrators.
    Operator,
    /// Administrators.
    Admin,
    /// Programs on this machine, operators, and API tokens with this scope.
    LocalOr(&'static str),
}

/// Which further limit a route has, per address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateClass {
    /// The general one only.
    Api,
    /// No limit at all: probes of those who keep the server running.
    Probe,
    /// `limits.login_per_minute` as well.
    Login,
    /// `limits.registration_per_minute` as well.
    Registration,
}

/// Why a request may not reach its route.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum AccessError {
    /// No credentials.
    #[error("sign in: send `Authorization: Bearer …`")]
    Nobody,
    /// Credentials of another kind.
    #[error("these credentials are not for this route")]
    WrongKind,
    /// Signed in, but the role does not allow it.
    #[error("your role does not allow this")]
    Role,
    /// The node is on its way out.
    #[error("this server is about to stop: try again in a moment")]
    Leaving,
}

impl CodedError for AccessError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Nobody => ErrorKind::Unauthenticated,
            Self::WrongKind | Self::Role => ErrorKind::Forbidden,
            Self::Leaving => ErrorKind::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Nobody => "auth/unauthenticated",
            Self::WrongKind => "auth/token-type-not-allowed",
            Self::Role => "auth/forbidden",
            Self::Leaving => "node/draining",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::Leaving).then_some(2)
    }
}

/// Lets a request through to a route of `who` and `rate`, or says why not.
pub(super) async fn authorize(
    services: &AppState,
    request: &ServiceRequest,
    who: AccessRule,
    rate: RateClass,
) -> Result<(), ApiError> {
    limit(services, request.request(), rate).await?;
    match (who, credentials(request.request())) {
        (AccessRule::Anyone, _) => Ok(()),
        (AccessRule::LocalOr(_), None)
            if services.config.telemetry.metrics_allow_loopback && is_local(request.request()) =>
        {
            Ok(())
        }
        (_, None) => Err(AccessError::Nobody.into()),
        (_, Some(Credentials::Unreadable)) => Err(accounts::AccountError::InvalidToken.into()),
        (
            AccessRule::LocalOr(scope) | AccessRule::PersonOr(scope),
            Some(Credentials::Token(secret)),
        ) => {
            let token = services.tokens.identify(secret).await?;
            let holds = token.scopes.iter().any(|s| s == scope);
            if holds { Ok(()) } else { Err(AccessError::WrongKind.into()) }
        }
        (_, Some(Credentials::Token(secret))) => {
            services.tokens.identify(secret).await?;
            Err(AccessError::WrongKind.into())
        }
        (_, Some(Credentials::Bearer(token))) => {
            let me = services.accounts.authenticate(token).await?;
            let may = match who {
                AccessRule::Anyone | AccessRule::Person | AccessRule::PersonOr(_) => true,
                AccessRule::Operator | AccessRule::LocalOr(_) => {
                    matches!(me.role, Role::Operator | Role::Admin)
                }
                AccessRule::Admin => me.role == Role::Admin,
            };
            if !may {
                return Err(AccessError::Role.into());
            }
            request.extensions_mut().insert(CurrentUser(me));
            Ok(())
        }
    }
}

async fn limit(
    services: &AppState,
    request: &HttpRequest,
    rate: RateClass,
) -> Result<(), ApiError> {
    let limits = &services.config.limits;
    let further = match rate {
        RateClass::Probe => return Ok(()),
        RateClass::Api => None,
        RateClass::Login => Some(RateLimit::per_minute("login", limits.login_per_minute)),
        RateClass::Registration => {
            Some(RateLimit::per_minute("registration", limits.registration_per_minute))
        }
    };
    let general = RateLimit::per_second("api", limits.api_per_second, limits.api_burst);
    let key = counted(source(request));
    let taken = general.allow_uncounted(services.cache.take(general, &key).await);
    taken.inspect_err(|_| count_rejected(general.name))?;
    if let Some(limit) = further {
        services.cache.take(limit, &key).await.inspect_err(|_| count_rejected(limit.name))?;
    }
    Ok(())
}

/// Addresses are counted as whoever holds them: all of an IPv6 /64 is one household.
pub(super) fn counted(source: Option<IpAddr>) -> String {
    match source {
        Some(IpAddr::V6(ip)) => format!("{:x}/64", ip.to_bits() >> 64),
        Some(ip) => ip.to_string(),
        None => "unknown".to_owned(),
    }
}

enum Credentials<'a> {
    Bearer(&'a str),
    Token(&'a str),
    Unreadable,
}

fn credentials(request: &HttpRequest) -> Option<Credentials<'_>> {
    let header = request.headers().get(header::AUTHORIZATION)?;
    let split = header.to_str().ok().and_then(|text| text.split_once(' '));
    Some(match split {
        Some((kind, token)) if kind.eq_ignore_ascii_case("bearer") => {
            Credentials::Bearer(token.trim())
        }
        Some((kind, token)) if kind.eq_ignore_ascii_case("token") => {
            Credentials::Token(token.trim())
        }
        _ => Credentials::Unreadable,
    })
}

/// A program on this machine that no proxy speaks for.
fn is_local(request: &HttpRequest) -> bool {
    let proxied = ["x-forwarded-for", "forwarded", "via"];
    let direct = !proxied.iter().any(|name| request.headers().contains_key(*name));
    direct && request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}

/// Whether a request only looks, so that it may still be answered on the way out.
pub(super) fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
