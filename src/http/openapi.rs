//! Generated API descriptions: OpenAPI 3.1 from the routes, AsyncAPI 3.0 from the events.

use std::sync::OnceLock;

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use serde_json::{Map, Value, json};

use super::access::{AccessRule, RateClass};
use super::route::Route;
use super::schema::SchemaRef;
use crate::protocol::problem::Problem;
use crate::protocol::{calls, chat, client, messages, presence, server};

/// The routes of the API descriptions.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/openapi.json", openapi, AccessRule::Anyone).summary("OpenAPI document").hidden(),
        Route::get("/api/asyncapi.json", asyncapi, AccessRule::Anyone).summary("AsyncAPI document of the events").hidden(),
    ]
}

/// The descriptions as text, generated when they are first asked for.
pub struct ApiDocuments {
    routes: fn() -> Vec<Route>,
    openapi: OnceLock<Bytes>,
    asyncapi: OnceLock<Bytes>,
}

impl ApiDocuments {
    /// Descriptions of these routes and of all events.
    pub const fn new(routes: fn() -> Vec<Route>) -> Self {
        Self { routes, openapi: OnceLock::new(), asyncapi: OnceLock::new() }
    }
}

/// `GET /api/openapi.json`
async fn openapi(documents: Data<ApiDocuments>) -> HttpResponse {
    let text = documents
        .openapi
        .get_or_init(|| openapi_document(&(documents.routes)()).to_string().into());
    json_page(text)
}

/// `GET /api/asyncapi.json`
async fn asyncapi(documents: Data<ApiDocuments>) -> HttpResponse {
    json_page(documents.asyncapi.get_or_init(|| asyncapi_document().to_string().into()))
}

fn json_page(text: &Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(text.clone())
}

/// OpenAPI document of all visible routes.
pub fn openapi_document(routes: &[Route]) -> Value {
    let mut schemas = Map::new();
    SchemaRef::of::<Problem>().collect(&mut schemas);
    let mut paths = Map::new();
    for route in routes.iter().filter(|route| !route.is_hidden) {
        let path = route.path.replace(":.+}", "}");
        let operation = operation(route, &path, &mut schemas);
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(methods) = entry.as_object_mut() {
            methods.insert(route.method.as_str().to_lowercase(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "SecureVOX",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Accounts, contacts, chat and administration. Errors are problems (RFC 9457) with a stable `code`.",
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "person": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "machine": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "`Token svx_…`",
                },
            },
        },
    })
}

