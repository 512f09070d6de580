//! The supervision tree over HTTP: to see, to restart, to stop; what is done is audited.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path};
use base::ids::NodeId;

use super::AppState;
use super::extract::{ClientAddr, CurrentUser, QueryParams};
use super::problem::ApiError;
use crate::actors::admin;
use crate::domain::accounts::audit;
use crate::protocol::admin::{ActorTreeView, ActorsQuery};
use crate::protocol::cluster::ActorCommandRequest;

/// `GET /api/admin/actors`
pub(super) async fn list(
    app: Data<AppState>,
    query: QueryParams<ActorsQuery>,
) -> Result<Json<ActorTreeView>, ApiError> {
    Ok(Json(app.operators.actors(node(&query.0)?).await?))
}

/// `POST /api/admin/actors/{path}/restart`
pub(super) async fn restart(
    app: Data<AppState>,
    me: CurrentUser,
    from: ClientAddr,
    path: Path<String>,
    query: QueryParams<ActorsQuery>,
) -> Result<HttpResponse, ApiError> {
    act(&app, &me, from, &path, &query.0, true).await
}

/// `POST /api/admin/actors/{path}/stop`
pub(super) async fn stop(
    app: Data<AppState>,
    me: CurrentUser,
    from: ClientAddr,
    path: Path<String>,
    query: QueryParams<ActorsQuery>,
) -> Result<HttpResponse, ApiError> {
    act(&app, &me, from, &path, &query.0, false).await
}

async fn act(
    app: &AppState,
    me: &CurrentUser,
    from: ClientAddr,
    path: &str,
    query: &ActorsQuery,
    restart: bool,
) -> Result<HttpResponse, ApiError> {
    let node = node(query)?;
    let path = format!("/{}", path.trim_matches('/'));
    let known = app.operators.actors(node).await?.items.iter().any(|actor| actor.path == path);
    if known {
        // Written before the deed, so that an order that takes the answer down with it is on record.
        let action = if restart { "actor.restart" } else { "actor.stop" };
        let subject = node.map_or_else(|| path.clone(), |node| format!("{node}{path}"));
        let entry = audit(Some(me.0.user), action, subject, from.0);
        app.store.audit(entry, app.clock.now()).await?;
    }
    app.operators.execute(node, ActorCommandRequest { path, restart }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The node that is meant; `None` for this one.
fn node(query: &ActorsQuery) -> Result<Option<NodeId>, ApiError> {
    let named = query.node.as_deref().map(str::parse).transpose();
    named.map_err(|_| ApiError::from(admin::AdminError::NodeNotFound))
}
