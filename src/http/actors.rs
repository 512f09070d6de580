//! The supervision tree over HTTP: to see, to restart, to stop; what is done is audited.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path};
use base::fault::{Fault, Kind};

use super::Services;
use super::extract::{From, Me, Query};
use super::problem::Refusal;
use crate::actors::supervision::{CommandError, Entry, Failure, Tree};
use crate::domain::accounts::audit;
use crate::protocol::admin::{Actor, ActorFailure, Actors, ActorsQuery};

/// `GET /api/admin/actors`
pub(super) async fn list(
    app: Data<Services>,
    query: Query<ActorsQuery>,
) -> Result<Json<Actors>, Refusal> {
    if query.0.node.as_deref().is_some_and(|node| *node != *app.node) {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "actors/no-such-node",
            "there is no such node",
        ));
    }
    let items = tree(&app)?.snapshot().into_iter().map(view).collect();
    Ok(Json(Actors { node: app.node.to_string(), items }))
}

/// `POST /api/admin/actors/{path}/restart`
pub(super) async fn restart(
    app: Data<Services>,
    me: Me,
    from: From,
    path: Path<String>,
) -> Result<HttpResponse, Refusal> {
    let path = absolute(&path);
    note(&app, &me, from, "actor.restart", &path).await?;
    tree(&app)?.restart(&path).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/admin/actors/{path}/stop`
pub(super) async fn stop(
    app: Data<Services>,
    me: Me,
    from: From,
    path: Path<String>,
) -> Result<HttpResponse, Refusal> {
    let path = absolute(&path);
    note(&app, &me, from, "actor.stop", &path).await?;
    tree(&app)?.stop(&path).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Written before the deed, so that an order that takes the answer down with it is on record.
async fn note(
    app: &Services,
    me: &Me,
    from: From,
    action: &str,
    path: &str,
) -> Result<(), Refusal> {
    let known = tree(app)?.snapshot().iter().any(|entry| entry.path == path);
    if known {
        let entry = audit(Some(me.0.user), action, path.to_owned(), from.0);
        app.store.audit(entry, app.clock.now()).await?;
    }
    Ok(())
}

fn tree(app: &Services) -> Result<&Tree, Refusal> {
    app.tree.get().ok_or_else(|| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "node/starting", "the node is starting")
    })
}

fn absolute(path: &str) -> String {
    format!("/{}", path.trim_matches('/'))
}

fn view(entry: Entry) -> Actor {
    Actor {
        path: entry.path,
        state: word(&entry.state),
        kind: word(&entry.kind),
        restart: word(&entry.restart),
        uptime_ms: entry.uptime_ms,
        restarts: entry.restarts,
        mailbox: entry.mailbox,
        handled: entry.handled,
        longest_wait_us: entry.longest_wait_us,
        stuck_ms: entry.stuck_ms,
        doing: entry.doing,
        last_failure: entry.last_failure.map(failure),
        failures: entry.failures.into_iter().map(failure).collect(),
    }
}

fn failure(failure: Failure) -> ActorFailure {
    ActorFailure { at: failure.at, exit: failure.exit, message: failure.message }
}

/// The word that serde has for a plain variant.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

impl Fault for CommandError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound => Kind::NotFound,
            Self::Closing => Kind::Unavailable,
            Self::Failed(_) => Kind::Conflict,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "actors/not-found",
            Self::Closing => "actors/closing",
            Self::Failed(_) => "actors/failed",
        }
    }
}
