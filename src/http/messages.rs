//! HTTP handlers of messages and their changes.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::{ConversationId, MessageId};

use super::AppState;
use super::access::AccessRule;
use super::extract::{CurrentUser, JsonBody, PathIds, QueryParams, limit};
use super::problem::ApiError;
use super::route::Route;
use crate::domain::chat::{ChangeMessageRequest, ChatError, SendMessageOutcome};
use crate::protocol::Paginated;
use crate::protocol::messages::{
    DeleteQuery, MessageRevision, MessageView, MessagesQuery, PatchMessage, PostMessage,
    SearchQuery,
};

/// The routes of messages.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/conversations/{id}/messages", list, AccessRule::User).summary("Messages of a conversation, by `seq`")
            .query::<MessagesQuery>().list_response::<MessageView>(),
        Route::post("/api/conversations/{id}/messages", send, AccessRule::User).summary("Send a message; 200 if it was stored before")
            .body::<PostMessage>().response::<MessageView>(201).response::<MessageView>(200),
        Route::get("/api/conversations/{id}/messages/{message_id}", get, AccessRule::User).summary("One message").response::<MessageView>(200),
        Route::patch("/api/conversations/{id}/messages/{message_id}", edit, AccessRule::User).summary("Edit your message")
            .body::<PatchMessage>().response::<MessageView>(200),
        Route::delete("/api/conversations/{id}/messages/{message_id}", delete, AccessRule::User).summary("Delete a message for yourself or for everybody")
            .query::<DeleteQuery>().empty_response(204),
        Route::get("/api/conversations/{id}/messages/{message_id}/edits", edits, AccessRule::User).summary("Earlier texts of a message").list_response::<MessageRevision>(),
        Route::put("/api/conversations/{id}/messages/{message_id}/reactions/{emoji}", react, AccessRule::User).summary("React with an emoji").response::<MessageView>(200),
        Route::delete("/api/conversations/{id}/messages/{message_id}/reactions/{emoji}", unreact, AccessRule::User).summary("Remove a reaction").response::<MessageView>(200),
        Route::put("/api/conversations/{id}/messages/{message_id}/pin", pin, AccessRule::User).summary("Pin a message").response::<MessageView>(200),
        Route::delete("/api/conversations/{id}/messages/{message_id}/pin", unpin, AccessRule::User).summary("Unpin a message").response::<MessageView>(200),
        Route::get("/api/conversations/{id}/pins", pins, AccessRule::User).summary("Pinned messages").list_response::<MessageView>(),
        Route::get("/api/search", search, AccessRule::User).summary("Search messages, newest first")
            .query::<SearchQuery>().list_response::<MessageView>(),
    ]
}

type MessagePath = PathIds<(ConversationId, MessageId)>;

/// `GET /api/conversations/{id}/messages`
async fn list(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId,)>,
    query: QueryParams<MessagesQuery>,
) -> Result<Json<Paginated<MessageView>>, ApiError> {
    limit(query.0.limit)?;
    Ok(Json(app.chat.messages(principal.0.user, path.0.0, &query.0).await?))
}

/// `POST /api/conversations/{id}/messages`
async fn send(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId,)>,
    body: JsonBody<PostMessage>,
) -> Result<HttpResponse, ApiError> {
    let draft = app.chat.draft(principal.0.user, body.0)?;
    Ok(match app.sessions.chat_shards.send(path.0.0, draft).await? {
        SendMessageOutcome::Stored(message, _) => HttpResponse::Created().json(message),
        SendMessageOutcome::Duplicate(message) => HttpResponse::Ok().json(message),
    })
}

/// `GET /api/conversations/{id}/messages/{message_id}`
async fn get(
    app: Data<AppState>,
    principal: CurrentUser,
    path: MessagePath,
) -> Result<Json<MessageView>, ApiError> {
    let (id, message) = path.0;
    Ok(Json(app.chat.message(principal.0.user, id, message).await?))
}

/// `PATCH /api/conversations/{id}/messages/{message_id}`
async fn edit(
    app: Data<AppState>,
    principal: CurrentUser,
    path: MessagePath,
    body: JsonBody<PatchMessage>,
) -> Result<Json<MessageView>, ApiError> {
    let (id, message) = path.0;
    apply_change(&app, id, app.chat.edit(principal.0.user, message, body.0)).await
}

/// `DELETE /api/conversations/{id}/messages/{message_id}`
async fn delete(
    app: Data<AppState>,
    principal: CurrentUser,
    path: MessagePath,
    query: QueryParams<DeleteQuery>,
) -> Result<HttpResponse, ApiError> {
    let (id, message) = path.0;
    let _ = apply_change(&app, id, Ok(app.chat.delete(principal.0.user, message, query.0.r#for)))
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/conversations/{id}/messages/{message_id}/edits`
async fn edits(
    app: Data<AppState>,
    principal: CurrentUser,
    path: MessagePath,
) -> Result<Json<Paginated<MessageRevision>>, ApiError> {
    let (id, message) = path.0;
    Ok(Json(app.chat.edits(principal.0.user, id, message).await?))
}

/// `PUT /api/conversations/{id}/messages/{message_id}/reactions/{emoji}`
async fn react(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId, MessageId, String)>,
) -> Result<Json<MessageView>, ApiError> {
    let (id, message, emoji) = path.0;
    apply_change(&app, id, app.chat.react(principal.0.user, message, &emoji, true)).await
}

/// `DELETE /api/conversations/{id}/messages/{message_id}/reactions/{emoji}`
async fn unreact(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId, MessageId, String)>,
) -> Result<Json<MessageView>, ApiError> {
    let (id, message, emoji) = path.0;
    apply_change(&app, id, app.chat.react(principal.0.user, message, &emoji, false)).await
}

/// `PUT /api/conversations/{id}/messages/{message_id}/pin`
async fn pin(
    app: Data<AppState>,
    principal: CurrentUser,
    path: MessagePath,
) -> Result<Json<MessageView>, ApiError> {
    let (id, message) = path.0;
    apply_change(&app, id, Ok(app.chat.pin(principal.0.user, message, true))).await
}

/// `DELETE /api/conversations/{id}/messages/{message_id}/pin`
async fn unpin(
    app: Data<AppState>,
    principal: CurrentUser,
    path: MessagePath,
) -> Result<Json<MessageView>, ApiError> {
    let (id, message) = path.0;
    apply_change(&app, id, Ok(app.chat.pin(principal.0.user, message, false))).await
}

/// `GET /api/conversations/{id}/pins`
async fn pins(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId,)>,
) -> Result<Json<Paginated<MessageView>>, ApiError> {
    Ok(Json(app.chat.pins(principal.0.user, path.0.0).await?))
}

/// `GET /api/search`
async fn search(
    app: Data<AppState>,
    principal: CurrentUser,
    query: QueryParams<SearchQuery>,
) -> Result<Json<Paginated<MessageView>>, ApiError> {
    limit(query.0.limit)?;
    Ok(Json(app.chat.search(principal.0.user, &query.0).await?))
}

/// Executes a change in the order of the conversation and returns the changed message.
async fn apply_change(
    app: &AppState,
    id: ConversationId,
    request: Result<ChangeMessageRequest, ChatError>,
) -> Result<Json<MessageView>, ApiError> {
    Ok(Json(app.sessions.chat_shards.change_message(id, request?).await?.message))
}
