//! HTTP handlers of accounts.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::DeviceId;

use super::AppState;
use super::extract::{ClientAddr, CurrentUser, JsonBody, PathIds, SignInSource};
use super::problem::ApiError;
use crate::domain::accounts::AccountError;
use crate::protocol::accounts::{
    Devices, Jwks, Login, OwnAccount, PatchMe, Refresh, Register, SetupAdmin, SignedIn,
};

/// `POST /api/auth/register`
pub(super) async fn register(
    app: Data<AppState>,
    from: SignInSource,
    body: JsonBody<Register>,
) -> Result<HttpResponse, ApiError> {
    let signed_in = app.accounts.register(body.0, &from.0).await?;
    Ok(HttpResponse::Created().json(signed_in))
}

/// `POST /api/auth/login`
pub(super) async fn login(
    app: Data<AppState>,
    from: SignInSource,
    body: JsonBody<Login>,
) -> Result<Json<SignedIn>, ApiError> {
    Ok(Json(app.accounts.login(body.0, &from.0).await?))
}

/// `POST /api/auth/refresh`
pub(super) async fn refresh(
    app: Data<AppState>,
    from: SignInSource,
    body: JsonBody<Refresh>,
) -> Result<Json<SignedIn>, ApiError> {
    let refreshed = app.accounts.refresh(&body.0.refresh_token, &from.0).await;
    if let Err(AccountError::RefreshTokenReused { user, device }) = &refreshed {
        app.sessions.event_router.close_device_sessions(*user, *device);
    }
    Ok(Json(refreshed?))
}

/// `POST /api/auth/setup`
pub(super) async fn set_up(
    app: Data<AppState>,
    from: SignInSource,
    body: JsonBody<SetupAdmin>,
) -> Result<HttpResponse, ApiError> {
    let signed_in = app.accounts.set_up_admin(body.0, &from.0).await?;
    Ok(HttpResponse::Created().json(signed_in))
}

/// `POST /api/auth/logout`
pub(super) async fn logout(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
) -> Result<HttpResponse, ApiError> {
    app.accounts.logout(&principal.0, from.0).await?;
    app.sessions.event_router.close_device_sessions(principal.0.user, principal.0.device);
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/me`
pub(super) async fn own_account(
    app: Data<AppState>,
    principal: CurrentUser,
) -> Result<Json<OwnAccount>, ApiError> {
    Ok(Json(app.accounts.own_account(&principal.0).await?))
}

/// `PATCH /api/me`
pub(super) async fn update_own_account(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<PatchMe>,
) -> Result<Json<OwnAccount>, ApiError> {
    Ok(Json(app.accounts.update_own_account(&principal.0, body.0).await?))
}

/// `GET /api/me/devices`
pub(super) async fn devices(
    app: Data<AppState>,
    principal: CurrentUser,
) -> Result<Json<Devices>, ApiError> {
    Ok(Json(app.accounts.devices(&principal.0).await?))
}

/// `DELETE /api/me/devices/{id}`
pub(super) async fn remove_device(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(DeviceId,)>,
) -> Result<HttpResponse, ApiError> {
    let device = path.0.0;
    app.accounts.remove_device(&principal.0, device, from.0).await?;
    app.sessions.event_router.close_device_sessions(principal.0.user, device);
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /.well-known/jwks.json`
pub(super) async fn jwks(app: Data<AppState>) -> Json<Jwks> {
    Json(app.accounts.keys().jwks())
}
