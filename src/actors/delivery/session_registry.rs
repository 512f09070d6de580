//! The sessions of this node, by user.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::ids::{DeviceId, SessionId, UserId};

use super::close_reason::CloseReason;
use super::messages::{DeliverEvent, EndSession, ObserveHead, Resync};
use crate::actors::peer_nodes::PeerNodes;
use crate::actors::supervision::{Recipient, SendError};

const SHARDS: usize = 64;

/// The ways into the mailbox of a session, one for each message type.
#[derive(Clone)]
pub(in crate::actors) struct SessionMailbox {
    pub(in crate::actors) deliver: Recipient<DeliverEvent>,
    pub(in crate::actors) observe_head: Recipient<ObserveHead>,
    pub(in crate::actors) resync: Recipient<Resync>,
    pub(in crate::actors) end: Recipient<EndSession>,
}

/// One running session.
#[derive(Clone)]
pub(in crate::actors) struct SessionEntry {
    pub(in crate::actors) session: SessionId,
    pub(in crate::actors) device: DeviceId,
    /// Opened with a call token: it receives events of its call only.
    pub(in crate::actors) call_only: bool,
    /// Whether a socket is attached.
    pub(in crate::actors) attached: Arc<AtomicBool>,
    /// Set while a resync message is in the mailbox of the session.
    pub(in crate::actors) resync_pending: Arc<AtomicBool>,
    pub(in crate::actors) mailbox: SessionMailbox,
}

impl SessionEntry {
    /// Delivers an event.
    ///
    /// # Errors
    /// [`SendError::Full`] or [`SendError::Gone`].
    pub(super) fn deliver(&self, event: DeliverEvent) -> Result<(), SendError> {
        self.mailbox.deliver.tell(event)
    }

    /// Ends the session; has no effect if it has ended already.
    pub(in crate::actors) fn end(&self, reason: CloseReason) {
        let _ = self.mailbox.end.tell_control(EndSession(reason)); // fails only if it has ended
    }

    /// Asks the session to resync from the database; further calls before it begins have no effect.
    pub(in crate::actors) fn request_resync(&self) {
        if !self.resync_pending.swap(true, Ordering::AcqRel) {
            let _ = self.mailbox.resync.tell_control(Resync); // fails only if the session has ended
        }
    }
}

/// All running sessions of this node.
pub(in crate::actors) struct SessionRegistry {
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
    pub(in crate::actors) fn new(peer_nodes: PeerNodes) -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { shards, hasher: RandomState::new(), peer_nodes }
    }

    /// Records whether a session of the user has a socket.
    pub(in crate::actors) fn attach(
        &self,
        user: UserId,
        attached_flag: &AtomicBool,
        attached: bool,
    ) {
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

    pub(in crate::actors) fn add(&self, user: UserId, entry: SessionEntry) {
        self.shard(user).entry(user).or_default().push(entry);
    }

    pub(in crate::actors) fn remove(&self, user: UserId, session: SessionId) {
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
    pub(in crate::actors) fn each(&self, user: UserId, mut with: impl FnMut(&SessionEntry)) {
        if let Some(entries) = self.shard(user).get(&user) {
            entries.iter().for_each(&mut with);
        }
    }

    /// One session of a user.
    pub(in crate::actors) fn get(&self, user: UserId, session: SessionId) -> Option<SessionEntry> {
        let shard = self.shard(user);
        shard.get(&user)?.iter().find(|entry| entry.session == session).cloned()
    }

    /// The sessions of one device, oldest first.
    pub(in crate::actors) fn of_device(&self, user: UserId, device: DeviceId) -> Vec<SessionEntry> {
        let mut sessions = Vec::new();
        self.each(user, |entry| {
            if entry.device == device {
                sessions.push(entry.clone());
            }
        });
        sessions
    }

    /// All sessions of this node.
    pub(in crate::actors) fn all(&self) -> Vec<SessionEntry> {
        let shards = self.shards.iter();
        shards
            .flat_map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.values().flatten().cloned().collect::<Vec<_>>()
            })
            .collect()
    }

    /// The users of sessions that were opened with a call token.
    pub(in crate::actors) fn call_only_users(&self) -> Vec<UserId> {
        let mut users = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let call_only = shard.iter().filter(|(_, entries)| entries.iter().any(|e| e.call_only));
            users.extend(call_only.map(|(user, _)| *user));
        }
        users
    }

    /// Whether the user has a socket on this node.
    pub(in crate::actors) fn is_connected(&self, user: UserId) -> bool {
        self.shard(user).get(&user).is_some_and(|entries| is_online(entries))
    }

    /// The number of users with an attached socket.
    pub(in crate::actors) fn connected_users(&self) -> usize {
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
