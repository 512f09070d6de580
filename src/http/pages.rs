//! Built-in pages: start page, administrator setup, API documentation, chat and call demos. They
//! are embedded in the binary and load nothing from elsewhere.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use actix_web::web::Path;

use super::access::{AccessRule, RateClass};
use super::extract::not_found;
use super::problem::ApiError;
use super::route::Route;

/// The routes of the pages.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/docs", docs, AccessRule::Anyone).rate(RateClass::Probe).summary("API documentation").hidden(),
        Route::get("/", home, AccessRule::Anyone).rate(RateClass::Probe).summary("Start page").hidden(),
        Route::get("/setup", setup, AccessRule::Anyone).rate(RateClass::Probe).summary("Create the first administrator").hidden(),
        Route::get("/demo/chat", chat, AccessRule::Anyone).rate(RateClass::Probe).summary("Try the chat in a browser").hidden(),
        Route::get("/demo/call", call, AccessRule::Anyone).rate(RateClass::Probe).summary("Try a call in a browser").hidden(),
        Route::get("/assets/{file}", asset, AccessRule::Anyone).rate(RateClass::Probe).summary("Static files of the pages").hidden(),
    ]
}

/// Content security policy of the pages: only own scripts, styles and connections.
const PAGE_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`
async fn home() -> HttpResponse {
    page(include_str!("pages/home.html"))
}

/// `GET /setup`
async fn setup() -> HttpResponse {
    page(include_str!("pages/setup.html"))
}

/// `GET /api/docs`
async fn docs() -> HttpResponse {
    page(include_str!("pages/docs.html"))
}

/// `GET /demo/chat`
async fn chat() -> HttpResponse {
    page(include_str!("pages/chat.html"))
}

/// `GET /demo/call`
async fn call() -> HttpResponse {
    page(include_str!("pages/call.html"))
}

fn page(html: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, PAGE_CSP))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(html)
}

/// `GET /assets/{file}`
async fn asset(file: Path<String>) -> Result<HttpResponse, ApiError> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    const STYLE: &str = "text/css; charset=utf-8";
    let (kind, body) = match file.as_str() {
        "style.css" => (STYLE, include_str!("pages/style.css")),
        "call.css" => (STYLE, include_str!("pages/call.css")),
        "chat.css" => (STYLE, include_str!("pages/chat.css")),
        "docs.css" => (STYLE, include_str!("pages/docs.css")),
        "icon.svg" => ("image/svg+xml", include_str!("pages/icon.svg")),
        "api.js" => (SCRIPT, include_str!("pages/api.js")),
        "call.js" => (SCRIPT, include_str!("pages/call.js")),
        "call-client.js" => (SCRIPT, include_str!("pages/call-client.js")),
        "call-direct.js" => (SCRIPT, include_str!("pages/call-direct.js")),
        "call-sfu.js" => (SCRIPT, include_str!("pages/call-sfu.js")),
        "chat-words.js" => (SCRIPT, include_str!("pages/chat-words.js")),
        "chat.js" => (SCRIPT, include_str!("pages/chat.js")),
        "chats.js" => (SCRIPT, include_str!("pages/chats.js")),
        "deeds.js" => (SCRIPT, include_str!("pages/deeds.js")),
        "docs.js" => (SCRIPT, include_str!("pages/docs.js")),
        "dom.js" => (SCRIPT, include_str!("pages/dom.js")),
        "files.js" => (SCRIPT, include_str!("pages/files.js")),
        "markdown.js" => (SCRIPT, include_str!("pages/markdown.js")),
        "people.js" => (SCRIPT, include_str!("pages/people.js")),
        "schema.js" => (SCRIPT, include_str!("pages/schema.js")),
        "setup.js" => (SCRIPT, include_str!("pages/setup.js")),
        "socket.js" => (SCRIPT, include_str!("pages/socket.js")),
        "thread.js" => (SCRIPT, include_str!("pages/thread.js")),
        _ => return Err(not_found()),
    };
    let response =
        HttpResponse::Ok().content_type(kind).insert_header((CACHE_CONTROL, "no-cache")).body(body);
    Ok(response)
}