fn operation(route: &Route, path: &str, schemas: &mut Map<String, Value>) -> Value {
    let mut parameters = path_parameters(path);
    if let Some(query) = &route.query {
        parameters.extend(query_parameters(&query.schema()));
    }
    let mut responses = Map::new();
    for (status, schema) in &route.responses {
        let mut response = json!({ "description": route.summary });
        if let Some(schema) = schema {
            schema.collect(schemas);
            response["content"] = json!({ "application/json": { "schema": schema.reference() } });
        }
        responses.insert(status.to_string(), response);
    }
    let problem = json!({
        "description": "Problem details (RFC 9457)",
        "content": { "application/problem+json": {
            "schema": { "$ref": "#/components/schemas/Problem" },
        } },
    });
    responses.insert("4XX".to_owned(), problem.clone());
    responses.insert("503".to_owned(), problem);
    // The health probes have their own 503 response.
    if let Some((_, Some(schema))) = route.responses.iter().find(|(status, _)| *status == 503) {
        responses["503"] = json!({
            "description": "Unhealthy",
            "content": { "application/json": { "schema": schema.reference() } },
        });
    }
    let mut operation = json!({
        "summary": route.summary,
        "operationId": operation_id(route),
        "tags": [tag(path)],
        "parameters": parameters,
        "responses": responses,
        "x-who": access_label(route.access),
    });
    if let Some((schema, required)) = &route.body {
        schema.collect(schemas);
        operation["requestBody"] = json!({
            "required": required,
            "content": { (route.body_type): { "schema": schema.reference() } },
        });
    }
    if route.access != AccessRule::Anyone {
        operation["security"] = json!([{ "person": [] }]);
    }
    if route.rate == RateClass::Login || route.rate == RateClass::Registration {
        operation["description"] = json!(
            "Stricter rate limit per address; the header Retry-After of a 429 tells when to try again."
        );
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let segments = route.path.split(|c: char| !c.is_ascii_alphanumeric());
    let path: Vec<_> =
        segments.filter(|segment| !segment.is_empty() && *segment != "api").collect();
    format!("{}_{}", route.method.as_str().to_lowercase(), path.join("_"))
}

fn tag(path: &str) -> &str {
    path.trim_start_matches("/api").split('/').nth(1).unwrap_or("server")
}

fn access_label(rule: AccessRule) -> Value {
    match rule {
        AccessRule::Anyone => json!("anyone"),
        AccessRule::User => json!("person"),
        AccessRule::UserOrScope(scope) => json!(format!("person, or scope {scope}")),
        AccessRule::Operator => json!("operator"),
        AccessRule::Admin => json!("admin"),
        AccessRule::LocalOrScope(scope) => {
            json!(format!("this machine, an operator, or scope {scope}"))
        }
    }
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    names
        .map(|name| {
            json!({
                "name": name, "in": "path", "required": true,
                "schema": { "type": "string", "minLength": 1 },
            })
        })
        .collect()
}

fn query_parameters(schema: &Value) -> Vec<Value> {
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let parameter = |(name, schema): (String, Value)| {
        json!({
            "name": name, "in": "query", "required": false,
            "description": schema["description"], "schema": without_null(schema),
        })
    };
    properties.into_iter().map(parameter).collect()
}

/// Query parameters are present or absent, never `null`.
fn without_null(mut schema: Value) -> Value {
    if let Some(kinds) = schema["type"].as_array() {
        let kind = kinds.iter().find(|kind| **kind != "null").cloned();
        schema["type"] = kind.unwrap_or_default();
    }
    schema
}

/// AsyncAPI document of all events.
pub fn asyncapi_document() -> Value {
    let mut schemas = Map::new();
    let (mut messages, mut received, mut sent) = (Map::new(), Vec::new(), Vec::new());
    for (name, schema) in inbound() {
        schema.collect(&mut schemas);
        messages.insert(format!("client.{name}"), message(name, &schema));
        received.push(json!({ "$ref": format!("#/channels/ws/messages/client.{name}") }));
    }
    for (name, schema) in outbound() {
        schema.collect(&mut schemas);
        messages.insert(format!("server.{name}"), message(name, &schema));
        sent.push(json!({ "$ref": format!("#/channels/ws/messages/server.{name}") }));
    }
    SchemaRef::of::<Problem>().collect(&mut schemas);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "SecureVOX events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": include_str!("../../docs/protocol.md"),
        },
        "channels": { "ws": {
            "address": "/ws",
            "description": "JSON text frames; the same events travel over Socket.IO v4 at /socket.io/.",
            "messages": messages,
        } },
        "operations": {
            "fromClient": {
                "action": "receive", "channel": { "$ref": "#/channels/ws" }, "messages": received,
            },
            "toClient": {
                "action": "send", "channel": { "$ref": "#/channels/ws" }, "messages": sent,
            },
        },
        "components": { "schemas": schemas },
    })
}

fn message(name: &str, schema: &SchemaRef) -> Value {
    json!({
        "name": name,
        "summary": schema.schema()["description"],
        "payload": {
            "type": "object",
            "required": ["event", "data"],
            "properties": {
                "id": { "type": "integer", "minimum": 0 },
                "event": { "const": name.split('.').next().unwrap_or(name) },
                "data": schema.reference(),
            },
        },
    })
}

