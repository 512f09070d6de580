//! HTTP handlers of group invites.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::{ConversationId, InviteId};

use super::AppState;
use super::access::{AccessRule, RateClass};
use super::extract::{CurrentUser, OptionalJsonBody, PathIds};
use super::problem::ApiError;
use super::route::Route;
use crate::protocol::Paginated;
use crate::protocol::chat::ConversationDetail;
use crate::protocol::invites::{CreateInvite, CreatedInvite, InviteView};

/// The routes of invite links.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/conversations/{id}/invites", create, AccessRule::User).summary("Create an invite link to a group")
            .optional_body::<CreateInvite>().response::<CreatedInvite>(201),
        Route::get("/api/conversations/{id}/invites", list, AccessRule::User).summary("Valid invite links of a group")
            .list_response::<InviteView>(),
        Route::delete("/api/conversations/{id}/invites/{invite_id}", revoke, AccessRule::User).summary("Revoke an invite link").empty_response(204),
        Route::post("/api/invites/{token}", join, AccessRule::User).rate(RateClass::Login).summary("Join a group with an invite link")
            .response::<ConversationDetail>(200),
    ]
}

/// `POST /api/conversations/{id}/invites`; the body is optional.
async fn create(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId,)>,
    body: OptionalJsonBody<CreateInvite>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Created().json(app.chat.invite(principal.0.user, path.0.0, body.0).await?))
}

/// `GET /api/conversations/{id}/invites`
async fn list(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId,)>,
) -> Result<Json<Paginated<InviteView>>, ApiError> {
    Ok(Json(app.chat.invites(principal.0.user, path.0.0).await?))
}

/// `DELETE /api/conversations/{id}/invites/{invite_id}`
async fn revoke(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId, InviteId)>,
) -> Result<HttpResponse, ApiError> {
    let (id, invite) = path.0;
    app.chat.revoke_invite(principal.0.user, id, invite).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/invites/{token}`
async fn join(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(String,)>,
) -> Result<Json<ConversationDetail>, ApiError> {
    Ok(Json(app.sessions.publish_events(app.chat.join(&principal.0, &path.0.0).await?)))
}
