//! Presence: notifies accepted contacts who is online, batched and delayed to keep the cost low.
//!
//! The tracker is stored beside the actor, since sessions count themselves in and out; it survives
//! a restart. Its sources (sessions of this node, other nodes) only report that a device of a user
//! connected or disconnected.

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
use super::delivery::{EventRouter, OutboundEvent};
use super::supervision::SupervisedContext;
use crate::limits::MAX_USERS_PER_FLUSH;
use crate::protocol::presence::{self as wire, PresenceState};
use crate::protocol::server::ServerEvent;
use crate::telemetry::metrics::PRESENCE;

/// How often pending updates are published; all updates in between share one database query.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// The handle to presence; cheap to clone.
#[derive(Clone)]
pub struct PresenceHandle {
    tracker: Arc<Mutex<PresenceTracker>>,
    clock: Clock,
}

impl PresenceHandle {
    /// Creates a tracker without users. `grace` is the delay before a user counts as offline,
    /// `pause` the minimum time between two updates of a user.
    pub fn new(clock: Clock, grace: Duration, pause: Duration) -> Self {
        Self { tracker: Arc::new(Mutex::new(PresenceTracker::new(grace, pause))), clock }
    }

    /// Counts a device of the user as connected until the guard is dropped.
    pub fn connect(&self, user: UserId) -> OnlineGuard {
        self.lock().connected(user);
        OnlineGuard { presence: self.clone(), user }
    }

    /// The user changed their status.
    pub fn changed(&self, user: UserId) {
        self.lock().changed(user);
    }

    /// The presence of a user as their contacts see it.
    pub fn view_of(&self, user: UserId, status: Option<&StatusRow>) -> wire::PresenceEvent {
        view(user, self.lock().is_online(user), status)
    }

    fn lock(&self) -> MutexGuard<'_, PresenceTracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one device of a user as connected until it is dropped.
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

fn view(user: UserId, is_online: bool, status: Option<&StatusRow>) -> wire::PresenceEvent {
    let chosen = status.map_or(Availability::Online, |status| status.state);
    let state = match chosen {
        Availability::Online if is_online => PresenceState::Online,
        Availability::Away if is_online => PresenceState::Away,
        _ => PresenceState::Offline,
    };
    let is_hidden = chosen == Availability::Offline;
    wire::PresenceEvent {
        user_id: user,
        state,
        text: status.map(|status| status.text.clone()).unwrap_or_default(),
        last_seen_at: status
            .filter(|_| !is_hidden && !is_online)
            .and_then(|status| status.last_seen_at),
    }
}

/// The actor that publishes presence updates.
pub struct PresenceActor {
    presence: PresenceHandle,
    store: Store,
    event_router: EventRouter,
}

crate::actors::supervision::supervised!(PresenceActor);

impl PresenceActor {
    /// Publishes through `event_router` the updates of `presence`.
    pub const fn new(presence: PresenceHandle, store: Store, event_router: EventRouter) -> Self {
        Self { presence, store, event_router }
    }

    fn run(&mut self, ctx: &mut SupervisedContext<Self>) {
        let is_waiting = self.presence.lock().is_waiting();
        let due_updates = if is_waiting {
            let now = self.presence.clock.now();
            self.presence.lock().take_due(now)
        } else {
            Vec::new()
        };
        if due_updates.is_empty() {
            ctx.run_later(FLUSH_INTERVAL, Self::run);
            return;
        }
        let (presence, store, event_router) =
            (self.presence.clone(), self.store.clone(), self.event_router.clone());
        let work = async move {
            for chunk in due_updates.chunks(MAX_USERS_PER_FLUSH) {
                if let Err(error) = publish_updates(&store, &event_router, chunk).await {
                    tracing::debug!(%error, "presence publish deferred");
                    presence.lock().mark_unpublished(chunk);
                }
            }
        };
        ctx.wait(work.into_actor(self).map(|(), _, ctx| {
            ctx.run_later(FLUSH_INTERVAL, Self::run);
        }));
    }
}

/// Stores when users went offline, and publishes the updates to the contacts who may see them.
async fn publish_updates(
    store: &Store,
    event_router: &EventRouter,
    updates: &[PresenceUpdate],
) -> Result<(), store::StoreError> {
    let went_offline: Vec<_> =
        updates.iter().filter_map(|update| Some((update.user, update.last_online_at?))).collect();
    if !went_offline.is_empty() {
        store.update_last_seen(went_offline).await?;
    }
    let users: Vec<UserId> = updates.iter().map(|update| update.user).collect();
    let statuses = store.statuses(users.clone()).await?;
    let statuses: HashMap<UserId, &StatusRow> = statuses.iter().map(|s| (s.user_id, s)).collect();
    let mut watchers: HashMap<UserId, Vec<UserId>> = HashMap::new();
    for (user, watcher) in store.presence_watchers(users).await? {
        watchers.entry(user).or_default().push(watcher);
    }
    for update in updates {
        let mut recipients = watchers.remove(&update.user).unwrap_or_default();
        recipients.push(update.user); // their own other devices too
        let event = view(update.user, update.is_online, statuses.get(&update.user).copied());
        // Every node knows the presence of all users and publishes to its own sessions only.
        event_router.publish_local(&recipients, &OutboundEvent::new(&ServerEvent::Presence(event)));
        counter!(PRESENCE).increment(1);
    }
    Ok(())
}

impl Actor for PresenceActor {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(FLUSH_INTERVAL, Self::run);
    }
}
