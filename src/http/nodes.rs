//! HTTP handlers of cluster nodes: list and drain.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path};
use base::ids::NodeId;
use store::NodeState;

use super::AppState;
use super::access::AccessRule;
use super::extract::{ClientAddr, CurrentUser};
use super::problem::ApiError;
use super::route::Route;
use crate::actors::admin;
use crate::domain::accounts::audit;
use crate::protocol::Paginated;
use crate::protocol::admin::NodeView;

/// The routes of the nodes.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/admin/nodes", list, AccessRule::Operator).summary("The nodes of the cluster")
            .list_response::<NodeView>(),
        Route::post("/api/admin/nodes/{id}/drain", drain, AccessRule::Operator)
            .summary("Drain a node: hand over its calls and exit").empty_response(202),
    ]
}

/// `GET /api/admin/nodes`
async fn list(app: Data<AppState>) -> Result<Json<Paginated<NodeView>>, ApiError> {
    let this_node = app.bus.me();
    let Some(leases) = &app.leases else {
        let items = vec![NodeView {
            id: this_node,
            name: app.config.node.name(),
            url: app.config.http.public_url.clone(),
            state: if app.draining.is_on() { NodeState::Draining } else { NodeState::Up }
                .to_string(),
            started_at: None,
            this: true,
            load: app.sessions.calls.load(),
        }];
        return Ok(Json(Paginated { items, next: None }));
    };
    let nodes = leases.live_nodes().await?;
    let items = nodes.into_iter().map(|node| NodeView {
        id: node.id,
        name: node.name,
        url: node.url,
        state: node.state.to_string(),
        started_at: Some(node.started_at),
        this: node.id == this_node,
        load: app.admin.load(node.id, || app.sessions.calls.load()),
    });
    Ok(Json(Paginated { items: items.collect(), next: None }))
}

/// `POST /api/admin/nodes/{id}/drain`
async fn drain(
    app: Data<AppState>,
    principal: CurrentUser,
    from: ClientAddr,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let node: NodeId = id.parse().map_err(|_| admin::AdminError::NodeNotFound)?;
    if !app.admin.knows(node) {
        return Err(admin::AdminError::NodeNotFound.into());
    }
    // Audited before it is done, since draining may abort this request.
    let entry = audit(Some(principal.0.user), "node.drain", node.to_string(), from.0);
    app.store.record_audit(entry, app.clock.now()).await?;
    app.admin.drain(node).await?;
    Ok(HttpResponse::Accepted().finish())
}
