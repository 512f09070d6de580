//! HTTP handlers of conversations.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::{ConversationId, UserId};

use super::AppState;
use super::extract::{CurrentUser, JsonBody, OptionalJsonBody, PathIds, QueryParams, after, limit};
use super::problem::ApiError;
use crate::protocol::chat::{
    ConversationDetail, ConversationSummary, CreateConversation, MemberSettings, PatchConversation,
    PatchMemberSettings, PutMember,
};
use crate::protocol::{ListQuery, Paginated};

/// `POST /api/conversations`
pub(super) async fn open(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<CreateConversation>,
) -> Result<HttpResponse, ApiError> {
    let opened = app.sessions.publish_events(app.chat.open(&principal.0, body.0).await?);
    let mut response = if opened.created { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.json(opened.conversation))
}

/// `GET /api/conversations`
pub(super) async fn list(
    app: Data<AppState>,
    principal: CurrentUser,
    query: QueryParams<ListQuery>,
) -> Result<Json<Paginated<ConversationSummary>>, ApiError> {
    let after = after(query.0.after.as_deref())?;
    let page = app.chat.list(principal.0.user, after, limit(query.0.limit)?).await?;
    Ok(Json(page.into()))
}

/// `GET /api/conversations/{id}`
pub(super) async fn get(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId,)>,
) -> Result<Json<ConversationDetail>, ApiError> {
    Ok(Json(app.chat.get(&principal.0, path.0.0).await?))
}

/// `PATCH /api/conversations/{id}`
pub(super) async fn change(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId,)>,
    body: JsonBody<PatchConversation>,
) -> Result<Json<ConversationDetail>, ApiError> {
    Ok(Json(app.sessions.publish_events(app.chat.change(&principal.0, path.0.0, body.0).await?)))
}

/// `PATCH /api/conversations/{id}/me`
pub(super) async fn update_member_settings(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId,)>,
    body: JsonBody<PatchMemberSettings>,
) -> Result<Json<MemberSettings>, ApiError> {
    Ok(Json(app.sessions.publish_events(
        app.chat.update_member_settings(principal.0.user, path.0.0, body.0).await?,
    )))
}

/// `PUT /api/conversations/{id}/members/{user_id}`; the body is optional.
pub(super) async fn put_member(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId, UserId)>,
    body: OptionalJsonBody<PutMember>,
) -> Result<Json<ConversationDetail>, ApiError> {
    let (id, user) = path.0;
    Ok(Json(
        app.sessions.publish_events(app.chat.put_member(&principal.0, id, user, body.0).await?),
    ))
}

/// `DELETE /api/conversations/{id}/members/{user_id}`
pub(super) async fn remove_member(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId, UserId)>,
) -> Result<HttpResponse, ApiError> {
    let (id, user) = path.0;
    app.sessions.publish_events(app.chat.remove_member(&principal.0, id, user).await?);
    Ok(HttpResponse::NoContent().finish())
}
