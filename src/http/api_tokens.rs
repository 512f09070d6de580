//! HTTP handlers of API tokens.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::ApiTokenId;

use super::AppState;
use super::extract::{ClientAddr, CurrentUser, JsonBody, PathIds, QueryParams, after, limit};
use super::problem::ApiError;
use crate::protocol::admin::{ApiTokenView, CreateApiToken};
use crate::protocol::{ListQuery, Paginated};

/// `GET /api/admin/tokens`
pub(super) async fn list(
    app: Data<AppState>,
    query: QueryParams<ListQuery>,
) -> Result<Json<Paginated<ApiTokenView>>, ApiError> {
    let after = after(query.0.after.as_deref())?;
    Ok(Json(app.api_tokens.list(after, limit(query.0.limit)?).await?.into()))
}

/// `POST /api/admin/tokens`
pub(super) async fn create(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    body: JsonBody<CreateApiToken>,
) -> Result<HttpResponse, ApiError> {
    let created = app.api_tokens.create(Some(&principal.0), body.0, from.0).await?;
    Ok(HttpResponse::Created().json(created))
}

/// `DELETE /api/admin/tokens/{id}`
pub(super) async fn revoke(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: PathIds<(ApiTokenId,)>,
) -> Result<HttpResponse, ApiError> {
    app.api_tokens.revoke(&principal.0, path.0.0, from.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
