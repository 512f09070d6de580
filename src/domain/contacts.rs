//! Contacts: who agreed to be reached by whom, and who is kept away.

use std::collections::HashMap;
use std::sync::Arc;

use base::clock::Clock;
use base::error::{CodedError, ErrorKind};
use base::ids::UserId;
use base::page::Page;
use store::{Availability, ContactRequestOutcome, StatusRow, Store};

use super::WithEvents;
use super::accounts::{self, Phone, Principal};
use crate::cluster::{Cache, RateLimit, RateLimitError};
use crate::protocol::contacts as wire;
use crate::protocol::presence::{PresenceState, PutStatus};
use crate::protocol::server::{ServerEvent, UserSummary};

/// How many numbers are looked through at once.
const MAX_ADDRESS_BOOK_NUMBERS: usize = 500;

/// Why something about a contact was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ContactError {
    /// Neither a phone number nor an id, or both.
    #[error("name the person by `phone` or by `user_id`, not both")]
    OneOf,
    /// Not a phone number.
    #[error(transparent)]
    Phone(#[from] accounts::AccountError),
    /// Nobody of this number or id.
    #[error("there is no such person")]
    NoSuchPerson,
    /// `chat.discoverable_by_phone` is off.
    #[error("nobody is found by phone number here: use an id or an invite")]
    NotFindable,
    /// More numbers than are looked through at once.
    #[error("an address book has at most {MAX_ADDRESS_BOOK_NUMBERS} numbers")]
    TooLong,
    /// A text that is too long or has control characters.
    #[error("a status has at most 140 characters")]
    BadStatus,
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
    Refused(#[from] RateLimitError),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl CodedError for ContactError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::OneOf | Self::Yourself | Self::TooLong | Self::BadStatus => ErrorKind::Invalid,
            Self::NotFindable => ErrorKind::Forbidden,
            Self::Phone(e) => e.kind(),
            Self::NoSuchPerson | Self::NoSuchContact => ErrorKind::NotFound,
            Self::Already | Self::Blocking => ErrorKind::Conflict,
            Self::Refused(e) => e.kind(),
            Self::Store(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::OneOf => "contacts/ambiguous-target",
            Self::Phone(e) => e.code(),
            Self::NoSuchPerson => "contacts/person-not-found",
            Self::NotFindable => "contacts/phone-discovery-disabled",
            Self::TooLong => "contacts/address-book-too-large",
            Self::BadStatus => "contacts/invalid-status",
            Self::Yourself => "contacts/self-not-allowed",
            Self::Already => "contacts/already-requested",
            Self::Blocking => "contacts/user-blocked",
            Self::NoSuchContact => "contacts/contact-not-found",
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
pub struct ContactService {
    store: Store,
    cache: Arc<dyn Cache>,
    clock: Clock,
    rules: DiscoveryLimits,
}

/// What bounds finding people.
#[derive(Clone, Debug)]
pub struct DiscoveryLimits {
    /// Reads numbers without `+`.
    pub region: Arc<str>,
    /// How many requests a person makes in a minute.
    pub requests_per_minute: u32,
    /// How many address books a person has looked through in an hour.
    pub matches_per_hour: u32,
    /// Whether people can be found by their number.
    pub find_by_phone: bool,
}

impl ContactService {
    /// Puts the parts together.
    pub fn new(store: Store, cache: Arc<dyn Cache>, clock: Clock, rules: DiscoveryLimits) -> Self {
        Self { store, cache, clock, rules }
    }

    /// Asks somebody to become a contact. Somebody who blocked the asker is not told, and the
    /// asker does not learn it.
    ///
    /// # Errors
    /// What is wrong with the request, or the database's.
    pub async fn request(
        &self,
        me: &Principal,
        new: wire::RequestContact,
    ) -> Result<WithEvents<wire::ContactRequested>, ContactError> {
        let limit = RateLimit::per_minute("contact-request", self.rules.requests_per_minute);
        self.cache.take(limit, &me.user.to_string()).await?;
        let other = match (new.user_id, new.phone) {
            (Some(id), None) => id,
            (None, Some(phone)) => {
                let phone = Phone::parse(&phone, &self.rules.region)?;
                if !self.rules.find_by_phone {
                    return Err(ContactError::NotFindable);
                }
                if phone.as_str() == me.phone {
                    return Err(ContactError::Yourself);
                }
                // As an address book finds people: whoever keeps the asker away has no number.
                let number = vec![phone.as_str().to_owned()];
                let found = self.store.users_by_phones(me.user, number).await?;
                found.first().ok_or(ContactError::NoSuchPerson)?.1
            }
            _ => return Err(ContactError::OneOf),
        };
        if other == me.user {
            return Err(ContactError::Yourself);
        }
        let asked = |state| wire::ContactRequested { user_id: other, state };
        match self.store.request_contact(me.user, other, self.clock.now()).await? {
            ContactRequestOutcome::Requested => Ok(WithEvents::with_event(
                asked(wire::ContactState::PendingOut),
                vec![other],
                ServerEvent::ContactRequest(person(me)),
            )),
            ContactRequestOutcome::Accepted => Ok(WithEvents::with_event(
                asked(wire::ContactState::Accepted),
                vec![other],
                ServerEvent::ContactAccepted(person(me)),
            )),
            ContactRequestOutcome::ShadowBlocked => {
                Ok(WithEvents::without_events(asked(wire::ContactState::PendingOut)))
            }
            ContactRequestOutcome::AlreadyRequested => Err(ContactError::Already),
            ContactRequestOutcome::RecipientBlocked => Err(ContactError::Blocking),
            ContactRequestOutcome::UserNotFound => Err(ContactError::NoSuchPerson),
        }
    }

    /// Who of an address book is here. Nothing of it is kept, and who keeps the asker away is not
    /// among them. A number that is none is passed over.
    ///
    /// # Errors
    /// [`ContactError::NotFindable`], [`ContactError::TooLong`], too often, or the database's.
    pub async fn match_address_book(
        &self,
        me: &Principal,
        book: wire::AddressBook,
    ) -> Result<wire::ContactMatches, ContactError> {
        if !self.rules.find_by_phone {
            return Err(ContactError::NotFindable);
        }
        if book.phones.len() > MAX_ADDRESS_BOOK_NUMBERS {
            return Err(ContactError::TooLong);
        }
        let limit = RateLimit::per_hour("contact-match", self.rules.matches_per_hour);
        self.cache.take(limit, &me.user.to_string()).await?;
        let mut spellings: HashMap<String, String> = HashMap::new();
        for text in book.phones {
            if let Ok(phone) = Phone::parse(&text, &self.rules.region) {
                spellings.entry(phone.as_str().to_owned()).or_insert(text);
            }
        }
        let phones = spellings.keys().cloned().collect();
        let found = self.store.users_by_phones(me.user, phones).await?;
        let named = |(phone, user_id, name): (String, UserId, String)| {
            Some(wire::ContactMatch { phone: spellings.remove(&phone)?, user_id, name })
        };
        Ok(wire::ContactMatches { items: found.into_iter().filter_map(named).collect() })
    }

    /// Says something of oneself; who may know is told by presence.
    ///
    /// # Errors
    /// [`ContactError::BadStatus`], [`ContactError::NoSuchPerson`], or the database's.
    pub async fn set_status(&self, me: UserId, put: PutStatus) -> Result<(), ContactError> {
        let text = put.text.trim();
        if text.chars().count() > 140 || text.chars().any(char::is_control) {
            return Err(ContactError::BadStatus);
        }
        let state = match put.state {
            PresenceState::Online => Availability::Online,
            PresenceState::Away => Availability::Away,
            PresenceState::Offline => Availability::Offline,
        };
        let known = self.store.set_status(me, state, text.to_owned()).await?;
        if known { Ok(()) } else { Err(ContactError::NoSuchPerson) }
    }

    /// What accepted contacts say of themselves.
    ///
    /// # Errors
    /// The database's.
    pub async fn statuses(
        &self,
        contacts: &[wire::ContactView],
    ) -> Result<HashMap<UserId, StatusRow>, ContactError> {
        let accepted = contacts.iter().filter(|c| c.state == wire::ContactState::Accepted);
        let people = accepted.map(|contact| contact.user_id).collect();
        let rows = self.store.statuses(people).await?;
        Ok(rows.into_iter().map(|row| (row.user_id, row)).collect())
    }

    /// Agrees to a request.
    ///
    /// # Errors
    /// [`ContactError::NoSuchContact`], or the database's.
    pub async fn accept(
        &self,
        me: &Principal,
        other: UserId,
    ) -> Result<WithEvents<()>, ContactError> {
        found(self.store.accept_contact(me.user, other, self.clock.now()).await?)?;
        Ok(WithEvents::with_event((), vec![other], ServerEvent::ContactAccepted(person(me))))
    }

    /// Declines a request; the asker is not told.
    ///
    /// # Errors
    /// [`ContactError::NoSuchContact`], or the database's.
    pub async fn refuse(&self, me: &Principal, other: UserId) -> Result<(), ContactError> {
        found(self.store.decline_contact(me.user, other).await?)
    }

    /// Ends a contact, or takes one's own request back.
    ///
    /// # Errors
    /// [`ContactError::NoSuchContact`], or the database's.
    pub async fn remove(&self, me: &Principal, other: UserId) -> Result<(), ContactError> {
        found(self.store.remove_contact(me.user, other).await?)
    }

    /// Keeps somebody away; the contact ends, and they are not told.
    ///
    /// # Errors
    /// [`ContactError::NoSuchPerson`], [`ContactError::Yourself`], or the database's.
    pub async fn block(&self, me: &Principal, other: UserId) -> Result<(), ContactError> {
        if other == me.user {
            return Err(ContactError::Yourself);
        }
        let known = self.store.block_user(me.user, other, self.clock.now()).await?;
        if known { Ok(()) } else { Err(ContactError::NoSuchPerson) }
    }

    /// Lets somebody come near again.
    ///
    /// # Errors
    /// [`ContactError::NoSuchContact`], or the database's.
    pub async fn unblock(&self, me: &Principal, other: UserId) -> Result<(), ContactError> {
        found(self.store.unblock_user(me.user, other).await?)
    }

    /// The person's contacts and requests.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(
        &self,
        me: &Principal,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Page<wire::ContactView>, ContactError> {
        let rows = self.store.contacts(me.user, after, limit + 1).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.user_id.to_string()).map(view))
    }
}

fn found(found: bool) -> Result<(), ContactError> {
    if found { Ok(()) } else { Err(ContactError::NoSuchContact) }
}

fn person(me: &Principal) -> UserSummary {
    UserSummary { user_id: me.user, name: me.name.clone() }
}

/// Whoever was asked but has not agreed shows neither name nor number: a request must not be a
/// way to look people up.
fn view(row: store::ContactRow) -> wire::ContactView {
    let state = match row.state {
        store::ContactState::PendingOut => wire::ContactState::PendingOut,
        store::ContactState::PendingIn => wire::ContactState::PendingIn,
        store::ContactState::Accepted => wire::ContactState::Accepted,
    };
    let agreed = state == wire::ContactState::Accepted;
    let hidden = state == wire::ContactState::PendingOut;
    wire::ContactView {
        user_id: row.user_id,
        name: if hidden { String::new() } else { row.name },
        phone: agreed.then_some(row.phone),
        state,
        since: row.since,
        presence: None,
    }
}
