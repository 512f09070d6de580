//! Contacts, blocks, address book matching and status.

use std::collections::HashMap;
use std::sync::Arc;

use base::clock::Clock;
use base::error::CodedError;
use base::ids::UserId;
use base::page::Page;
use store::{Availability, ContactRequestOutcome, StatusRow, Store};

use super::WithEvents;
use super::accounts::{self, Phone};
use crate::cluster::{Cache, RateLimit, RateLimitError};
use crate::domain::identity::Principal;
use crate::limits::MAX_ADDRESS_BOOK_NUMBERS;
use crate::protocol::contacts as wire;
use crate::protocol::presence::{PresenceState, PutStatus};
use crate::protocol::server::ServerEvent;
use crate::protocol::users::UserSummary;

/// Error of the contact service.
#[derive(Clone, Debug, thiserror::Error, CodedError)]
pub enum ContactError {
    /// Neither a phone number nor an id was given, or both.
    #[error("give either `phone` or `user_id`")]
    #[code("contacts/ambiguous-target", Invalid)]
    AmbiguousTarget,
    /// The text is not a phone number.
    #[error(transparent)]
    #[code(transparent)]
    Phone(#[from] accounts::AccountError),
    /// No user has this number or id, or the user may not be found by the caller.
    #[error("user not found")]
    #[code("contacts/user-not-found", NotFound)]
    UserNotFound,
    /// Discovery by phone number is disabled by `chat.discoverable_by_phone`.
    #[error("discovery by phone number is disabled: use a user id or an invite")]
    #[code("contacts/phone-discovery-disabled", Forbidden)]
    PhoneDiscoveryDisabled,
    /// The address book has too many numbers.
    #[error("an address book has at most {MAX_ADDRESS_BOOK_NUMBERS} numbers")]
    #[code("contacts/address-book-too-large", Invalid)]
    AddressBookTooLarge,
    /// The status text is too long or has control characters.
    #[error("a status has at most 140 characters")]
    #[code("contacts/invalid-status", Invalid)]
    InvalidStatus,
    /// The target is the caller.
    #[error("you cannot add or block yourself")]
    #[code("contacts/self-not-allowed", Invalid)]
    SelfNotAllowed,
    /// The user is a contact, or a request is pending.
    #[error("this user is already a contact or has already been asked")]
    #[code("contacts/already-requested", Conflict)]
    AlreadyRequested,
    /// The caller has blocked the target.
    #[error("you have blocked this user: unblock them first")]
    #[code("contacts/user-blocked", Conflict)]
    UserBlocked,
    /// There is no contact, request or block to act on.
    #[error("contact or request not found")]
    #[code("contacts/contact-not-found", NotFound)]
    ContactNotFound,
    /// The rate limit was exceeded, or the counter store failed.
    #[error(transparent)]
    #[code(transparent)]
    RateLimited(#[from] RateLimitError),
    /// A database error.
    #[error(transparent)]
    #[code(transparent)]
    Store(#[from] store::StoreError),
}

/// Contact service; cheap to clone.
#[derive(Clone)]
pub struct ContactService {
    store: Store,
    cache: Arc<dyn Cache>,
    clock: Clock,
    limits: DiscoveryLimits,
}

/// Limits of user discovery.
#[derive(Clone, Debug)]
pub struct DiscoveryLimits {
    /// Region (ISO 3166) assumed for numbers without `+`.
    pub region: Arc<str>,
    /// Maximum contact requests of a user per minute.
    pub requests_per_minute: u32,
    /// Maximum address book requests of a user per hour.
    pub matches_per_hour: u32,
    /// Whether users can be found by phone number.
    pub find_by_phone: bool,
}

impl ContactService {
    /// Creates the service from its dependencies.
    pub fn new(store: Store, cache: Arc<dyn Cache>, clock: Clock, limits: DiscoveryLimits) -> Self {
        Self { store, cache, clock, limits }
    }

    /// Sends a contact request. A user who blocked the caller is not notified, and the caller is
    /// not told.
    ///
    /// # Errors
    /// Validation errors, rate limit, or a database error.
    pub async fn request(
        &self,
        principal: &Principal,
        new: wire::RequestContact,
    ) -> Result<WithEvents<wire::ContactRequested>, ContactError> {
        let limit = RateLimit::per_minute("contact-request", self.limits.requests_per_minute);
        self.cache.take(limit, &principal.user.to_string()).await?;
        let other = match (new.user_id, new.phone) {
            (Some(id), None) => id,
            (None, Some(phone)) => {
                let phone = Phone::parse(&phone, &self.limits.region)?;
                if !self.limits.find_by_phone {
                    return Err(ContactError::PhoneDiscoveryDisabled);
                }
                if phone.as_str() == principal.phone {
                    return Err(ContactError::SelfNotAllowed);
                }
                // Same rules as address book matching: users who block the caller are not found.
                let number = vec![phone.as_str().to_owned()];
                let found = self.store.users_by_phones(principal.user, number).await?;
                found.first().ok_or(ContactError::UserNotFound)?.1
            }
            _ => return Err(ContactError::AmbiguousTarget),
        };
        if other == principal.user {
            return Err(ContactError::SelfNotAllowed);
        }
        let reply = |state| wire::ContactRequested { user_id: other, state };
        match self.store.request_contact(principal.user, other, self.clock.now()).await? {
            ContactRequestOutcome::Requested => Ok(WithEvents::with_event(
                reply(wire::ContactState::PendingOut),
                vec![other],
                ServerEvent::ContactRequest(person(principal)),
            )),
            ContactRequestOutcome::Accepted => Ok(WithEvents::with_event(
                reply(wire::ContactState::Accepted),
                vec![other],
                ServerEvent::ContactAccepted(person(principal)),
            )),
            ContactRequestOutcome::ShadowBlocked => {
                Ok(WithEvents::without_events(reply(wire::ContactState::PendingOut)))
            }
            ContactRequestOutcome::AlreadyRequested => Err(ContactError::AlreadyRequested),
            ContactRequestOutcome::RecipientBlocked => Err(ContactError::UserBlocked),
            ContactRequestOutcome::UserNotFound => Err(ContactError::UserNotFound),
        }
    }

    /// Finds the users of an address book. Numbers are not stored, users who block the caller are
    /// omitted, and invalid numbers are skipped.
    ///
    /// # Errors
    /// [`ContactError::PhoneDiscoveryDisabled`], [`ContactError::AddressBookTooLarge`], rate limit,
    /// or a database error.
    pub async fn match_address_book(
        &self,
        principal: &Principal,
        book: wire::AddressBook,
    ) -> Result<wire::ContactMatches, ContactError> {
        if !self.limits.find_by_phone {
            return Err(ContactError::PhoneDiscoveryDisabled);
        }
        if book.phones.len() > MAX_ADDRESS_BOOK_NUMBERS {
            return Err(ContactError::AddressBookTooLarge);
        }
        let limit = RateLimit::per_hour("contact-match", self.limits.matches_per_hour);
        self.cache.take(limit, &principal.user.to_string()).await?;
        let mut original_texts: HashMap<String, String> = HashMap::new();
        for text in book.phones {
            if let Ok(phone) = Phone::parse(&text, &self.limits.region) {
                original_texts.entry(phone.as_str().to_owned()).or_insert(text);
            }
        }
        let phones = original_texts.keys().cloned().collect();
        let found = self.store.users_by_phones(principal.user, phones).await?;
        let match_entry = |(phone, user_id, name): (String, UserId, String)| {
            Some(wire::ContactMatch { phone: original_texts.remove(&phone)?, user_id, name })
        };
        Ok(wire::ContactMatches { items: found.into_iter().filter_map(match_entry).collect() })
    }

    /// Sets the caller's presence status. Presence publishes the change.
    ///
    /// # Errors
    /// [`ContactError::InvalidStatus`], [`ContactError::UserNotFound`], or a database error.
    pub async fn set_status(&self, caller: UserId, put: PutStatus) -> Result<(), ContactError> {
        let text = put.text.trim();
        if text.chars().count() > 140 || text.chars().any(char::is_control) {
            return Err(ContactError::InvalidStatus);
        }
        let state = match put.state {
            PresenceState::Online => Availability::Online,
            PresenceState::Away => Availability::Away,
            PresenceState::Offline => Availability::Offline,
        };
        let found = self.store.set_status(caller, state, text.to_owned()).await?;
        if found { Ok(()) } else { Err(ContactError::UserNotFound) }
    }

    /// Stored statuses of accepted contacts.
    ///
    /// # Errors
    /// A database error.
    pub async fn statuses(
        &self,
        contacts: &[wire::ContactView],
    ) -> Result<HashMap<UserId, StatusRow>, ContactError> {
        let accepted = contacts.iter().filter(|c| c.state == wire::ContactState::Accepted);
        let user_ids = accepted.map(|contact| contact.user_id).collect();
        let rows = self.store.statuses(user_ids).await?;
        Ok(rows.into_iter().map(|row| (row.user_id, row)).collect())
    }

    /// Accepts a contact request.
    ///
    /// # Errors
    /// [`ContactError::ContactNotFound`], or a database error.
    pub async fn accept(
        &self,
        principal: &Principal,
        other: UserId,
    ) -> Result<WithEvents<()>, ContactError> {
        require_found(self.store.accept_contact(principal.user, other, self.clock.now()).await?)?;
        Ok(WithEvents::with_event((), vec![other], ServerEvent::ContactAccepted(person(principal))))
    }

    /// Declines a contact request; the requester is not notified.
    ///
    /// # Errors
    /// [`ContactError::ContactNotFound`], or a database error.
    pub async fn decline(&self, principal: &Principal, other: UserId) -> Result<(), ContactError> {
        require_found(self.store.decline_contact(principal.user, other).await?)
    }

    /// Removes a contact, or withdraws the caller's own request.
    ///
    /// # Errors
    /// [`ContactError::ContactNotFound`], or a database error.
    pub async fn remove(&self, principal: &Principal, other: UserId) -> Result<(), ContactError> {
        require_found(self.store.remove_contact(principal.user, other).await?)
    }

    /// Blocks a user. The contact ends; the user is not notified.
    ///
    /// # Errors
    /// [`ContactError::UserNotFound`], [`ContactError::SelfNotAllowed`], or a database error.
    pub async fn block(&self, principal: &Principal, other: UserId) -> Result<(), ContactError> {
        if other == principal.user {
            return Err(ContactError::SelfNotAllowed);
        }
        let found = self.store.block_user(principal.user, other, self.clock.now()).await?;
        if found { Ok(()) } else { Err(ContactError::UserNotFound) }
    }

    /// Unblocks a user.
    ///
    /// # Errors
    /// [`ContactError::ContactNotFound`], or a database error.
    pub async fn unblock(&self, principal: &Principal, other: UserId) -> Result<(), ContactError> {
        require_found(self.store.unblock_user(principal.user, other).await?)
    }

    /// The caller's contacts and pending requests.
    ///
    /// # Errors
    /// A database error.
    pub async fn list(
        &self,
        principal: &Principal,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Page<wire::ContactView>, ContactError> {
        let rows = self.store.contacts(principal.user, after, limit + 1).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.user_id.to_string()).map(view))
    }
}

fn require_found(found: bool) -> Result<(), ContactError> {
    if found { Ok(()) } else { Err(ContactError::ContactNotFound) }
}

fn person(principal: &Principal) -> UserSummary {
    UserSummary { user_id: principal.user, name: principal.name.clone() }
}

/// Contact entry as the caller sees it. A user who has not accepted shows neither name nor number,
/// so that a request cannot be used to look users up.
fn view(row: store::ContactRow) -> wire::ContactView {
    let state = match row.state {
        store::ContactState::PendingOut => wire::ContactState::PendingOut,
        store::ContactState::PendingIn => wire::ContactState::PendingIn,
        store::ContactState::Accepted => wire::ContactState::Accepted,
    };
    let accepted = state == wire::ContactState::Accepted;
    let hidden = state == wire::ContactState::PendingOut;
    wire::ContactView {
        user_id: row.user_id,
        name: if hidden { String::new() } else { row.name },
        phone: accepted.then_some(row.phone),
        state,
        since: row.since,
        presence: None,
    }
}
