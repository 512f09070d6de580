//! HTTP handlers of health checks and metrics.

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::AppState;
use super::access::{AccessRule, RateClass};
use super::route::Route;
use crate::cluster::BusState;
use crate::protocol::health::{Health, HealthChecks, ProbeReply};

/// The routes of health and metrics.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/health", health, AccessRule::Anyone).summary("Health of the server").response::<Health>(200).response::<Health>(503),
        Route::get("/health/live", live, AccessRule::Anyone).rate(RateClass::Probe).summary("Whether the process answers").response::<ProbeReply>(200),
        Route::get("/health/ready", ready, AccessRule::Anyone).rate(RateClass::Probe).summary("Whether the node accepts requests")
            .response::<ProbeReply>(200).response::<ProbeReply>(503),
        Route::get("/metrics", metrics, AccessRule::LocalOrScope("metrics:read")).summary("Prometheus metrics").hidden(),
    ]
}

/// `GET /health`
async fn health(app: Data<AppState>) -> HttpResponse {
    let checks = HealthChecks {
        database: check_label(app.store.ping().await.is_ok()),
        cache: check_label(app.cache.ping().await.is_ok()),
        bus: if app.config.cluster.is_enabled() { check_label(is_bus_up(&app)) } else { "off" },
        telegram: "off",
    };
    let healthy = checks.database == "ok" && checks.cache == "ok" && checks.bus != "failed";
    let health = Health {
        status: if healthy { "healthy" } else { "degraded" },
        service: "SecureVOX",
        version: env!("CARGO_PKG_VERSION"),
        active_calls: app.sessions.calls.ids().len(),
        connected_users: app.sessions.event_router.local_connected_users(),
        checks,
    };
    if healthy {
        HttpResponse::Ok().json(health)
    } else {
        HttpResponse::ServiceUnavailable().json(health)
    }
}

const fn check_label(ok: bool) -> &'static str {
    if ok { "ok" } else { "failed" }
}

/// Whether the bus to other nodes is up. Always true without a cluster.
fn is_bus_up(app: &AppState) -> bool {
    *app.bus.state().borrow() == BusState::Up
}

/// `GET /health/live`
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(ProbeReply { status: "ok" })
}

/// `GET /health/ready`
async fn ready(app: Data<AppState>) -> HttpResponse {
    let status = if app.draining.is_on() {
        "draining"
    } else if app.tree.get().is_none() {
        "starting"
    } else if !app.store_up.is_up() || !is_bus_up(&app) {
        "failed"
    } else {
        return HttpResponse::Ok().json(ProbeReply { status: "ok" });
    };
    HttpResponse::ServiceUnavailable().json(ProbeReply { status })
}

/// `GET /metrics`
async fn metrics(app: Data<AppState>) -> HttpResponse {
    let page = app.metrics.render();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(page)
}
