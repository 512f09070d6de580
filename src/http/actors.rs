//! HTTP handlers of the supervision tree: list, restart, stop. Actions are audited.

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
    Ok(Json(app.admin.actors(node(&query.0)?).await?))
}

/// `POST /api/admin/actors/{path}/restart`
pub(super) async fn restart(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: Path<String>,
    query: QueryParams<ActorsQuery>,
) -> Result<HttpResponse, ApiError> {
    command_actor(&app, &principal, from, &path, &query.0, true).await
}

/// `POST /api/admin/actors/{path}/stop`
pub(super) async fn stop(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: Path<String>,
    query: QueryParams<ActorsQuery>,
) -> Result<HttpResponse, ApiError> {
    command_actor(&app, &principal, from, &path, &query.0, false).await
}

async fn command_actor(
    app: &AppState,
    principal: &CurrentUser,
    from: ClientAddr,
    path: &str,
    query: &ActorsQuery,
    restart: bool,
) -> Result<HttpResponse, ApiError> {
    let node = node(query)?;
    let path = format!("/{}", path.trim_matches('/'));
    let exists = app.admin.actors(node).await?.items.iter().any(|actor| actor.path == path);
    if exists {
        // Audited before it is done, since a restart may abort this request.
        let action = if restart { "actor.restart" } else { "actor.stop" };
        let subject = node.map_or_else(|| path.clone(), |node| format!("{node}{path}"));
        let entry = audit(Some(principal.0.user), action, subject, from.0);
        app.store.record_audit(entry, app.clock.now()).await?;
    }
    app.admin.execute(node, ActorCommandRequest { path, restart }).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Parses the node of the query; `None` means this node.
fn node(query: &ActorsQuery) -> Result<Option<NodeId>, ApiError> {
    let parsed = query.node.as_deref().map(str::parse).transpose();
    parsed.map_err(|_| ApiError::from(admin::AdminError::NodeNotFound))
}
