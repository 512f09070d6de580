//! HTTP handlers of group invites.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::{ConversationId, InviteId};

use super::AppState;
use super::extract::{CurrentUser, OptionalJsonBody, PathIds};
use super::problem::ApiError;
use crate::protocol::Paginated;
use crate::protocol::chat::ConversationDetail;
use crate::protocol::invites::{CreateInvite, InviteView};

/// `POST /api/conversations/{id}/invites`; the body is optional.
pub(super) async fn create(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId,)>,
    body: OptionalJsonBody<CreateInvite>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Created().json(app.chat.invite(principal.0.user, path.0.0, body.0).await?))
}

/// `GET /api/conversations/{id}/invites`
pub(super) async fn list(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId,)>,
) -> Result<Json<Paginated<InviteView>>, ApiError> {
    Ok(Json(app.chat.invites(principal.0.user, path.0.0).await?))
}

/// `DELETE /api/conversations/{id}/invites/{invite_id}`
pub(super) async fn revoke(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(ConversationId, InviteId)>,
) -> Result<HttpResponse, ApiError> {
    let (id, invite) = path.0;
    app.chat.revoke_invite(principal.0.user, id, invite).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/invites/{token}`
pub(super) async fn join(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(String,)>,
) -> Result<Json<ConversationDetail>, ApiError> {
    Ok(Json(app.sessions.publish_events(app.chat.join(&principal.0, &path.0.0).await?)))
}
