//! HTTP handlers of account security: password, second factor, export, audit, deletion.

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
pub(super) fn close_sockets(app: &AppState, user: base::ids::UserId, devices: &[DeviceId]) {
    for device in devices {
        app.sessions.event_router.close_device_sessions(user, *device);
    }
}

/// `PUT /api/me/password`
pub(super) async fn change_password(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    body: JsonBody<ChangePassword>,
) -> Result<HttpResponse, ApiError> {
    let signed_out = app.accounts.change_password(&principal.0, body.0, from.0).await?;
    close_sockets(&app, principal.0.user, &signed_out);
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/auth/reset`
pub(super) async fn reset_password(
    app: Data<AppState>,
    from: ClientAddr,
    body: JsonBody<ResetPassword>,
) -> Result<HttpResponse, ApiError> {
    let user = app.accounts.reset_password(body.0, from.0).await?;
    app.sessions.event_router.close_user_sessions(user);
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/me/totp`
pub(super) async fn second_factor(
    app: Data<AppState>,
    principal: CurrentUser,
) -> Result<Json<SecondFactorStatus>, ApiError> {
    Ok(Json(app.accounts.second_factor(&principal.0).await?))
}

/// `POST /api/me/totp`
pub(super) async fn begin_second_factor(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<PasswordConfirmation>,
) -> Result<HttpResponse, ApiError> {
    let setup = app.accounts.begin_second_factor(&principal.0, body.0).await?;
    Ok(HttpResponse::Created().json(setup))
}

/// `POST /api/me/totp/confirm`
pub(super) async fn confirm_second_factor(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    body: JsonBody<TotpCode>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    Ok(Json(app.accounts.confirm_second_factor(&principal.0, body.0, from.0).await?))
}

/// `POST /api/me/totp/recovery-codes`
pub(super) async fn renew_recovery_codes(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    body: JsonBody<Reauthentication>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    Ok(Json(app.accounts.renew_recovery_codes(&principal.0, body.0, from.0).await?))
}

/// `DELETE /api/me/totp`
pub(super) async fn drop_second_factor(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    body: JsonBody<Reauthentication>,
) -> Result<HttpResponse, ApiError> {
    app.accounts.drop_second_factor(&principal.0, body.0, from.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/me/audit`
pub(super) async fn audit(
    app: Data<AppState>,
    principal: CurrentUser,
    query: QueryParams<ListQuery>,
) -> Result<Json<Paginated<AuditEntryView>>, ApiError> {
    let (before, limit) = (after(query.0.after.as_deref())?, limit(query.0.limit)?);
    Ok(Json(app.accounts.audit(&principal.0, before, limit).await?.into()))
}

/// `DELETE /api/me`
pub(super) async fn delete_own_account(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<Reauthentication>,
) -> Result<HttpResponse, ApiError> {
    app.accounts.delete_own_account(&principal.0, body.0).await?;
    app.sessions.event_router.close_user_sessions(principal.0.user);
    app.jobs.notify();
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/me/export`
pub(super) async fn export(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
) -> Result<HttpResponse, ApiError> {
    match app.exports.get(&principal.0, from.0).await? {
        ExportStatus::Pending(state) => {
            app.jobs.notify();
            Ok(HttpResponse::Accepted().insert_header((RETRY_AFTER, 1)).json(state))
        }
        ExportStatus::Ready(ready) => Ok(HttpResponse::Ok()
            .content_type("application/zip")
            .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"securevox-export.zip\""))
            .body(SizedStream::new(ready.size, archive_stream(ready)))),
    }
}

/// Streams an archive in chunks, read on a blocking thread.
fn archive_stream(
    archive: ArchiveFile,
) -> impl stream::Stream<Item = Result<Bytes, actix_web::Error>> {
    stream::try_unfold(archive.file, |mut file| async move {
        let read = block(move || {
            let mut chunk = vec![0; 64 * 1024];
            let count = file.read(&mut chunk)?;
            chunk.truncate(count);
            std::io::Result::Ok((chunk, file))
        });
        let (chunk, file) = read.await??;
        Ok(if chunk.is_empty() { None } else { Some((Bytes::from(chunk), file)) })
    })
}
