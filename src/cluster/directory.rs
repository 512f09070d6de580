//! The ownership directory: which node owns a resource that may have only one owner.
//!
//! Ownership depends on the node's heartbeat: what a node owns is its own until it stops renewing
//! it. Each change of owner increments an epoch; every write of an owner carries its epoch as a
//! fencing token, and a write with a stale epoch is rejected.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::error::CodedError;
use base::ids::NodeId;

use super::cache::BoxFuture;

/// How long a node's heartbeat is valid.
pub const LEASE_TTL: Duration = Duration::from_secs(10);
/// Interval of heartbeats: short enough that a dead node's last heartbeat always permits an early
/// declaration of death.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// A node stops using what it owns this long before others may take it over.
pub const LEASE_SAFETY_MARGIN: Duration = Duration::from_secs(2);

/// The owner of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The owning node.
    pub owner: NodeId,
    /// Fencing epoch of this owner.
    pub epoch: u64,
    /// The value stored with the resource.
    pub value: String,
}

/// Result of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// This node owns it.
    Owned {
        /// Its fencing epoch.
        epoch: u64,
        /// The value stored by a previous owner, if there was one.
        previous_value: Option<String>,
    },
    /// A live node owns it (perhaps this one).
    Held(Ownership),
}

/// Fencing token: proves ownership with a write, as long as its epoch is current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FencingToken {
    /// The owned resource.
    pub key: String,
    /// The owning node.
    pub owner: NodeId,
    /// The epoch under which it is owned.
    pub epoch: u64,
}

/// Why the owner of a resource could not be determined.
#[derive(Clone, Debug, thiserror::Error, CodedError)]
pub enum DirectoryError {
    /// The other nodes have declared this node dead.
    #[error("this node is leaving the cluster: try another one")]
    #[code("cluster/ownership-unknown", Unavailable, retry_after = 1)]
    NotAlive,
    /// The database failed.
    #[error("the responsible node cannot be determined: {0}")]
    #[code("cluster/ownership-unknown", Unavailable, retry_after = 1)]
    Store(#[from] store::StoreError),
}

/// Records which node owns which resource.
pub trait OwnershipDirectory: Send + Sync + 'static {
    /// Claims `key` unless a live node owns it. `value` is stored if nobody owned it before.
    fn claim<'a>(
        &'a self,
        key: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<ClaimOutcome, DirectoryError>>;

    /// Replaces the value stored with an owned resource; false if this node does not own it any
    /// more.
    fn set_value<'a>(
        &'a self,
        key: &'a str,
        epoch: u64,
        value: &'a str,
    ) -> BoxFuture<'a, Result<bool, DirectoryError>>;

    /// The owner of `key`, alive or dead.
    fn owner_of<'a>(
        &'a self,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Ownership>, DirectoryError>>;

    /// The key with which `value` is stored, and its owner.
    fn find_by_value<'a>(
        &'a self,
        value: &'a str,
    ) -> BoxFuture<'a, Result<Option<(String, Ownership)>, DirectoryError>>;

    /// Takes over `key` from an owner that gives it up; returns the new epoch, or `None` if it is
    /// not that owner's any more.
    fn take_over<'a>(
        &'a self,
        key: &'a str,
        from: NodeId,
        epoch: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, DirectoryError>>;

    /// Releases an owned resource.
    fn release<'a>(&'a self, key: &'a str, epoch: u64)
    -> BoxFuture<'a, Result<(), DirectoryError>>;

    /// Whether a node that the bus does not find is dead, proved in a second, independent way.
    fn is_dead(&self, node: NodeId) -> BoxFuture<'_, Result<bool, DirectoryError>>;

    /// The fencing token that a write of this owner must carry; `None` where nobody else can write.
    fn fencing_token(&self, key: &str, epoch: u64) -> Option<FencingToken>;

    /// Whether this node is the owner.
    fn owns(&self, ownership: &Ownership) -> bool;

    /// Whether this node certainly still owns what it owns, without asking anybody.
    fn lease_is_valid(&self) -> bool;
}

/// The directory of a single node.
pub struct LocalDirectory {
    me: NodeId,
    entries: Mutex<HashMap<String, Ownership>>,
}

impl LocalDirectory {
    /// An empty directory of the node `me`.
    pub fn new(me: NodeId) -> Self {
        Self { me, entries: Mutex::default() }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Ownership>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim_local(&self, key: &str, value: &str) -> ClaimOutcome {
        let mut entries = self.entries();
        if let Some(existing) = entries.get(key) {
            return ClaimOutcome::Held(existing.clone());
        }
        let ownership = Ownership { owner: self.me, epoch: 0, value: value.to_owned() };
        entries.insert(key.to_owned(), ownership);
        ClaimOutcome::Owned { epoch: 0, previous_value: None }
    }
}

impl OwnershipDirectory for LocalDirectory {
    fn claim<'a>(
        &'a self,
        key: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<ClaimOutcome, DirectoryError>> {
        Box::pin(async move { Ok(self.claim_local(key, value)) })
    }

    fn set_value<'a>(
        &'a self,
        key: &'a str,
        epoch: u64,
        value: &'a str,
    ) -> BoxFuture<'a, Result<bool, DirectoryError>> {
        Box::pin(async move {
            let mut entries = self.entries();
            let existing = entries.get_mut(key).filter(|existing| existing.epoch == epoch);
            Ok(existing.map(|existing| value.clone_into(&mut existing.value)).is_some())
        })
    }

    fn owner_of<'a>(
        &'a self,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Ownership>, DirectoryError>> {
        Box::pin(async move { Ok(self.entries().get(key).cloned()) })
    }

    fn find_by_value<'a>(
        &'a self,
        value: &'a str,
    ) -> BoxFuture<'a, Result<Option<(String, Ownership)>, DirectoryError>> {
        Box::pin(async move {
            let entries = self.entries();
            let found = entries.iter().find(|(_, ownership)| ownership.value == value);
            Ok(found.map(|(key, ownership)| (key.clone(), ownership.clone())))
        })
    }

    fn take_over<'a>(
        &'a self,
        _: &'a str,
        _: NodeId,
        _: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, DirectoryError>> {
        Box::pin(async { Ok(None) }) // there is no other node
    }

    fn release<'a>(
        &'a self,
        key: &'a str,
        epoch: u64,
    ) -> BoxFuture<'a, Result<(), DirectoryError>> {
        Box::pin(async move {
            let mut entries = self.entries();
            if entries.get(key).is_some_and(|existing| existing.epoch == epoch) {
                entries.remove(key);
            }
            Ok(())
        })
    }

    fn is_dead(&self, node: NodeId) -> BoxFuture<'_, Result<bool, DirectoryError>> {
        Box::pin(async move { Ok(node != self.me) })
    }

    fn fencing_token(&self, _: &str, _: u64) -> Option<FencingToken> {
        None
    }

    fn owns(&self, ownership: &Ownership) -> bool {
        ownership.owner == self.me
    }

    fn lease_is_valid(&self) -> bool {
        true
    }
}
