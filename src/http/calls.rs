//! Calls over HTTP: tokens that open them, what goes on, and what was.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use store::Role;

use super::Services;
use super::extract::{Body, MayMe, Me, Query, after, limit};
use super::problem::Refusal;
use crate::protocol::calls::{CallStats, CallView, NewCallToken, PastCall};
use crate::protocol::{List, ListQuery};

/// `POST /api/call/token`
pub(super) async fn token(
    app: Data<Services>,
    me: MayMe,
    new: Body<NewCallToken>,
) -> Result<HttpResponse, Refusal> {
    let token = app.living.calls.deeds.token(me.0.as_ref(), new.0).await?;
    Ok(HttpResponse::Ok().json(token))
}

/// `GET /api/call/stats`
pub(super) async fn stats(app: Data<Services>, me: MayMe) -> Json<CallStats> {
    let plain = me.0.filter(|me| me.role == Role::User);
    Json(app.living.calls.stats(plain.map(|me| me.user)))
}

/// `GET /api/calls`
pub(super) async fn history(
    app: Data<Services>,
    me: Me,
    query: Query<ListQuery>,
) -> Result<Json<List<PastCall>>, Refusal> {
    let after = after(query.0.after.as_deref())?;
    let limit = limit(query.0.limit)?;
    Ok(Json(app.living.calls.deeds.history(&me.0, after, limit).await?.into()))
}

/// `GET /api/admin/calls`
pub(super) async fn all(app: Data<Services>) -> Json<List<CallView>> {
    Json(List { items: app.living.calls.views().await, next: None })
}
