//! People over HTTP, for administrators.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::{DeviceId, UserId};
use base::page::Page;

use super::Services;
use super::account_security::end;
use super::extract::{Body, From, Ids, MayBody, Me, Query, after, limit};
use super::problem::Refusal;
use crate::domain::accounts::AuditActor;
use crate::protocol::accounts::Devices;
use crate::protocol::admin::{Audit, AuditQuery, JobView};
use crate::protocol::user_admin::{NewReset, PeopleQuery, Person, PutRole};
use crate::protocol::{List, ListQuery};

/// `GET /api/admin/users`
pub(super) async fn list(
    app: Data<Services>,
    query: Query<PeopleQuery>,
) -> Result<Json<List<Person>>, Refusal> {
    let (after, limit) = (after(query.0.after.as_deref())?, limit(query.0.limit)?);
    Ok(Json(app.accounts.people(&query.0, after, limit).await?.into()))
}

/// `GET /api/admin/users/{user_id}`
pub(super) async fn get(
    app: Data<Services>,
    path: Ids<(UserId,)>,
) -> Result<Json<Person>, Refusal> {
    Ok(Json(app.accounts.person(path.0.0).await?))
}

/// `GET /api/admin/users/{user_id}/devices`
pub(super) async fn devices(
    app: Data<Services>,
    me: Me,
    from: From,
    path: Ids<(UserId,)>,
) -> Result<Json<Devices>, Refusal> {
    let by = AuditActor { me: &me.0, ip: from.0 };
    Ok(Json(app.accounts.devices_of(by, path.0.0).await?))
}

/// `DELETE /api/admin/users/{user_id}/devices`
pub(super) async fn sign_out(
    app: Data<Services>,
    me: Me,
    from: From,
    path: Ids<(UserId,)>,
) -> Result<HttpResponse, Refusal> {
    app.accounts.sign_out(AuditActor { me: &me.0, ip: from.0 }, path.0.0).await?;
    app.living.switchboard.end_person(path.0.0);
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/admin/users/{user_id}/devices/{id}`
pub(super) async fn sign_out_device(
    app: Data<Services>,
    me: Me,
    from: From,
    path: Ids<(UserId, DeviceId)>,
) -> Result<HttpResponse, Refusal> {
    let (user, device) = path.0;
    app.accounts.sign_out_device(AuditActor { me: &me.0, ip: from.0 }, user, device).await?;
    end(&app, user, &[device]);
    Ok(HttpResponse::NoContent().finish())
}

/// `PUT /api/admin/users/{user_id}/suspension`
pub(super) async fn suspend(
    app: Data<Services>,
    me: Me,
    from: From,
    path: Ids<(UserId,)>,
) -> Result<HttpResponse, Refusal> {
    app.accounts.suspend(AuditActor { me: &me.0, ip: from.0 }, path.0.0).await?;
    app.living.switchboard.end_person(path.0.0);
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/admin/users/{user_id}/suspension`
pub(super) async fn unsuspend(
    app: Data<Services>,
    me: Me,
    from: From,
    path: Ids<(UserId,)>,
) -> Result<HttpResponse, Refusal> {
    app.accounts.unsuspend(AuditActor { me: &me.0, ip: from.0 }, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `PUT /api/admin/users/{user_id}/role`
pub(super) async fn set_role(
    app: Data<Services>,
    me: Me,
    from: From,
    path: Ids<(UserId,)>,
    body: Body<PutRole>,
) -> Result<HttpResponse, Refusal> {
    app.accounts.set_role(AuditActor { me: &me.0, ip: from.0 }, path.0.0, &body.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/admin/users/{user_id}/reset`; the body may be left out.
pub(super) async fn reset(
    app: Data<Services>,
    me: Me,
    from: From,
    path: Ids<(UserId,)>,
    body: MayBody<NewReset>,
) -> Result<HttpResponse, Refusal> {
    let by = AuditActor { me: &me.0, ip: from.0 };
    let made = app.accounts.offer_reset(by, path.0.0, &body.0).await?;
    Ok(HttpResponse::Created().json(made))
}

/// `DELETE /api/admin/users/{user_id}`
pub(super) async fn delete(
    app: Data<Services>,
    me: Me,
    from: From,
    path: Ids<(UserId,)>,
) -> Result<HttpResponse, Refusal> {
    app.accounts.delete_person(AuditActor { me: &me.0, ip: from.0 }, path.0.0).await?;
    app.living.switchboard.end_person(path.0.0);
    app.jobs.ring();
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/admin/audit`
pub(super) async fn audit(
    app: Data<Services>,
    query: Query<AuditQuery>,
) -> Result<Json<List<Audit>>, Refusal> {
    let AuditQuery { limit: wanted, after: before, actor, subject, action } = query.0;
    let (before, limit) = (after(before.as_deref())?, limit(wanted)?);
    let filter = store::AuditFilter { actor, subject, action, about: None };
    Ok(Json(app.accounts.audit_log(filter, before, limit).await?.into()))
}

/// `GET /api/admin/jobs`
pub(super) async fn jobs(
    app: Data<Services>,
    query: Query<ListQuery>,
) -> Result<Json<List<JobView>>, Refusal> {
    let (before, limit) = (after(query.0.after.as_deref())?, limit(query.0.limit)?);
    let rows = app.store.jobs(None, before, limit + 1).await?;
    let page = Page::cut(rows, limit, |row| row.id.to_string()).map(|row| JobView {
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
