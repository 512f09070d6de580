//! The care of one's own account over HTTP: passwords, second factor, export, audit, its end.

use std::io::Read;

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::http::header::{CONTENT_DISPOSITION, RETRY_AFTER};
use actix_web::web::{Bytes, Data, Json, block};
use base::ids::DeviceId;
use futures_util::stream;

use super::AppState;
use super::extract::{ClientAddr, CurrentUser, JsonBody, QueryParams, after, limit};
use super::problem::ApiError;
use crate::domain::export_store::ArchiveFile;
use crate::domain::exports::ExportStatus;
use crate::protocol::accounts::{
    ChangePassword, PasswordConfirmation, Reauthentication, RecoveryCodes, ResetPassword,
    SecondFactorStatus, TotpCode,
};
use crate::protocol::admin::AuditEntryView;
use crate::protocol::{ListQuery, Paginated};

/// Closes the sockets of devices that were signed out.
pub(super) fn end(app: &AppState, user: base::ids::UserId, devices: &[DeviceId]) {
    for device in devices {
        app.living.event_router.close_device_sessions(user, *device);
    }
}

/// `PUT /api/me/password`
pub(super) async fn change_password(
    app: Data<AppState>,
    me: CurrentUser,
    from: ClientAddr,
    body: JsonBody<ChangePassword>,
) -> Result<HttpResponse, ApiError> {
    let ended = app.accounts.change_password(&me.0, body.0, from.0).await?;
    end(&app, me.0.user, &ended);
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/auth/reset`
pub(super) async fn reset_password(
    app: Data<AppState>,
    from: ClientAddr,
    body: JsonBody<ResetPassword>,
) -> Result<HttpResponse, ApiError> {
    let user = app.accounts.reset_password(body.0, from.0).await?;
    app.living.event_router.close_user_sessions(user);
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/me/totp`
pub(super) async fn second_factor(
    app: Data<AppState>,
    me: CurrentUser,
) -> Result<Json<SecondFactorStatus>, ApiError> {
    Ok(Json(app.accounts.second_factor(&me.0).await?))
}

/// `POST /api/me/totp`
pub(super) async fn begin_second_factor(
    app: Data<AppState>,
    me: CurrentUser,
    body: JsonBody<PasswordConfirmation>,
) -> Result<HttpResponse, ApiError> {
    let setup = app.accounts.begin_second_factor(&me.0, body.0).await?;
    Ok(HttpResponse::Created().json(setup))
}

/// `POST /api/me/totp/confirm`
pub(super) async fn confirm_second_factor(
    app: Data<AppState>,
    me: CurrentUser,
    from: ClientAddr,
    body: JsonBody<TotpCode>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    Ok(Json(app.accounts.confirm_second_factor(&me.0, body.0, from.0).await?))
}

/// `POST /api/me/totp/recovery-codes`
pub(super) async fn renew_recovery_codes(
    app: Data<AppState>,
    me: CurrentUser,
    from: ClientAddr,
    body: JsonBody<Reauthentication>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    Ok(Json(app.accounts.renew_recovery_codes(&me.0, body.0, from.0).await?))
}

/// `DELETE /api/me/totp`
pub(super) async fn drop_second_factor(
    app: Data<AppState>,
    me: CurrentUser,
    from: ClientAddr,
    body: JsonBody<Reauthentication>,
) -> Result<HttpResponse, ApiError> {
    app.accounts.drop_second_factor(&me.0, body.0, from.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/me/audit`
pub(super) async fn audit(
    app: Data<AppState>,
    me: CurrentUser,
    query: QueryParams<ListQuery>,
) -> Result<Json<Paginated<AuditEntryView>>, ApiError> {
    let (before, limit) = (after(query.0.after.as_deref())?, limit(query.0.limit)?);
    Ok(Json(app.accounts.audit(&me.0, before, limit).await?.into()))
}

/// `DELETE /api/me`
pub(super) async fn delete_me(
    app: Data<AppState>,
    me: CurrentUser,
    body: JsonBody<Reauthentication>,
) -> Result<HttpResponse, ApiError> {
    app.accounts.delete_me(&me.0, body.0).await?;
    app.living.event_router.close_user_sessions(me.0.user);
    app.jobs.notify();
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/me/export`
pub(super) async fn export(
    app: Data<AppState>,
    me: CurrentUser,
    from: ClientAddr,
) -> Result<HttpResponse, ApiError> {
    match app.exports.get(&me.0, from.0).await? {
        ExportStatus::Soon(state) => {
            app.jobs.notify();
            Ok(HttpResponse::Accepted().insert_header((RETRY_AFTER, 1)).json(state))
        }
        ExportStatus::Here(ready) => Ok(HttpResponse::Ok()
            .content_type("application/zip")
            .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"securevox-export.zip\""))
            .body(SizedStream::new(ready.size, chunks(ready)))),
    }
}

/// An archive in pieces, each read where waiting for the disk holds nobody up.
fn chunks(ready: ArchiveFile) -> impl stream::Stream<Item = Result<Bytes, actix_web::Error>> {
    stream::try_unfold(ready.file, |mut file| async move {
        let read = block(move || {
            let mut piece = vec![0; 64 * 1024];
            let count = file.read(&mut piece)?;
            piece.truncate(count);
            std::io::Result::Ok((piece, file))
        });
        let (piece, file) = read.await??;
        Ok(if piece.is_empty() { None } else { Some((Bytes::from(piece), file)) })
    })
}
