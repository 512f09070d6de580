//! Presence: telling accepted contacts who is here, little and late enough to cost nothing.
//!
//! What counts is kept beside the actor, since sessions count themselves in and out; after a
//! restart it goes on from there. Whatever feeds it (the sessions of this node, other nodes) says
//! only that a device of somebody came or went.

mod tracker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use base::clock::Clock;
use base::ids::UserId;
use metrics::counter;
use store::{Availability, StatusRow, Store};

use self::tracker::{PresenceTracker, PresenceUpdate};
use super::sessions::{EventRouter, OutboundEvent};
use super::supervision::SupervisedContext;
use crate::protocol::presence::{self as wire, PresenceState};
use crate::protocol::server::ServerEvent;
use crate::telemetry::metrics::PRESENCE;

/// How often it is looked whether something is to be told: all that happens in between is told with
/// one question to the database.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);
/// Of how many people something is told with one question.
const MAX_USERS_PER_FLUSH: usize = 500;

/// The way to presence; cheap to clone.
#[derive(Clone)]
pub struct PresenceHandle {
    attendance: Arc<Mutex<PresenceTracker>>,
    clock: Clock,
}

impl PresenceHandle {
    /// Nobody is here yet.
    pub fn new(clock: Clock, grace: Duration, pause: Duration) -> Self {
        Self { attendance: Arc::new(Mutex::new(PresenceTracker::new(grace, pause))), clock }
    }

    /// A device of the person is here until what is given is dropped.
    pub fn connect(&self, user: UserId) -> OnlineGuard {
        self.lock().connected(user);
        OnlineGuard { presence: self.clone(), user }
    }

    /// The person says something else of themselves.
    pub fn changed(&self, user: UserId) {
        self.lock().changed(user);
    }

    /// Somebody's presence, as their contacts see it.
    pub fn view_of(&self, user: UserId, status: Option<&StatusRow>) -> wire::PresenceEvent {
        view(user, self.lock().is_here(user), status)
    }

    fn lock(&self) -> MutexGuard<'_, PresenceTracker> {
        self.attendance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device that is here.
pub struct OnlineGuard {
    presence: PresenceHandle,
    user: UserId,
}

impl Drop for OnlineGuard {
    fn drop(&mut self) {
        let now = self.presence.clock.now();
        self.presence.lock().disconnected(self.user, now);
    }
}

fn view(user: UserId, here: bool, status: Option<&StatusRow>) -> wire::PresenceEvent {
    let chosen = status.map_or(Availability::Online, |status| status.state);
    let state = match chosen {
        Availability::Online if here => PresenceState::Online,
        Availability::Away if here => PresenceState::Away,
        _ => PresenceState::Offline,
    };
    let hides = chosen == Availability::Offline;
    wire::PresenceEvent {
        user_id: user,
        state,
        text: status.map(|status| status.text.clone()).unwrap_or_default(),
        last_seen_at: status.filter(|_| !hides && !here).and_then(|status| status.last_seen_at),
    }
}

/// The actor.
pub struct PresenceActor {
    presence: PresenceHandle,
    store: Store,
    switchboard: EventRouter,
}

crate::actors::supervision::supervised!(PresenceActor);

impl PresenceActor {
    /// Tells through `switchboard` what `presence` finds.
    pub const fn new(presence: PresenceHandle, store: Store, switchboard: EventRouter) -> Self {
        Self { presence, store, switchboard }
    }

    fn round(&mut self, ctx: &mut SupervisedContext<Self>) {
        let waits = self.presence.lock().is_waiting();
        let due = if waits {
            let now = self.presence.clock.now();
            self.presence.lock().due(now)
        } else {
            Vec::new()
        };
        if due.is_empty() {
            ctx.run_later(FLUSH_INTERVAL, Self::round);
            return;
        }
        let (presence, store, switchboard) =
            (self.presence.clone(), self.store.clone(), self.switchboard.clone());
        let work = async move {
            for some in due.chunks(MAX_USERS_PER_FLUSH) {
                if let Err(error) = tell(&store, &switchboard, some).await {
                    tracing::debug!(%error, "presence publish deferred");
                    presence.lock().again(some);
                }
            }
        };
        ctx.wait(work.into_actor(self).map(|(), _, ctx| {
            ctx.run_later(FLUSH_INTERVAL, Self::round);
        }));
    }
}

/// Writes down who went, and tells those who may know.
async fn tell(
    store: &Store,
    switchboard: &EventRouter,
    news: &[PresenceUpdate],
) -> Result<(), store::StoreError> {
    let gone: Vec<_> = news.iter().filter_map(|news| Some((news.user, news.gone?))).collect();
    if !gone.is_empty() {
        store.last_seen(gone).await?;
    }
    let people: Vec<UserId> = news.iter().map(|news| news.user).collect();
    let statuses = store.statuses(people.clone()).await?;
    let statuses: HashMap<UserId, &StatusRow> = statuses.iter().map(|s| (s.user_id, s)).collect();
    let mut watchers: HashMap<UserId, Vec<UserId>> = HashMap::new();
    for (user, watcher) in store.watchers(people).await? {
        watchers.entry(user).or_default().push(watcher);
    }
    for news in news {
        let mut to = watchers.remove(&news.user).unwrap_or_default();
        to.push(news.user); // their own other devices too
        let seen = view(news.user, news.here, statuses.get(&news.user).copied());
        // Every node knows who is anywhere, and tells those who are with it.
        switchboard.publish_local(&to, &OutboundEvent::new(&ServerEvent::Presence(seen)));
        counter!(PRESENCE).increment(1);
    }
    Ok(())
}

impl Actor for PresenceActor {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(FLUSH_INTERVAL, Self::round);
    }
}
