//! HTTP handlers of the supervision tree: list, restart, stop. Actions are audited.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path};
use base::ids::NodeId;

use super::AppState;
use super::access::AccessRule;
use super::extract::{ClientAddr, CurrentUser, QueryParams};
use super::problem::ApiError;
use super::route::Route;
use crate::actors::admin;
use crate::domain::accounts::audit;
use crate::protocol::admin::{ActorTreeView, ActorsQuery};
use crate::protocol::cluster::ActorCommandRequest;

/// The routes of the supervision tree.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/admin/actors", list, AccessRule::Operator).summary("The supervision tree")
            .query::<ActorsQuery>().response::<ActorTreeView>(200),
        Route::post("/api/admin/actors/{path:.+}/restart", restart, AccessRule::Operator).summary("Restart an actor or supervisor").empty_response(204),
        Route::post("/api/admin/actors/{path:.+}/stop", stop, AccessRule::Operator).summary("Stop an actor or supervisor").empty_response(204),
    ]
}

/// `GET /api/admin/actors`
async fn list(
    app: Data<AppState>,
    query: QueryParams<ActorsQuery>,
) -> Result<Json<ActorTreeView>, ApiError> {
    Ok(Json(app.admin.actors(node(&query.0)?).await?))
}

/// `POST /api/admin/actors/{path}/restart`
async fn restart(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    path: Path<String>,
    query: QueryParams<ActorsQuery>,
) -> Result<HttpResponse, ApiError> {
    command_actor(&app, &principal, from, &path, &query.0, true).await
}

/// `POST /api/admin/actors/{path}/stop`
async fn stop(
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
