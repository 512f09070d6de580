//! Messages over HTTP, and what becomes of them.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::{ConversationId, MessageId};

use super::Services;
use super::extract::{Body, Ids, Me, Query, limit};
use super::problem::Refusal;
use crate::domain::chat::{ChangeMessageRequest, ChatError, SendMessageOutcome};
use crate::protocol::List;
use crate::protocol::messages::{
    DeleteQuery, Edit, Message, MessagesQuery, NewMessage, PatchMessage, SearchQuery,
};

type One = Ids<(ConversationId, MessageId)>;

/// `GET /api/conversations/{id}/messages`
pub(super) async fn list(
    app: Data<Services>,
    me: Me,
    path: Ids<(ConversationId,)>,
    query: Query<MessagesQuery>,
) -> Result<Json<List<Message>>, Refusal> {
    limit(query.0.limit)?;
    Ok(Json(app.chat.messages(me.0.user, path.0.0, &query.0).await?))
}

/// `POST /api/conversations/{id}/messages`
pub(super) async fn send(
    app: Data<Services>,
    me: Me,
    path: Ids<(ConversationId,)>,
    body: Body<NewMessage>,
) -> Result<HttpResponse, Refusal> {
    let draft = app.chat.draft(me.0.user, body.0)?;
    Ok(match app.living.lanes.send(path.0.0, draft).await? {
        SendMessageOutcome::New(message, _) => HttpResponse::Created().json(message),
        SendMessageOutcome::Before(message) => HttpResponse::Ok().json(message),
    })
}

/// `GET /api/conversations/{id}/messages/{message_id}`
pub(super) async fn get(app: Data<Services>, me: Me, path: One) -> Result<Json<Message>, Refusal> {
    let (id, message) = path.0;
    Ok(Json(app.chat.message(me.0.user, id, message).await?))
}

/// `PATCH /api/conversations/{id}/messages/{message_id}`
pub(super) async fn edit(
    app: Data<Services>,
    me: Me,
    path: One,
    body: Body<PatchMessage>,
) -> Result<Json<Message>, Refusal> {
    let (id, message) = path.0;
    alter(&app, id, app.chat.edit(me.0.user, message, body.0)).await
}

/// `DELETE /api/conversations/{id}/messages/{message_id}`
pub(super) async fn delete(
    app: Data<Services>,
    me: Me,
    path: One,
    query: Query<DeleteQuery>,
) -> Result<HttpResponse, Refusal> {
    let (id, message) = path.0;
    let _ = alter(&app, id, Ok(app.chat.delete(me.0.user, message, query.0.r#for))).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/conversations/{id}/messages/{message_id}/edits`
pub(super) async fn edits(
    app: Data<Services>,
    me: Me,
    path: One,
) -> Result<Json<List<Edit>>, Refusal> {
    let (id, message) = path.0;
    Ok(Json(app.chat.edits(me.0.user, id, message).await?))
}

/// `PUT /api/conversations/{id}/messages/{message_id}/reactions/{emoji}`
pub(super) async fn react(
    app: Data<Services>,
    me: Me,
    path: Ids<(ConversationId, MessageId, String)>,
) -> Result<Json<Message>, Refusal> {
    let (id, message, emoji) = path.0;
    alter(&app, id, app.chat.react(me.0.user, message, &emoji, true)).await
}

/// `DELETE /api/conversations/{id}/messages/{message_id}/reactions/{emoji}`
pub(super) async fn unreact(
    app: Data<Services>,
    me: Me,
    path: Ids<(ConversationId, MessageId, String)>,
) -> Result<Json<Message>, Refusal> {
    let (id, message, emoji) = path.0;
    alter(&app, id, app.chat.react(me.0.user, message, &emoji, false)).await
}

/// `PUT /api/conversations/{id}/messages/{message_id}/pin`
pub(super) async fn pin(app: Data<Services>, me: Me, path: One) -> Result<Json<Message>, Refusal> {
    let (id, message) = path.0;
    alter(&app, id, Ok(app.chat.pin(me.0.user, message, true))).await
}

/// `DELETE /api/conversations/{id}/messages/{message_id}/pin`
pub(super) async fn unpin(
    app: Data<Services>,
    me: Me,
    path: One,
) -> Result<Json<Message>, Refusal> {
    let (id, message) = path.0;
    alter(&app, id, Ok(app.chat.pin(me.0.user, message, false))).await
}

/// `GET /api/conversations/{id}/pins`
pub(super) async fn pins(
    app: Data<Services>,
    me: Me,
    path: Ids<(ConversationId,)>,
) -> Result<Json<List<Message>>, Refusal> {
    Ok(Json(app.chat.pins(me.0.user, path.0.0).await?))
}

/// `GET /api/search`
pub(super) async fn search(
    app: Data<Services>,
    me: Me,
    query: Query<SearchQuery>,
) -> Result<Json<List<Message>>, Refusal> {
    limit(query.0.limit)?;
    Ok(Json(app.chat.search(me.0.user, &query.0).await?))
}

/// Puts a wish in order with what is said, and gives the message as it is then.
async fn alter(
    app: &Services,
    id: ConversationId,
    wish: Result<ChangeMessageRequest, ChatError>,
) -> Result<Json<Message>, Refusal> {
    Ok(Json(app.living.lanes.alter(id, wish?).await?.message))
}
