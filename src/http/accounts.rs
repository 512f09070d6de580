//! HTTP handlers of accounts.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::DeviceId;

use super::AppState;
use super::access::{AccessRule, RateClass};
use super::extract::{ClientAddr, CurrentUser, JsonBody, PathIds, SignInSource};
use super::problem::ApiError;
use super::route::Route;
use crate::domain::accounts::AccountError;
use crate::protocol::accounts::{
    Devices, Jwks, Login, OwnAccount, PatchMe, Refresh, Register, SetupAdmin, SignedIn,
};

/// The routes of accounts.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/auth/register", register, AccessRule::Anyone).rate(RateClass::Registration)
            .summary("Create an account").body::<Register>().response::<SignedIn>(201),
        Route::post("/api/auth/login", login, AccessRule::Anyone).rate(RateClass::Login)
            .summary("Sign a device in").body::<Login>().response::<SignedIn>(200),
        Route::post("/api/auth/refresh", refresh, AccessRule::Anyone)
            .summary("Exchange a refresh token").body::<Refresh>().response::<SignedIn>(200),
        Route::post("/api/auth/setup", set_up, AccessRule::Anyone).rate(RateClass::Login)
            .summary("Create the first administrator").body::<SetupAdmin>().response::<SignedIn>(201),
        Route::post("/api/auth/logout", logout, AccessRule::User).summary("Sign this device out").empty_response(204),
        Route::get("/api/me", own_account, AccessRule::User).summary("Your account").response::<OwnAccount>(200),
        Route::patch("/api/me", update_own_account, AccessRule::User)
            .summary("Change your account").body::<PatchMe>().response::<OwnAccount>(200),
        Route::get("/api/me/devices", devices, AccessRule::User).summary("Your devices").response::<Devices>(200),
        Route::delete("/api/me/devices/{id}", remove_device, AccessRule::User)
            .summary("Sign one of your devices out; its sockets close").empty_response(204),
        Route::get("/.well-known/jwks.json", jwks, AccessRule::Anyone)
            .summary("The public keys of access tokens").response::<Jwks>(200),
    ]
}

/// `POST /api/auth/register`
async fn register(
    app: Data<AppState>,
    from: SignInSource,
    body: JsonBody<Register>,
) -> Result<HttpResponse, ApiError> {
    let signed_in = app.accounts.register(body.0, &from.0).await?;
    Ok(HttpResponse::Created().json(signed_in))
}

/// `POST /api/auth/login`
async fn login(
    app: Data<AppState>,
    from: SignInSource,
    body: JsonBody<Login>,
) -> Result<Json<SignedIn>, ApiError> {
    Ok(Json(app.accounts.login(body.0, &from.0).await?))
}

/// `POST /api/auth/refresh`
async fn refresh(
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
async fn set_up(
    app: Data<AppState>,
    from: SignInSource,
    body: JsonBody<SetupAdmin>,
) -> Result<HttpResponse, ApiError> {
    let signed_in = app.accounts.set_up_admin(body.0, &from.0).await?;
    Ok(HttpResponse::Created().json(signed_in))
}

/// `POST /api/auth/logout`
async fn logout(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
) -> Result<HttpResponse, ApiError> {
    app.accounts.logout(&principal.0, from.0).await?;
    app.sessions.event_router.close_device_sessions(principal.0.user, principal.0.device);
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/me`
async fn own_account(
    app: Data<AppState>,
    principal: CurrentUser,
) -> Result<Json<OwnAccount>, ApiError> {
    Ok(Json(app.accounts.own_account(&principal.0).await?))
}

/// `PATCH /api/me`
async fn update_own_account(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<PatchMe>,
) -> Result<Json<OwnAccount>, ApiError> {
    Ok(Json(app.accounts.update_own_account(&principal.0, body.0).await?))
}

/// `GET /api/me/devices`
async fn devices(app: Data<AppState>, principal: CurrentUser) -> Result<Json<Devices>, ApiError> {
    Ok(Json(app.accounts.devices(&principal.0).await?))
}

/// `DELETE /api/me/devices/{id}`
async fn remove_device(
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
async fn jwks(app: Data<AppState>) -> Json<Jwks> {
    Json(app.accounts.keys().jwks())
}
