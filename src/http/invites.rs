//! Invites into groups over HTTP.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::{ConversationId, InviteId};

use super::Services;
use super::extract::{Ids, MayBody, Me};
use super::problem::Refusal;
use crate::protocol::List;
use crate::protocol::chat::Conversation;
use crate::protocol::invites::{Invite, NewInvite};

/// `POST /api/conversations/{id}/invites`; the body may be left out.
pub(super) async fn create(
    app: Data<Services>,
    me: Me,
    path: Ids<(ConversationId,)>,
    body: MayBody<NewInvite>,
) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Created().json(app.chat.invite(me.0.user, path.0.0, body.0).await?))
}

/// `GET /api/conversations/{id}/invites`
pub(super) async fn list(
    app: Data<Services>,
    me: Me,
    path: Ids<(ConversationId,)>,
) -> Result<Json<List<Invite>>, Refusal> {
    Ok(Json(app.chat.invites(me.0.user, path.0.0).await?))
}

/// `DELETE /api/conversations/{id}/invites/{invite_id}`
pub(super) async fn revoke(
    app: Data<Services>,
    me: Me,
    path: Ids<(ConversationId, InviteId)>,
) -> Result<HttpResponse, Refusal> {
    let (id, invite) = path.0;
    app.chat.revoke_invite(me.0.user, id, invite).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/invites/{token}`
pub(super) async fn join(
    app: Data<Services>,
    me: Me,
    path: Ids<(String,)>,
) -> Result<Json<Conversation>, Refusal> {
    Ok(Json(app.living.tell(app.chat.join(&me.0, &path.0.0).await?)))
}
