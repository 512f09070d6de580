//! Which sessions live on this node, by person: the local half of the directory.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::ids::{DeviceId, SessionId, UserId};

use super::session::{Resync, SessionActor};
use crate::actors::peer_nodes::PeerNodes;
use crate::actors::supervision::ActorRef;

const SHARDS: usize = 64;

/// One living session.
#[derive(Clone)]
pub(super) struct SessionEntry {
    pub(super) session: SessionId,
    pub(super) device: DeviceId,
    /// It was opened with a call token: it hears of its call and of nothing else.
    pub(super) call_only: bool,
    /// Whether a socket is attached.
    pub(super) attached: Arc<AtomicBool>,
    /// The session was told to look into the database and has not begun to.
    pub(super) told: Arc<AtomicBool>,
    pub(super) actor: ActorRef<SessionActor>,
}

impl SessionEntry {
    /// Tells the session to look into the database, once however often this is said.
    pub(super) fn missed(&self) {
        if !self.told.swap(true, Ordering::AcqRel) {
            let _ = self.actor.tell_control(Resync); // gone: nobody to tell
        }
    }
}

/// All living sessions.
pub(super) struct SessionRegistry {
    shards: Vec<Mutex<HashMap<UserId, Vec<SessionEntry>>>>,
    hasher: RandomState,
    neighbours: PeerNodes,
}

/// Whether somebody has a socket.
fn is_here(entries: &[SessionEntry]) -> bool {
    entries.iter().any(|entry| !entry.call_only && entry.attached.load(Ordering::Acquire))
}

impl SessionRegistry {
    /// Nobody yet; the neighbours hear of everybody who comes and goes.
    pub(super) fn new(neighbours: PeerNodes) -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { shards, hasher: RandomState::new(), neighbours }
    }

    /// A session of this person has a socket from now on, or none.
    pub(super) fn attach(&self, user: UserId, flag: &AtomicBool, attached: bool) {
        let shard = self.shard(user); // held, so that the neighbours hear it in the right order
        let entries = shard.get(&user).map(Vec::as_slice).unwrap_or_default();
        let before = is_here(entries);
        flag.store(attached, Ordering::Release);
        let after = is_here(entries);
        if before != after {
            self.neighbours.is_here(user, after);
        }
    }

    fn shard(&self, user: UserId) -> MutexGuard<'_, HashMap<UserId, Vec<SessionEntry>>> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let n = self.hasher.hash_one(user) as usize % SHARDS;
        self.shards[n].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, user: UserId, entry: SessionEntry) {
        self.shard(user).entry(user).or_default().push(entry);
    }

    pub(super) fn remove(&self, user: UserId, session: SessionId) {
        let mut shard = self.shard(user);
        if let Some(entries) = shard.get_mut(&user) {
            let before = is_here(entries);
            entries.retain(|entry| entry.session != session);
            if before && !is_here(entries) {
                self.neighbours.is_here(user, false);
            }
            if entries.is_empty() {
                shard.remove(&user);
            }
        }
    }

    /// Calls `with` for every session of a person, oldest first.
    pub(super) fn each(&self, user: UserId, mut with: impl FnMut(&SessionEntry)) {
        if let Some(entries) = self.shard(user).get(&user) {
            entries.iter().for_each(&mut with);
        }
    }

    /// One session of a person.
    pub(super) fn one(&self, user: UserId, session: SessionId) -> Option<SessionEntry> {
        let shard = self.shard(user);
        shard.get(&user)?.iter().find(|entry| entry.session == session).cloned()
    }

    /// The sessions of one device, oldest first.
    pub(super) fn of_device(&self, user: UserId, device: DeviceId) -> Vec<SessionEntry> {
        let mut found = Vec::new();
        self.each(user, |entry| {
            if entry.device == device {
                found.push(entry.clone());
            }
        });
        found
    }

    /// Every session there is.
    pub(super) fn all(&self) -> Vec<SessionEntry> {
        let shards = self.shards.iter();
        shards
            .flat_map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.values().flatten().cloned().collect::<Vec<_>>()
            })
            .collect()
    }

    /// Those who have a session that was opened with a call token.
    pub(super) fn guests(&self) -> Vec<UserId> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let visits = shard.iter().filter(|(_, entries)| entries.iter().any(|e| e.call_only));
            found.extend(visits.map(|(user, _)| *user));
        }
        found
    }

    /// Whether somebody has a socket here.
    pub(super) fn has(&self, user: UserId) -> bool {
        self.shard(user).get(&user).is_some_and(|entries| is_here(entries))
    }

    /// People with an attached socket.
    pub(super) fn people(&self) -> usize {
        let here = |entries: &Vec<SessionEntry>| {
            entries.iter().any(|entry| entry.attached.load(Ordering::Relaxed))
        };
        let shards = self.shards.iter();
        shards
            .map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.values().filter(|entries| here(entries)).count()
            })
            .sum()
    }
}
