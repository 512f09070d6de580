//! Accounts over HTTP.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::DeviceId;

use super::Services;
use super::extract::{Body, From, Ids, Me, Source};
use super::problem::Refusal;
use crate::domain::accounts::AccountError;
use crate::protocol::accounts::{
    Devices, Jwks, Login, PatchMe, Refresh, Register, SetUp, SignedIn, User,
};

/// `POST /api/auth/register`
pub(super) async fn register(
    app: Data<Services>,
    from: Source,
    body: Body<Register>,
) -> Result<HttpResponse, Refusal> {
    let signed_in = app.accounts.register(body.0, &from.0).await?;
    Ok(HttpResponse::Created().json(signed_in))
}

/// `POST /api/auth/login`
pub(super) async fn login(
    app: Data<Services>,
    from: Source,
    body: Body<Login>,
) -> Result<Json<SignedIn>, Refusal> {
    Ok(Json(app.accounts.login(body.0, &from.0).await?))
}

/// `POST /api/auth/refresh`
pub(super) async fn refresh(
    app: Data<Services>,
    from: Source,
    body: Body<Refresh>,
) -> Result<Json<SignedIn>, Refusal> {
    let refreshed = app.accounts.refresh(&body.0.refresh_token, &from.0).await;
    if let Err(AccountError::RefreshReused { user, device }) = &refreshed {
        app.living.switchboard.end_device(*user, *device);
    }
    Ok(Json(refreshed?))
}

/// `POST /api/auth/setup`
pub(super) async fn set_up(
    app: Data<Services>,
    from: Source,
    body: Body<SetUp>,
) -> Result<HttpResponse, Refusal> {
    let signed_in = app.accounts.set_up(body.0, &from.0).await?;
    Ok(HttpResponse::Created().json(signed_in))
}

/// `POST /api/auth/logout`
pub(super) async fn logout(
    app: Data<Services>,
    me: Me,
    from: From,
) -> Result<HttpResponse, Refusal> {
    app.accounts.logout(&me.0, from.0).await?;
    app.living.switchboard.end_device(me.0.user, me.0.device);
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/me`
pub(super) async fn me(app: Data<Services>, me: Me) -> Result<Json<User>, Refusal> {
    Ok(Json(app.accounts.me(&me.0).await?))
}

/// `PATCH /api/me`
pub(super) async fn change_me(
    app: Data<Services>,
    me: Me,
    body: Body<PatchMe>,
) -> Result<Json<User>, Refusal> {
    Ok(Json(app.accounts.change_me(&me.0, body.0).await?))
}

/// `GET /api/me/devices`
pub(super) async fn devices(app: Data<Services>, me: Me) -> Result<Json<Devices>, Refusal> {
    Ok(Json(app.accounts.devices(&me.0).await?))
}

/// `DELETE /api/me/devices/{id}`
pub(super) async fn remove_device(
    app: Data<Services>,
    me: Me,
    from: From,
    path: Ids<(DeviceId,)>,
) -> Result<HttpResponse, Refusal> {
    let device = path.0.0;
    app.accounts.remove_device(&me.0, device, from.0).await?;
    app.living.switchboard.end_device(me.0.user, device);
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /.well-known/jwks.json`
pub(super) async fn jwks(app: Data<Services>) -> Json<Jwks> {
    Json(app.accounts.keys().jwks())
}
