//! HTTP handlers of contacts.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::UserId;

use super::AppState;
use super::access::AccessRule;
use super::extract::{CurrentUser, JsonBody, PathIds, QueryParams, after, limit};
use super::problem::ApiError;
use super::route::Route;
use crate::protocol::contacts::{
    AddressBook, ContactMatches, ContactRequested, ContactState, ContactView, RequestContact,
};
use crate::protocol::presence::PutStatus;
use crate::protocol::{ListQuery, Paginated};

/// The routes of contacts.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::put("/api/me/status", set_status, AccessRule::User).summary("Set your presence status")
            .body::<PutStatus>().empty_response(204),
        Route::get("/api/contacts", list, AccessRule::User).summary("Your contacts and requests")
            .query::<ListQuery>().list_response::<ContactView>(),
        Route::post("/api/contacts", request, AccessRule::User).summary("Send a contact request")
            .body::<RequestContact>().response::<ContactRequested>(201),
        Route::post("/api/contacts/match", match_address_book, AccessRule::User).summary("Find users by the numbers of an address book; numbers are not stored")
            .body::<AddressBook>().response::<ContactMatches>(200),
        Route::post("/api/contacts/{user_id}/accept", accept, AccessRule::User).summary("Accept a contact request").empty_response(204),
        Route::post("/api/contacts/{user_id}/refuse", refuse, AccessRule::User).summary("Decline a contact request").empty_response(204),
        Route::delete("/api/contacts/{user_id}", remove, AccessRule::User).summary("Remove a contact or withdraw a request").empty_response(204),
        Route::put("/api/contacts/{user_id}/block", block, AccessRule::User).summary("Block a user").empty_response(204),
        Route::delete("/api/contacts/{user_id}/block", unblock, AccessRule::User).summary("Unblock a user").empty_response(204),
    ]
}

/// `GET /api/contacts`
async fn list(
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
async fn match_address_book(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<AddressBook>,
) -> Result<Json<ContactMatches>, ApiError> {
    Ok(Json(app.contacts.match_address_book(&principal.0, body.0).await?))
}

/// `PUT /api/me/status`
async fn set_status(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<PutStatus>,
) -> Result<HttpResponse, ApiError> {
    app.contacts.set_status(principal.0.user, body.0).await?;
    app.sessions.status_changed(principal.0.user);
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/contacts`
async fn request(
    app: Data<AppState>,
    principal: CurrentUser,
    body: JsonBody<RequestContact>,
) -> Result<HttpResponse, ApiError> {
    let requested = app.sessions.publish_events(app.contacts.request(&principal.0, body.0).await?);
    Ok(HttpResponse::Created().json(requested))
}

/// `POST /api/contacts/{user_id}/accept`
async fn accept(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.sessions.publish_events(app.contacts.accept(&principal.0, path.0.0).await?);
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/contacts/{user_id}/refuse`
async fn refuse(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.contacts.decline(&principal.0, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/contacts/{user_id}`
async fn remove(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.contacts.remove(&principal.0, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `PUT /api/contacts/{user_id}/block`
async fn block(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.contacts.block(&principal.0, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/contacts/{user_id}/block`
async fn unblock(
    app: Data<AppState>,
    principal: CurrentUser,
    path: PathIds<(UserId,)>,
) -> Result<HttpResponse, ApiError> {
    app.contacts.unblock(&principal.0, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
