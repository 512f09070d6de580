//! HTTP handlers of API tokens.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::ApiTokenId;

use super::AppState;
use super::access::AccessRule;
use super::extract::{ClientAddr, CurrentUser, JsonBody, PathIds, QueryParams, after, limit};
use super::problem::ApiError;
use super::route::Route;
use crate::protocol::admin::{ApiTokenView, CreateApiToken, CreatedApiToken};
use crate::protocol::{ListQuery, Paginated};

/// The routes of API tokens.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/admin/tokens", list, AccessRule::Admin).summary("API tokens")
            .query::<ListQuery>().list_response::<ApiTokenView>(),
        Route::post("/api/admin/tokens", create, AccessRule::Admin).summary("Create an API token")
            .body::<CreateApiToken>().response::<CreatedApiToken>(201),
        Route::delete("/api/admin/tokens/{id}", revoke, AccessRule::Admin).summary("Revoke an API token").empty_response(204),
    ]
}

/// `GET /api/admin/tokens`
async fn list(
    app: Data<AppState>,
    query: QueryParams<ListQuery>,
) -> Result<Json<Paginated<ApiTokenView>>, ApiError> {
    let after = after(query.0.after.as_deref())?;
    Ok(Json(app.api_tokens.list(after, limit(query.0.limit)?).await?.into()))
}

/// `POST /api/admin/tokens`
async fn create(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    body: JsonBody<CreateApiToken>,
) -> Result<HttpResponse, ApiError> {
    let created = app.api_tokens.create(Some(&principal.0), body.0, from.0).await?;
    Ok(HttpResponse::Created().json(created))
}

/// `DELETE /api/admin/tokens/{id}`
async fn revoke(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(ApiTokenId,)>,
) -> Result<HttpResponse, ApiError> {
    app.api_tokens.revoke(&principal.0, path.0.0, from.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
