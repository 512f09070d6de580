//! The way to everybody who is here.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::ids::{DeviceId, SessionId, UserId};

use super::line::Close;
use super::outgoing::{Outgoing, Place};
use super::registry::Registry;
use super::session::{Deliver, End, Known};
use crate::actors::supervision::Undelivered;
use crate::protocol::server::{Reconnect, ServerEvent};
use crate::telemetry::metrics::dropped;

/// Finds the sessions of people on this node; cheap to clone.
#[derive(Clone, Default)]
pub struct Switchboard {
    pub(super) registry: Arc<Registry>,
}

impl Switchboard {
    /// Tells every session of these people.
    pub fn announce(&self, people: &[UserId], event: &Outgoing) {
        for user in people {
            self.registry.each(*user, |entry| {
                if entry.call_only {
                    return;
                }
                if entry.actor.tell(Deliver(event.clone())) == Err(Undelivered::Full) {
                    dropped("session-full");
                    entry.missed();
                }
            });
        }
    }

    /// Tells every session of these people how far a conversation is, without saying what was said:
    /// whoever lacks something, and may see it, reads it.
    pub fn tell_known(&self, people: &[UserId], place: Place) {
        self.tell_place(people, Known { place, passed: false });
    }

    /// Tells every session of these people that a number is not for them.
    pub fn tell_passed(&self, people: &[UserId], place: Place) {
        self.tell_place(people, Known { place, passed: true });
    }

    fn tell_place(&self, people: &[UserId], known: Known) {
        for user in people {
            self.registry.each(*user, |entry| {
                if entry.call_only {
                    return;
                }
                if entry.actor.tell(known) == Err(Undelivered::Full) {
                    dropped("session-full");
                    entry.missed();
                }
            });
        }
    }

    /// Tells one session; false if it is no more. What does not fit its mailbox is lost to it and
    /// counted: a device that is so far behind is about to be ended.
    pub fn tell_session(&self, user: UserId, session: SessionId, event: &Outgoing) -> bool {
        let Some(entry) = self.registry.one(user, session) else { return false };
        if entry.actor.tell(Deliver(event.clone())) == Err(Undelivered::Full) {
            dropped("session-full");
        }
        true
    }

    /// Whether a session has a socket.
    pub fn is_attached(&self, user: UserId, session: SessionId) -> bool {
        let entry = self.registry.one(user, session);
        entry.is_some_and(|entry| entry.attached.load(Ordering::Acquire))
    }

    /// Tells every session to look into the database, since news may have been lost.
    pub fn resync(&self) {
        for entry in self.registry.all() {
            entry.missed();
        }
    }

    /// Ends the sessions of a device that was signed out.
    pub fn end_device(&self, user: UserId, device: DeviceId) {
        for entry in self.registry.of_device(user, device) {
            let _ = entry.actor.insist(End(Close::SignedOut)); // gone already is as good
        }
    }

    /// Tells every device to come back after a moment, then ends every session.
    pub fn leave(&self, after_ms: u64) {
        let event = Outgoing::new(&ServerEvent::Reconnect(Reconnect { after_ms }));
        for entry in self.registry.all() {
            let _ = entry.actor.insist(Deliver(event.clone())); // gone: nobody to tell
            let _ = entry.actor.insist(End(Close::Leaving));
        }
    }

    /// People with an open socket on this node.
    pub fn connected(&self) -> usize {
        self.registry.people()
    }
}
