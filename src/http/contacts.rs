//! Contacts over HTTP.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use base::ids::UserId;

use super::Services;
use super::extract::{Body, Ids, Me, Query, after, limit};
use super::problem::Refusal;
use crate::protocol::contacts::{AddressBook, Contact, ContactState, Matches, NewContact};
use crate::protocol::presence::PutStatus;
use crate::protocol::{List, ListQuery};

/// `GET /api/contacts`
pub(super) async fn list(
    app: Data<Services>,
    me: Me,
    query: Query<ListQuery>,
) -> Result<Json<List<Contact>>, Refusal> {
    let after = after(query.0.after.as_deref())?;
    let mut page = app.contacts.list(&me.0, after, limit(query.0.limit)?).await?;
    let statuses = app.contacts.statuses(&page.items).await?;
    for contact in page.items.iter_mut().filter(|c| c.state == ContactState::Accepted) {
        let status = statuses.get(&contact.user_id);
        contact.presence = Some(app.living.presence.seen(contact.user_id, status));
    }
    Ok(Json(page.into()))
}

/// `POST /api/contacts/match`
pub(super) async fn look_up(
    app: Data<Services>,
    me: Me,
    body: Body<AddressBook>,
) -> Result<Json<Matches>, Refusal> {
    Ok(Json(app.contacts.look_up(&me.0, body.0).await?))
}

/// `PUT /api/me/status`
pub(super) async fn set_status(
    app: Data<Services>,
    me: Me,
    body: Body<PutStatus>,
) -> Result<HttpResponse, Refusal> {
    app.contacts.set_status(me.0.user, body.0).await?;
    app.living.status_changed(me.0.user);
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/contacts`
pub(super) async fn request(
    app: Data<Services>,
    me: Me,
    body: Body<NewContact>,
) -> Result<HttpResponse, Refusal> {
    let requested = app.living.tell(app.contacts.request(&me.0, body.0).await?);
    Ok(HttpResponse::Created().json(requested))
}

/// `POST /api/contacts/{user_id}/accept`
pub(super) async fn accept(
    app: Data<Services>,
    me: Me,
    path: Ids<(UserId,)>,
) -> Result<HttpResponse, Refusal> {
    app.living.tell(app.contacts.accept(&me.0, path.0.0).await?);
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/contacts/{user_id}/refuse`
pub(super) async fn refuse(
    app: Data<Services>,
    me: Me,
    path: Ids<(UserId,)>,
) -> Result<HttpResponse, Refusal> {
    app.contacts.refuse(&me.0, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/contacts/{user_id}`
pub(super) async fn remove(
    app: Data<Services>,
    me: Me,
    path: Ids<(UserId,)>,
) -> Result<HttpResponse, Refusal> {
    app.contacts.remove(&me.0, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `PUT /api/contacts/{user_id}/block`
pub(super) async fn block(
    app: Data<Services>,
    me: Me,
    path: Ids<(UserId,)>,
) -> Result<HttpResponse, Refusal> {
    app.contacts.block(&me.0, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /api/contacts/{user_id}/block`
pub(super) async fn unblock(
    app: Data<Services>,
    me: Me,
    path: Ids<(UserId,)>,
) -> Result<HttpResponse, Refusal> {
    app.contacts.unblock(&me.0, path.0.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
