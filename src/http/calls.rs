//! HTTP handlers of calls: tokens, statistics, history.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use store::Role;

use super::AppState;
use super::access::AccessRule;
use super::extract::{CurrentUser, JsonBody, OptionalUser, QueryParams, after, limit};
use super::problem::ApiError;
use super::route::Route;
use crate::protocol::calls::{CallStats, CallToken, CallView, NewCallToken, PastCall};
use crate::protocol::{ListQuery, Paginated};

/// The routes of calls.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/call/token", token, AccessRule::UserOrScope("calls:token")).summary("Create a token for one call")
            .body::<NewCallToken>().response::<CallToken>(200),
        Route::get("/api/call/stats", stats, AccessRule::UserOrScope("calls:token")).summary("Calls in progress")
            .response::<CallStats>(200),
        Route::get("/api/calls", history, AccessRule::User).summary("Your call history, newest first")
            .query::<ListQuery>().list_response::<PastCall>(),
        Route::get("/api/admin/calls", all, AccessRule::Operator).summary("Calls in progress with their participants")
            .list_response::<CallView>(),
    ]
}

/// `POST /api/call/token`
async fn token(
    app: Data<AppState>,
    principal: OptionalUser,
    new: JsonBody<NewCallToken>,
) -> Result<HttpResponse, ApiError> {
    let token = app.sessions.calls.domain.token(principal.0.as_ref(), new.0).await?;
    Ok(HttpResponse::Ok().json(token))
}

/// `GET /api/call/stats`
async fn stats(app: Data<AppState>, principal: OptionalUser) -> Json<CallStats> {
    let limited_to = principal.0.filter(|principal| principal.role == Role::User);
    Json(app.sessions.calls.stats(limited_to.map(|principal| principal.user)))
}

/// `GET /api/calls`
async fn history(
    app: Data<AppState>,
    principal: CurrentUser,
    query: QueryParams<ListQuery>,
) -> Result<Json<Paginated<PastCall>>, ApiError> {
    let after = after(query.0.after.as_deref())?;
    let limit = limit(query.0.limit)?;
    Ok(Json(app.sessions.calls.domain.history(&principal.0, after, limit).await?.into()))
}

/// `GET /api/admin/calls`
async fn all(app: Data<AppState>) -> Json<Paginated<CallView>> {
    Json(Paginated { items: app.sessions.calls.views().await, next: None })
}
