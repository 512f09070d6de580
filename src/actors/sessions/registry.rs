//! The sessions of this node, by user.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::ids::{DeviceId, SessionId, UserId};

use super::session::{Resync, SessionActor};
use crate::actors::peer_nodes::PeerNodes;
use crate::actors::supervision::ActorRef;

const SHARDS: usize = 64;

/// One running session.
#[derive(Clone)]
pub(super) struct SessionEntry {
    pub(super) session: SessionId,
    pub(super) device: DeviceId,
    /// Opened with a call token: it receives events of its call only.
    pub(super) call_only: bool,
    /// Whether a socket is attached.
    pub(super) attached: Arc<AtomicBool>,
    /// Set while a resync message is in the mailbox of the session.
    pub(super) resync_pending: Arc<AtomicBool>,
    pub(super) actor: ActorRef<SessionActor>,
}

impl SessionEntry {
    /// Asks the session to resync from the database; further calls before it begins have no effect.
    pub(super) fn request_resync(&self) {
        if !self.resync_pending.swap(true, Ordering::AcqRel) {
            let _ = self.actor.tell_control(Resync); // fails only if the session has ended
        }
    }
}

/// All running sessions of this node.
pub(super) struct SessionRegistry {
    shards: Vec<Mutex<HashMap<UserId, Vec<SessionEntry>>>>,
    hasher: RandomState,
    peer_nodes: PeerNodes,
}

/// Whether the user has a socket on a session that is not call-only.
fn is_online(entries: &[SessionEntry]) -> bool {
    entries.iter().any(|entry| !entry.call_only && entry.attached.load(Ordering::Acquire))
}

impl SessionRegistry {
    /// Creates an empty registry; `peer_nodes` are notified of users who connect and disconnect.
    pub(super) fn new(peer_nodes: PeerNodes) -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { shards, hasher: RandomState::new(), peer_nodes }
    }

    /// Records whether a session of the user has a socket.
    pub(super) fn attach(&self, user: UserId, attached_flag: &AtomicBool, attached: bool) {
        let shard = self.shard(user); // held, so that peer nodes are notified in the right order
        let entries = shard.get(&user).map(Vec::as_slice).unwrap_or_default();
        let before = is_online(entries);
        attached_flag.store(attached, Ordering::Release);
        let after = is_online(entries);
        if before != after {
            self.peer_nodes.set_connected(user, after);
        }
    }

    fn shard(&self, user: UserId) -> MutexGuard<'_, HashMap<UserId, Vec<SessionEntry>>> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let index = self.hasher.hash_one(user) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, user: UserId, entry: SessionEntry) {
        self.shard(user).entry(user).or_default().push(entry);
    }

    pub(super) fn remove(&self, user: UserId, session: SessionId) {
        let mut shard = self.shard(user);
        if let Some(entries) = shard.get_mut(&user) {
            let before = is_online(entries);
            entries.retain(|entry| entry.session != session);
            if before && !is_online(entries) {
                self.peer_nodes.set_connected(user, false);
            }
            if entries.is_empty() {
                shard.remove(&user);
            }
        }
    }

    /// Calls `with` for every session of a user, oldest first.
    pub(super) fn each(&self, user: UserId, mut with: impl FnMut(&SessionEntry)) {
        if let Some(entries) = self.shard(user).get(&user) {
            entries.iter().for_each(&mut with);
        }
    }

    /// One session of a user.
    pub(super) fn get(&self, user: UserId, session: SessionId) -> Option<SessionEntry> {
        let shard = self.shard(user);
        shard.get(&user)?.iter().find(|entry| entry.session == session).cloned()
    }

    /// The sessions of one device, oldest first.
    pub(super) fn of_device(&self, user: UserId, device: DeviceId) -> Vec<SessionEntry> {
        let mut sessions = Vec::new();
        self.each(user, |entry| {
            if entry.device == device {
                sessions.push(entry.clone());
            }
        });
        sessions
    }

    /// All sessions of this node.
    pub(super) fn all(&self) -> Vec<SessionEntry> {
        let shards = self.shards.iter();
        shards
            .flat_map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.values().flatten().cloned().collect::<Vec<_>>()
            })
            .collect()
    }

    /// The users of sessions that were opened with a call token.
    pub(super) fn call_only_users(&self) -> Vec<UserId> {
        let mut users = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let call_only = shard.iter().filter(|(_, entries)| entries.iter().any(|e| e.call_only));
            users.extend(call_only.map(|(user, _)| *user));
        }
        users
    }

    /// Whether the user has a socket on this node.
    pub(super) fn is_connected(&self, user: UserId) -> bool {
        self.shard(user).get(&user).is_some_and(|entries| is_online(entries))
    }

    /// The number of users with an attached socket.
    pub(super) fn connected_users(&self) -> usize {
        let has_socket = |entries: &Vec<SessionEntry>| {
            entries.iter().any(|entry| entry.attached.load(Ordering::Relaxed))
        };
        let shards = self.shards.iter();
        shards
            .map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.values().filter(|entries| has_socket(entries)).count()
            })
            .sum()
    }
}