fn inbound() -> Vec<(&'static str, SchemaRef)> {
    vec![
        ("authenticate", SchemaRef::of::<client::Authenticate>()),
        ("sync", SchemaRef::of::<client::SyncRequest>()),
        ("send_message", SchemaRef::of::<client::SendMessage>()),
        ("ack", SchemaRef::of::<client::ReceiptPosition>()),
        ("read", SchemaRef::of::<client::ReceiptPosition>()),
        ("typing", SchemaRef::of::<client::Typing>()),
        ("start_call", SchemaRef::of::<calls::StartCall>()),
        ("accept_call", SchemaRef::of::<calls::CallRef>()),
        ("decline_call", SchemaRef::of::<calls::CallRef>()),
        ("cancel_call", SchemaRef::of::<calls::CallRef>()),
        ("invite_call", SchemaRef::of::<calls::InviteCall>()),
        ("upgrade_call", SchemaRef::of::<calls::CallRef>()),
        ("join_call", SchemaRef::of::<calls::JoinCall>()),
        ("leave_call", SchemaRef::of::<calls::CallRef>()),
        ("offer", SchemaRef::of::<calls::OfferRequest>()),
        ("answer", SchemaRef::of::<calls::AnswerRequest>()),
        ("ice_candidate", SchemaRef::of::<calls::IceCandidateRequest>()),
        ("mute_audio", SchemaRef::of::<calls::Mute>()),
        ("mute_video", SchemaRef::of::<calls::Mute>()),
        ("set_layer", SchemaRef::of::<calls::SetLayer>()),
        ("moderate", SchemaRef::of::<calls::ModerateRequest>()),
    ]
}

fn outbound() -> Vec<(&'static str, SchemaRef)> {
    vec![
        ("authenticated", SchemaRef::of::<server::Authenticated>()),
        ("message", SchemaRef::of::<messages::MessageView>()),
        ("message_edited", SchemaRef::of::<messages::MessageView>()),
        ("message_deleted", SchemaRef::of::<messages::MessageDeleted>()),
        ("reaction", SchemaRef::of::<messages::Reaction>()),
        ("presence", SchemaRef::of::<presence::PresenceEvent>()),
        ("conversation_kept", SchemaRef::of::<chat::MemberSettings>()),
        ("receipt", SchemaRef::of::<server::ReceiptEvent>()),
        ("typing", SchemaRef::of::<server::TypingEvent>()),
        ("conversation", SchemaRef::of::<chat::ConversationDetail>()),
        ("contact_request", SchemaRef::of::<crate::protocol::users::UserSummary>()),
        ("contact_accepted", SchemaRef::of::<crate::protocol::users::UserSummary>()),
        ("reconnect", SchemaRef::of::<server::Reconnect>()),
        ("incoming_call", SchemaRef::of::<calls::IncomingCall>()),
        ("call_answered", SchemaRef::of::<calls::CallAnswered>()),
        ("call_declined", SchemaRef::of::<calls::CallAnswered>()),
        ("call_ended", SchemaRef::of::<calls::CallEnded>()),
        ("call_joined", SchemaRef::of::<calls::CallJoined>()),
        ("participant_joined", SchemaRef::of::<calls::ParticipantChanged>()),
        ("participant_updated", SchemaRef::of::<calls::ParticipantChanged>()),
        ("participant_left", SchemaRef::of::<calls::ParticipantLeft>()),
        ("offer", SchemaRef::of::<calls::RelayedDescription>()),
        ("answer", SchemaRef::of::<calls::RelayedDescription>()),
        ("answer.server", SchemaRef::of::<calls::ServerAnswer>()),
        ("ice_candidate", SchemaRef::of::<calls::RelayedCandidate>()),
        ("track_published", SchemaRef::of::<calls::TrackPublished>()),
        ("track_unpublished", SchemaRef::of::<calls::TrackUnpublished>()),
        ("track_wanted", SchemaRef::of::<calls::TrackWanted>()),
        ("active_speaker", SchemaRef::of::<calls::ActiveSpeaker>()),
        ("call_mode", SchemaRef::of::<calls::CallMode>()),
        ("call_moved", SchemaRef::of::<calls::CallMoved>()),
        ("call_quality", SchemaRef::of::<calls::CallQuality>()),
        ("sync.reply", SchemaRef::of::<server::SyncReply>()),
        ("start_call.reply", SchemaRef::of::<calls::CallStarted>()),
        ("join_call.reply", SchemaRef::of::<calls::CallJoined>()),
    ]
}
