//! API tokens and the audit log over HTTP.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::ApiTokenId;
use base::page::Page;

use super::Services;
use super::extract::{Body, From, Ids, Me, Query, after, limit};
use super::problem::Refusal;
use crate::protocol::admin::{Audit, NewToken, Token};
use crate::protocol::{List, ListQuery};

/// `GET /api/admin/tokens`
pub(super) async fn list(
    app: Data<Services>,
    query: Query<ListQuery>,
) -> Result<Json<List<Token>>, Refusal> {
    let after = after(query.0.after.as_deref())?;
    Ok(Json(app.tokens.list(after, limit(query.0.limit)?).await?.into()))
}

/// `POST /api/admin/tokens`
pub(super) async fn create(
    app: Data<Services>,
    me: Me,
    from: From,
    body: Body<NewToken>,
) -> Result<HttpResponse, Refusal> {
    let made = app.tokens.create(Some(&me.0), body.0, from.0).await?;
    Ok(HttpResponse::Created().json(made))
}

/// `DELETE /api/admin/tokens/{id}`
pub(super) async fn revoke(
    app: Data<Services>,
    me: Me,
    from: From,
    path: Ids<(ApiTokenId,)>,
) -> Result<HttpResponse, Refusal> {
    app.tokens.revoke(&me.0, path.0.0, from.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/admin/audit`
pub(super) async fn audit(
    app: Data<Services>,
    query: Query<ListQuery>,
) -> Result<Json<List<Audit>>, Refusal> {
    let (before, limit) = (after(query.0.after.as_deref())?, limit(query.0.limit)?);
    let rows = app.store.audit_page(before, limit + 1).await?;
    let page = Page::cut(rows, limit, |row| row.id.to_string()).map(|row| Audit {
        id: row.id,
        at: row.at,
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        detail: row.detail,
        ip: row.ip,
    });
    Ok(Json(page.into()))
}
