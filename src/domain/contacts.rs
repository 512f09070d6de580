//! Contacts: who agreed to be reached by whom, and who is kept away.

use std::sync::Arc;

use base::clock::Clock;
use base::fault::{Fault, Kind};
use base::ids::UserId;
use base::page::Page;
use store::{ContactRequest, Store};

use super::Deed;
use super::accounts::{self, Me, Phone};
use crate::cluster::{Cache, Limit, Refused};
use crate::protocol::contacts as wire;
use crate::protocol::server::{Person, ServerEvent};

/// Why something about a contact was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Neither a phone number nor an id, or both.
    #[error("name the person by `phone` or by `user_id`, not both")]
    OneOf,
    /// Not a phone number.
    #[error(transparent)]
    Phone(#[from] accounts::Error),
    /// Nobody of this number or id.
    #[error("there is no such person")]
    NoSuchPerson,
    /// Oneself.
    #[error("this is you")]
    Yourself,
    /// They are contacts, or were asked.
    #[error("this person is a contact or was asked already")]
    Already,
    /// Whoever asks has blocked the other.
    #[error("you have blocked this person: unblock them first")]
    Blocking,
    /// Nothing to accept, refuse or remove.
    #[error("there is no such contact or request")]
    NoSuchContact,
    /// Too often.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::OneOf | Self::Yourself => Kind::Invalid,
            Self::Phone(e) => e.kind(),
            Self::NoSuchPerson | Self::NoSuchContact => Kind::NotFound,
            Self::Already | Self::Blocking => Kind::Conflict,
            Self::Refused(e) => e.kind(),
            Self::Store(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::OneOf => "contacts/one-of",
            Self::Phone(e) => e.code(),
            Self::NoSuchPerson => "contacts/no-such-person",
            Self::Yourself => "contacts/yourself",
            Self::Already => "contacts/already",
            Self::Blocking => "contacts/blocking",
            Self::NoSuchContact => "contacts/no-such-contact",
            Self::Refused(e) => e.code(),
            Self::Store(e) => e.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Refused(e) => e.retry_after(),
            Self::Store(e) => e.retry_after(),
            _ => None,
        }
    }
}

/// The deeds of this area; cheap to clone.
#[derive(Clone)]
pub struct Contacts {
    store: Store,
    cache: Arc<dyn Cache>,
    clock: Clock,
    region: Arc<str>,
    per_minute: u32,
}

impl Contacts {
    /// Puts the parts together; `region` reads numbers without `+`, `per_minute` bounds requests.
    pub fn new(
        store: Store,
        cache: Arc<dyn Cache>,
        clock: Clock,
        region: &str,
        per_minute: u32,
    ) -> Self {
        Self { store, cache, clock, region: region.into(), per_minute }
    }

    /// Asks somebody to become a contact. Somebody who blocked the asker is not told, and the
    /// asker does not learn it.
    ///
    /// # Errors
    /// What is wrong with the request, or the database's.
    pub async fn request(
        &self,
        me: &Me,
        new: wire::NewContact,
    ) -> Result<Deed<wire::ContactRequested>, Error> {
        let limit = Limit::per_minute("contact-request", self.per_minute);
        self.cache.take(limit, &me.user.to_string()).await?;
        let other = match (new.user_id, new.phone) {
            (Some(id), None) => id,
            (None, Some(phone)) => {
                let phone = Phone::parse(&phone, &self.region)?;
                let found = self.store.user_by_phone(phone.as_str()).await?;
                found.ok_or(Error::NoSuchPerson)?.0.id
            }
            _ => return Err(Error::OneOf),
        };
        if other == me.user {
            return Err(Error::Yourself);
        }
        let asked = |state| wire::ContactRequested { user_id: other, state };
        match self.store.request_contact(me.user, other, self.clock.now()).await? {
            ContactRequest::Requested => Ok(Deed::told(
                asked(wire::ContactState::PendingOut),
                vec![other],
                ServerEvent::ContactRequest(person(me)),
            )),
            ContactRequest::Accepted => Ok(Deed::told(
                asked(wire::ContactState::Accepted),
                vec![other],
                ServerEvent::ContactAccepted(person(me)),
            )),
            ContactRequest::Ignored => Ok(Deed::quiet(asked(wire::ContactState::PendingOut))),
            ContactRequest::Already => Err(Error::Already),
            ContactRequest::Blocking => Err(Error::Blocking),
            ContactRequest::NoSuchUser => Err(Error::NoSuchPerson),
        }
    }

    /// Agrees to a request.
    ///
    /// # Errors
    /// [`Error::NoSuchContact`], or the database's.
    pub async fn accept(&self, me: &Me, other: UserId) -> Result<Deed<()>, Error> {
        found(self.store.accept_contact(me.user, other, self.clock.now()).await?)?;
        Ok(Deed::told((), vec![other], ServerEvent::ContactAccepted(person(me))))
    }

    /// Declines a request; the asker is not told.
    ///
    /// # Errors
    /// [`Error::NoSuchContact`], or the database's.
    pub async fn refuse(&self, me: &Me, other: UserId) -> Result<(), Error> {
        found(self.store.refuse_contact(me.user, other).await?)
    }

    /// Ends a contact, or takes one's own request back.
    ///
    /// # Errors
    /// [`Error::NoSuchContact`], or the database's.
    pub async fn remove(&self, me: &Me, other: UserId) -> Result<(), Error> {
        found(self.store.remove_contact(me.user, other).await?)
    }

    /// Keeps somebody away; the contact ends, and they are not told.
    ///
    /// # Errors
    /// [`Error::NoSuchPerson`], [`Error::Yourself`], or the database's.
    pub async fn block(&self, me: &Me, other: UserId) -> Result<(), Error> {
        if other == me.user {
            return Err(Error::Yourself);
        }
        let known = self.store.block(me.user, other, self.clock.now()).await?;
        if known { Ok(()) } else { Err(Error::NoSuchPerson) }
    }

    /// Lets somebody come near again.
    ///
    /// # Errors
    /// [`Error::NoSuchContact`], or the database's.
    pub async fn unblock(&self, me: &Me, other: UserId) -> Result<(), Error> {
        found(self.store.unblock(me.user, other).await?)
    }

    /// The person's contacts and requests.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(
        &self,
        me: &Me,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Page<wire::Contact>, Error> {
        let rows = self.store.contacts(me.user, after, limit + 1).await?;
        Ok(Page::cut(rows, limit, |row| row.user_id.to_string()).map(view))
    }
}

fn found(found: bool) -> Result<(), Error> {
    if found { Ok(()) } else { Err(Error::NoSuchContact) }
}

fn person(me: &Me) -> Person {
    Person { user_id: me.user, name: me.name.clone() }
}

/// Whoever was asked but has not agreed shows neither name nor number: a request must not be a
/// way to look people up.
fn view(row: store::Contact) -> wire::Contact {
    let state = match row.state {
        store::ContactState::PendingOut => wire::ContactState::PendingOut,
        store::ContactState::PendingIn => wire::ContactState::PendingIn,
        store::ContactState::Accepted => wire::ContactState::Accepted,
    };
    let agreed = state == wire::ContactState::Accepted;
    let hidden = state == wire::ContactState::PendingOut;
    wire::Contact {
        user_id: row.user_id,
        name: if hidden { String::new() } else { row.name },
        phone: agreed.then_some(row.phone),
        state,
        since: row.since,
    }
}
