//! HTTP handlers of conversations.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::{ConversationId, UserId};

use super::AppState;
use super::access::AccessRule;
use super::extract::{CurrentUser, JsonBody, OptionalJsonBody, PathIds, QueryParams, after, limit};
use super::problem::ApiError;
use super::route::Route;
use crate::protocol::chat::{
    ConversationDetail, ConversationSummary, CreateConversation, MemberSettings, PatchConversation,
    PatchMemberSettings, PutMember,
};
use crate::protocol::{ListQuery, Paginated};

/// The routes of conversations.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/conversations", open, AccessRule::User).summary("Create a conversation; 200 if the direct one exists")
            .body::<CreateConversation>().response::<ConversationDetail>(201)
            .response::<ConversationDetail>(200),
        Route::get("/api/conversations", list, AccessRule::User).summary("Your conversations")
            .query::<ListQuery>().list_response::<ConversationSummary>(),
        Route::get("/api/conversations/{id}", get, AccessRule::User).summary("One conversation").response::<ConversationDetail>(200),
        Route::patch("/api/conversations/{id}", change, AccessRule::User).summary("Change a group's title and other settings")
            .body::<PatchConversation>().response::<ConversationDetail>(200),
        Route::patch("/api/conversations/{id}/me", update_member_settings, AccessRule::User).summary("Mute or archive a conversation for yourself")
            .body::<PatchMemberSettings>().response::<MemberSettings>(200),
        Route::put("/api/conversations/{id}/members/{user_id}", put_member, AccessRule::User)
            .summary("Add a member to a group, or change a role")
            .optional_body::<PutMember>().response::<ConversationDetail>(200),
        Route::delete("/api/conversations/{id}/members/{user_id}", remove_member, AccessRule::User)
            .summary("Remove a member from a group, or leave it").empty_response(204),
    ]
}

/// `POST /api/conversations`
async fn open(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<CreateConversation>,
) -> Result<HttpResponse, ApiError> {
    let opened = app.sessions.publish_events(app.chat.open(&principal.0, body.0).await?);
    let mut response = if opened.created { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.json(opened.conversation))
}

/// `GET /api/conversations`
async fn list(
    app: Data<AppState>,
    principal: CurrentUser,
    query: QueryParams<ListQuery>,
) -> Result<Json<Paginated<ConversationSummary>>, ApiError> {
    let after = after(query.0.after.as_deref())?;
    let page = app.chat.list(principal.0.user, after, limit(query.0.limit)?).await?;
    Ok(Json(page.into()))
}

/// `GET /api/conversations/{id}`
async fn get(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId,)>,
) -> Result<Json<ConversationDetail>, ApiError> {
    Ok(Json(app.chat.get(&principal.0, path.0.0).await?))
}

/// `PATCH /api/conversations/{id}`
async fn change(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId,)>,
    body: JsonBody<PatchConversation>,
) -> Result<Json<ConversationDetail>, ApiError> {
    Ok(Json(app.sessions.publish_events(app.chat.change(&principal.0, path.0.0, body.0).await?)))
}

/// `PATCH /api/conversations/{id}/me`
async fn update_member_settings(
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
async fn put_member(
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
async fn remove_member(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId, UserId)>,
) -> Result<HttpResponse, ApiError> {
    let (id, user) = path.0;
    app.sessions.publish_events(app.chat.remove_member(&principal.0, id, user).await?);
    Ok(HttpResponse::NoContent().finish())
}
