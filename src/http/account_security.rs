//! HTTP handlers of account security: password, second factor, export, audit, deletion.

use std::io::Read;

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::http::header::{CONTENT_DISPOSITION, RETRY_AFTER};
use actix_web::web::{Bytes, Data, Json, block};
use base::ids::DeviceId;
use futures_util::stream;

use super::AppState;
use super::access::{AccessRule, RateClass};
use super::extract::{ClientAddr, CurrentUser, JsonBody, QueryParams, after, limit};
use super::problem::ApiError;
use super::route::Route;
use crate::domain::export_store::ArchiveFile;
use crate::domain::exports::ExportStatus;
use crate::protocol::accounts::{
    ChangePassword, ExportPending, PasswordConfirmation, Reauthentication, RecoveryCodes,
    ResetPassword, SecondFactorStatus, TotpCode, TotpSetup,
};
use crate::protocol::admin::AuditEntryView;
use crate::protocol::{ListQuery, Paginated};

/// The routes of account security.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::put("/api/me/password", change_password, AccessRule::User)
            .summary("Change your password; your other devices are signed out").body::<ChangePassword>().empty_response(204),
        Route::post("/api/auth/reset", reset_password, AccessRule::Anyone).rate(RateClass::Login)
            .summary("Set a new password with a token from an administrator").body::<ResetPassword>().empty_response(204),
        Route::get("/api/me/totp", second_factor, AccessRule::User).summary("Your second factor").response::<SecondFactorStatus>(200),
        Route::post("/api/me/totp", begin_second_factor, AccessRule::User).summary("Start the setup of a second factor")
            .body::<PasswordConfirmation>().response::<TotpSetup>(201),
        Route::delete("/api/me/totp", drop_second_factor, AccessRule::User).summary("Disable your second factor")
            .body::<Reauthentication>().empty_response(204),
        Route::post("/api/me/totp/confirm", confirm_second_factor, AccessRule::User).summary("Confirm the second factor with a first code")
            .body::<TotpCode>().response::<RecoveryCodes>(200),
        Route::post("/api/me/totp/recovery-codes", renew_recovery_codes, AccessRule::User).summary("Replace all recovery codes")
            .body::<Reauthentication>().response::<RecoveryCodes>(200),
        Route::get("/api/me/audit", audit, AccessRule::User).summary("Security events of your account, newest first")
            .query::<ListQuery>().list_response::<AuditEntryView>(),
        Route::get("/api/me/export", export, AccessRule::User)
            .summary("Download all your data as a ZIP archive; 202 until it is ready").response::<ExportPending>(202).empty_response(200),
        Route::delete("/api/me", delete_own_account, AccessRule::User).summary("Delete your account").body::<Reauthentication>().empty_response(204),
    ]
}

/// Closes the sockets of devices that were signed out.
pub(super) fn close_sockets(app: &AppState, user: base::ids::UserId, devices: &[DeviceId]) {
    for device in devices {
        app.sessions.event_router.close_device_sessions(user, *device);
    }
}

/// `PUT /api/me/password`
async fn change_password(
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
async fn reset_password(
    app: Data<AppState>,
    from: ClientAddr,
    body: JsonBody<ResetPassword>,
) -> Result<HttpResponse, ApiError> {
    let user = app.accounts.reset_password(body.0, from.0).await?;
    app.sessions.event_router.close_user_sessions(user);
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/me/totp`
async fn second_factor(
    app: Data<AppState>,
    principal: CurrentUser,
) -> Result<Json<SecondFactorStatus>, ApiError> {
    Ok(Json(app.accounts.second_factor(&principal.0).await?))
}

/// `POST /api/me/totp`
async fn begin_second_factor(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<PasswordConfirmation>,
) -> Result<HttpResponse, ApiError> {
    let setup = app.accounts.begin_second_factor(&principal.0, body.0).await?;
    Ok(HttpResponse::Created().json(setup))
}

/// `POST /api/me/totp/confirm`
async fn confirm_second_factor(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    body: JsonBody<TotpCode>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    Ok(Json(app.accounts.confirm_second_factor(&principal.0, body.0, from.0).await?))
}

/// `POST /api/me/totp/recovery-codes`
async fn renew_recovery_codes(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    body: JsonBody<Reauthentication>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    Ok(Json(app.accounts.renew_recovery_codes(&principal.0, body.0, from.0).await?))
}

/// `DELETE /api/me/totp`
async fn drop_second_factor(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    body: JsonBody<Reauthentication>,
) -> Result<HttpResponse, ApiError> {
    app.accounts.drop_second_factor(&principal.0, body.0, from.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/me/audit`
async fn audit(
    app: Data<AppState>,
    principal: CurrentUser,
    query: QueryParams<ListQuery>,
) -> Result<Json<Paginated<AuditEntryView>>, ApiError> {
    let (before, limit) = (after(query.0.after.as_deref())?, limit(query.0.limit)?);
    Ok(Json(app.accounts.audit(&principal.0, before, limit).await?.into()))
}

/// `DELETE /api/me`
async fn delete_own_account(
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
async fn export(
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
