//! Calls over HTTP: tokens that open them, what goes on, and what was.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use store::Role;

use super::AppState;
use super::extract::{CurrentUser, JsonBody, OptionalUser, QueryParams, after, limit};
use super::problem::ApiError;
use crate::protocol::calls::{CallStats, CallView, NewCallToken, PastCall};
use crate::protocol::{ListQuery, Paginated};

/// `POST /api/call/token`
pub(super) async fn token(
    app: Data<AppState>,
    me: OptionalUser,
    new: JsonBody<NewCallToken>,
) -> Result<HttpResponse, ApiError> {
    let token = app.living.calls.domain.token(me.0.as_ref(), new.0).await?;
    Ok(HttpResponse::Ok().json(token))
}

/// `GET /api/call/stats`
pub(super) async fn stats(app: Data<AppState>, me: OptionalUser) -> Json<CallStats> {
    let plain = me.0.filter(|me| me.role == Role::User);
    Json(app.living.calls.stats(plain.map(|me| me.user)))
}

/// `GET /api/calls`
pub(super) async fn history(
    app: Data<AppState>,
    me: CurrentUser,
    query: QueryParams<ListQuery>,
) -> Result<Json<Paginated<PastCall>>, ApiError> {
    let after = after(query.0.after.as_deref())?;
    let limit = limit(query.0.limit)?;
    Ok(Json(app.living.calls.domain.history(&me.0, after, limit).await?.into()))
}

/// `GET /api/admin/calls`
pub(super) async fn all(app: Data<AppState>) -> Json<Paginated<CallView>> {
    Json(Paginated { items: app.living.calls.views().await, next: None })
}
