//! What a room is made of, now and after any restart; when it goes, the call is over.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::super::board::Board;
use crate::actors::media;
use crate::actors::sessions::{Outgoing, Switchboard};
use crate::domain::calls::{Begin, Call, Calls, To};
use crate::protocol::calls::Reason;
use crate::protocol::server::{CallNews, ServerEvent};
use crate::telemetry::metrics::dropped;

/// Shared by all lives of a room.
pub(in crate::actors::calls) struct Seed {
    pub(super) deeds: Calls,
    pub(super) switchboard: Switchboard,
    pub(super) board: Board,
    pub(super) media: media::Settings,
    call: Mutex<Call>,
    permits: Mutex<HashMap<u32, OwnedSemaphorePermit>>,
}

impl Seed {
    pub(in crate::actors::calls) fn new(
        begin: Begin,
        deeds: Calls,
        switchboard: Switchboard,
        board: Board,
        media: media::Settings,
    ) -> Self {
        let call = Call::begin(begin, deeds.terms(), deeds.clock().now());
        let (call, permits) = (Mutex::new(call), Mutex::default());
        Self { deeds, switchboard, board, media, call, permits }
    }

    fn call(&self) -> MutexGuard<'_, Call> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permits(&self) -> MutexGuard<'_, HashMap<u32, OwnedSemaphorePermit>> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call after its last whole step.
    pub(super) fn recall(&self) -> Call {
        self.call().clone()
    }

    /// The call after another whole step.
    pub(super) fn remember(&self, call: &Call) {
        *self.call() = call.clone();
    }

    /// A participant's place among all devices in calls.
    pub(super) fn keep(&self, number: u32, permit: OwnedSemaphorePermit) {
        self.permits().insert(number, permit);
    }

    /// The participant is out.
    pub(super) fn free(&self, number: u32) {
        self.permits().remove(&number);
    }

    /// Tells whoever is to hear it.
    pub(super) fn tell(&self, to: &To, news: CallNews) {
        let event = Outgoing::new(&ServerEvent::Call(news));
        match to {
            To::People(people) => self.switchboard.announce(people, &event),
            To::Seat(seat) => {
                if !self.switchboard.tell_session(seat.user, seat.session, &event) {
                    dropped("no-such-session");
                }
            }
        }
    }
}

/// The room was stopped, or failed too often: nobody must wait for it. History is closed by
/// housekeeping, which sees that the call is not on the board.
impl Drop for Seed {
    fn drop(&mut self) {
        let mut call = self.recall();
        if call.ended().is_none() {
            call.take_news(); // of a call that did not come to life: nobody heard of it
            call.end(Reason::Failed);
            self.board.remove(call.id());
            for (to, news) in call.take_news() {
                self.tell(&to, news);
            }
        }
    }
}
