//! HTTP handlers of user administration.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::{DeviceId, UserId};
use base::page::Page;

use super::AppState;
use super::account_security::close_sockets;
use super::extract::{
    ClientAddr, CurrentUser, JsonBody, OptionalJsonBody, PathIds, QueryParams, after, limit,
};
use super::problem::ApiError;
use crate::domain::accounts::AuditActor;
use crate::protocol::accounts::Devices;
use crate::protocol::admin::{AuditEntryView, AuditQuery, JobView};
use crate::protocol::user_admin::{CreatePasswordReset, PeopleQuery, PutRole, UserAdminView};
use crate::protocol::{ListQuery, Paginated};

/// `GET /api/admin/users`
pub(super) async fn list(
    app: Data<AppState>,
    query: QueryParams<PeopleQuery>,
) -> Result<Json<Paginated<UserAdminView>>, ApiError> {
    let (after, limit) = (after(query.0.after.as_deref())?, limit(query.0.limit)?);
    Ok(Json(app.accounts.users(&query.0, after, limit).await?.into()))
}

/// `GET /api/admin/users/{user_id}`
pub(super) async fn get(
    app: Data<AppState>,
    path: PathIds<(UserId,)>,
) -> Result<Json<UserAdminView>, ApiError> {
    Ok(Json(app.accounts.user(path.0.0).await?))
}

/// `GET /api/admin/users/{user_id}/devices`
pub(super) async fn devices(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(UserId,)>,
) -> Result<Json<Devices>, ApiError> {
    let by = AuditActor { principal: &principal.0, ip: from.0 };
    Ok(Json(app.accounts.devices_of(by, path.0.0).await?))
}

/// `DELETE /api/admin/users/{user_id}/devices`
pub(super) async fn sign_out(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.accounts.sign_out(AuditActor { principal: &principal.0, ip: from.0 }, path.0.0).await?;
    app.sessions.event_router.close_user_sessions(path.0.0);
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/admin/users/{user_id}/devices/{id}`
pub(super) async fn sign_out_device(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(UserId, DeviceId)>,
) -> Result<HttpResponse, ApiError> {
    let (user, device) = path.0;
    app.accounts
        .sign_out_device(AuditActor { principal: &principal.0, ip: from.0 }, user, device)
        .await?;
    close_sockets(&app, user, &[device]);
    Ok(HttpResponse::NoContent().finish())
}

/// `PUT /api/admin/users/{user_id}/suspension`
pub(super) async fn suspend(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.accounts.suspend(AuditActor { principal: &principal.0, ip: from.0 }, path.0.0).await?;
    app.sessions.event_router.close_user_sessions(path.0.0);
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/admin/users/{user_id}/suspension`
pub(super) async fn unsuspend(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.accounts.unsuspend(AuditActor { principal: &principal.0, ip: from.0 }, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `PUT /api/admin/users/{user_id}/role`
pub(super) async fn set_role(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(UserId,)>,
    body: JsonBody<PutRole>,
) -> Result<HttpResponse, ApiError> {
    app.accounts
        .set_role(AuditActor { principal: &principal.0, ip: from.0 }, path.0.0, &body.0)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/admin/users/{user_id}/reset`; the body is optional.
pub(super) async fn reset(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(UserId,)>,
    body: OptionalJsonBody<CreatePasswordReset>,
) -> Result<HttpResponse, ApiError> {
    let by = AuditActor { principal: &principal.0, ip: from.0 };
    let created = app.accounts.create_password_reset(by, path.0.0, &body.0).await?;
    Ok(HttpResponse::Created().json(created))
}

/// `DELETE /api/admin/users/{user_id}`
pub(super) async fn delete(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.accounts.delete_user(AuditActor { principal: &principal.0, ip: from.0 }, path.0.0).await?;
    app.sessions.event_router.close_user_sessions(path.0.0);
    app.jobs.notify();
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/admin/audit`
pub(super) async fn audit(
    app: Data<AppState>,
    query: QueryParams<AuditQuery>,
) -> Result<Json<Paginated<AuditEntryView>>, ApiError> {
    let AuditQuery { limit: wanted, after: before, actor, subject, action } = query.0;
    let (before, limit) = (after(before.as_deref())?, limit(wanted)?);
    let filter = store::AuditFilter { actor, subject, action, about: None };
    Ok(Json(app.accounts.audit_log(filter, before, limit).await?.into()))
}

/// `GET /api/admin/jobs`
pub(super) async fn jobs(
    app: Data<AppState>,
    query: QueryParams<ListQuery>,
) -> Result<Json<Paginated<JobView>>, ApiError> {
    let (before, limit) = (after(query.0.after.as_deref())?, limit(query.0.limit)?);
    let rows = app.store.jobs(None, before, limit + 1).await?;
    let page = Page::from_overfetch(rows, limit, |row| row.id.to_string()).map(|row| JobView {
        id: row.id,
        kind: row.kind,
        state: row.state.to_string(),
        attempts: row.attempts,
        due_at: row.due_at,
        failure: row.failure,
        created_at: row.created_at,
        ended_at: row.ended_at,
    });
    Ok(Json(page.into()))
}
