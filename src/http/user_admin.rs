//! HTTP handlers of user administration.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::{DeviceId, UserId};
use base::page::Page;

use super::AppState;
use super::access::AccessRule;
use super::account_security::close_sockets;
use super::extract::{
    ClientAddr, CurrentUser, JsonBody, OptionalJsonBody, PathIds, QueryParams, after, limit,
};
use super::problem::ApiError;
use super::route::Route;
use crate::domain::accounts::AuditActor;
use crate::protocol::accounts::Devices;
use crate::protocol::admin::{AuditEntryView, AuditQuery, JobView};
use crate::protocol::user_admin::{
    CreatePasswordReset, CreatedPasswordReset, PeopleQuery, PutRole, UserAdminView,
};
use crate::protocol::{ListQuery, Paginated};

/// The routes of user administration.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/admin/audit", audit, AccessRule::Admin).summary("The audit log, newest first")
            .query::<AuditQuery>().list_response::<AuditEntryView>(),
        Route::get("/api/admin/jobs", jobs, AccessRule::Operator).summary("Pending and recent background jobs, newest first")
            .query::<ListQuery>().list_response::<JobView>(),
        Route::get("/api/admin/users", list, AccessRule::Admin).summary("Users").query::<PeopleQuery>().list_response::<UserAdminView>(),
        Route::get("/api/admin/users/{user_id}", get, AccessRule::Admin).summary("One user").response::<UserAdminView>(200),
        Route::delete("/api/admin/users/{user_id}", delete, AccessRule::Admin).summary("Delete a user's account").empty_response(204),
        Route::put("/api/admin/users/{user_id}/suspension", suspend, AccessRule::Admin).summary("Suspend a user; their sockets close").empty_response(204),
        Route::delete("/api/admin/users/{user_id}/suspension", unsuspend, AccessRule::Admin).summary("Lift a suspension").empty_response(204),
        Route::put("/api/admin/users/{user_id}/role", set_role, AccessRule::Admin).summary("Change a user's role")
            .body::<PutRole>().empty_response(204),
        Route::get("/api/admin/users/{user_id}/devices", devices, AccessRule::Admin).summary("Devices of a user").response::<Devices>(200),
        Route::delete("/api/admin/users/{user_id}/devices", sign_out, AccessRule::Admin).summary("Sign a user out everywhere").empty_response(204),
        Route::delete("/api/admin/users/{user_id}/devices/{id}", sign_out_device, AccessRule::Admin).summary("Sign one device of a user out").empty_response(204),
        Route::post("/api/admin/users/{user_id}/reset", reset, AccessRule::Admin).summary("Create a one-time password reset token")
            .optional_body::<CreatePasswordReset>().response::<CreatedPasswordReset>(201),
    ]
}

/// `GET /api/admin/users`
async fn list(
    app: Data<AppState>,
    query: QueryParams<PeopleQuery>,
) -> Result<Json<Paginated<UserAdminView>>, ApiError> {
    let (after, limit) = (after(query.0.after.as_deref())?, limit(query.0.limit)?);
    Ok(Json(app.accounts.users(&query.0, after, limit).await?.into()))
}

/// `GET /api/admin/users/{user_id}`
async fn get(
    app: Data<AppState>,
    path: PathIds<(UserId,)>,
) -> Result<Json<UserAdminView>, ApiError> {
    Ok(Json(app.accounts.user(path.0.0).await?))
}

/// `GET /api/admin/users/{user_id}/devices`
async fn devices(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(UserId,)>,
) -> Result<Json<Devices>, ApiError> {
    let by = AuditActor { principal: &principal.0, ip: from.0 };
    Ok(Json(app.accounts.devices_of(by, path.0.0).await?))
}

/// `DELETE /api/admin/users/{user_id}/devices`
async fn sign_out(
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
async fn sign_out_device(
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
async fn suspend(
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
async fn unsuspend(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.accounts.unsuspend(AuditActor { principal: &principal.0, ip: from.0 }, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `PUT /api/admin/users/{user_id}/role`
async fn set_role(
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
async fn reset(
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
async fn delete(
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
async fn audit(
    app: Data<AppState>,
    query: QueryParams<AuditQuery>,
) -> Result<Json<Paginated<AuditEntryView>>, ApiError> {
    let AuditQuery { limit: wanted, after: before, actor, subject, action } = query.0;
    let (before, limit) = (after(before.as_deref())?, limit(wanted)?);
    let filter = store::AuditFilter { actor, subject, action, about: None };
    Ok(Json(app.accounts.audit_log(filter, before, limit).await?.into()))
}

/// `GET /api/admin/jobs`
async fn jobs(
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
