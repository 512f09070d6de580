//! API tokens over HTTP.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::ApiTokenId;

use super::Services;
use super::extract::{Body, From, Ids, Me, Query, after, limit};
use super::problem::Refusal;
use crate::protocol::admin::{NewToken, Token};
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
