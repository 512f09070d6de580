//! HTTP handlers of contacts.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::UserId;

use super::AppState;
use super::extract::{CurrentUser, JsonBody, PathIds, QueryParams, after, limit};
use super::problem::ApiError;
use crate::protocol::contacts::{
    AddressBook, ContactMatches, ContactState, ContactView, RequestContact,
};
use crate::protocol::presence::PutStatus;
use crate::protocol::{ListQuery, Paginated};

/// `GET /api/contacts`
pub(super) async fn list(
    app: Data<AppState>,
    principal: CurrentUser,
    query: QueryParams<ListQuery>,
) -> Result<Json<Paginated<ContactView>>, ApiError> {
    let after = after(query.0.after.as_deref())?;
    let mut page = app.contacts.list(&principal.0, after, limit(query.0.limit)?).await?;
    let statuses = app.contacts.statuses(&page.items).await?;
    for contact in page.items.iter_mut().filter(|c| c.state == ContactState::Accepted) {
        let status = statuses.get(&contact.user_id);
        contact.presence = Some(app.sessions.presence.view_of(contact.user_id, status));
    }
    Ok(Json(page.into()))
}

/// `POST /api/contacts/match`
pub(super) async fn match_address_book(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<AddressBook>,
) -> Result<Json<ContactMatches>, ApiError> {
    Ok(Json(app.contacts.match_address_book(&principal.0, body.0).await?))
}

/// `PUT /api/me/status`
pub(super) async fn set_status(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<PutStatus>,
) -> Result<HttpResponse, ApiError> {
    app.contacts.set_status(principal.0.user, body.0).await?;
    app.sessions.status_changed(principal.0.user);
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/contacts`
pub(super) async fn request(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<RequestContact>,
) -> Result<HttpResponse, ApiError> {
    let requested = app.sessions.publish_events(app.contacts.request(&principal.0, body.0).await?);
    Ok(HttpResponse::Created().json(requested))
}

/// `POST /api/contacts/{user_id}/accept`
pub(super) async fn accept(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.sessions.publish_events(app.contacts.accept(&principal.0, path.0.0).await?);
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/contacts/{user_id}/refuse`
pub(super) async fn refuse(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.contacts.decline(&principal.0, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/contacts/{user_id}`
pub(super) async fn remove(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.contacts.remove(&principal.0, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `PUT /api/contacts/{user_id}/block`
pub(super) async fn block(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.contacts.block(&principal.0, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/contacts/{user_id}/block`
pub(super) async fn unblock(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.contacts.unblock(&principal.0, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
