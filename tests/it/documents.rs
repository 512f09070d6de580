//! The interface as data: whole, without loose ends, and the same as the routes.

use std::collections::BTreeSet;

use securevox::http::openapi::{asyncapi_document, openapi_document};
use securevox::http::routes::routes;
use serde_json::Value;

use crate::support::{Backend, World};

/// Every `$ref` in a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get("$ref") {
                found.insert(target.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn assert_whole(document: &Value) {
    let mut found = BTreeSet::new();
    references(document, &mut found);
    assert!(found.len() > 5);
    for target in found {
        let pointer = target.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{target} points nowhere");
    }
}

#[test]
fn api_document_references_resolve() {
    assert_whole(&openapi_document(&routes()));
    assert_whole(&asyncapi_document());
}

#[test]
fn every_route_is_documented_in_openapi() {
    let document = openapi_document(&routes());
    let mut ids = BTreeSet::new();
    for route in routes() {
        assert!(!route.summary.is_empty(), "{}", route.path);
        if route.is_hidden {
            continue;
        }
        let path = route.path.replace(":.+}", "}");
        let method = route.method.as_str().to_lowercase();
        let operation = &document["paths"][&path][&method];
        assert_eq!(operation["summary"], route.summary, "{method} {path}");
        assert!(operation["responses"].as_object().unwrap().len() > 1);
        assert!(ids.insert(operation["operationId"].to_string()), "{}", operation["operationId"]);
    }
}

#[actix_web::test]
async fn api_documents_and_pages_are_served() {
    let world = World::new(Backend::Sqlite).await;
    let stranger = world.stranger();

    assert_eq!(stranger.get("/api/openapi.json").await.ok(), openapi_document(&routes()));
    assert_eq!(stranger.get("/api/asyncapi.json").await.ok(), asyncapi_document());
    for page in ["/", "/setup", "/api/docs", "/demo/chat"] {
        let answer = stranger.get(page).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        // Nothing from outside, and nothing that the policy would refuse.
        for part in answer.text.split(['"', '\'']).filter(|part| part.starts_with("/assets/")) {
            assert_eq!(stranger.get(part).await.status, 200, "{page} needs {part}");
        }
        assert!(!answer.text.contains("<style") && !answer.text.contains(" onclick="), "{page}");
        assert!(
            !answer.text.contains("src=\"http") && !answer.text.contains("href=\"http"),
            "{page}"
        );
    }
    let head = stranger.sends(awc::http::Method::HEAD, "/", &[], None).await;
    assert_eq!((head.status, head.text.len()), (200, 0));
    stranger.get("/assets/..%2Fhome.html").await.refused(404, "http/not-found");
}
