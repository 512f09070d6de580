//! The directory: which node owns what there may be only one owner of.
//!
//! Ownership hangs on the life of a node: a node says every few seconds that it lives, and what it
//! owns is its own until it stops doing so. Each change of owner counts an epoch; whatever an owner
//! writes carries it, and a write of an epoch that is over is refused.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::error::{CodedError, ErrorKind};
use base::ids::NodeId;

use super::cache::BoxFuture;

/// How long a node's word that it lives holds.
pub const LEASE_TTL: Duration = Duration::from_secs(10);
/// How often it is given. A dead node's last word is then always young enough for an early death
/// certificate.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// A node stops what it owns this long before others may take it.
pub const LEASE_SAFETY_MARGIN: Duration = Duration::from_secs(2);

/// What somebody owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Who.
    pub owner: NodeId,
    /// Which of its owners that is.
    pub epoch: u64,
    /// What the first owner noted beside it.
    pub value: String,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// It is ours, under this epoch.
    Mine {
        /// Which of its owners we are.
        epoch: u64,
        /// What an owner before us had noted, if there was one.
        left: Option<String>,
    },
    /// Somebody who lives has it (perhaps ourselves).
    Held(Ownership),
}

/// Proof of ownership on a write: it holds only while the epoch does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FencingToken {
    /// What is owned.
    pub key: String,
    /// By whom.
    pub owner: NodeId,
    /// Under which epoch.
    pub epoch: u64,
}

/// Why it cannot be told who owns something.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The others take this node for dead.
    #[error("this node is about to leave: ask another")]
    NotAlive,
    /// The database.
    #[error("it cannot be found out which node is responsible: {0}")]
    Store(#[from] store::StoreError),
}

impl CodedError for DirectoryError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        "cluster/ownership-unknown"
    }

    fn retry_after(&self) -> Option<u64> {
        Some(1)
    }
}

/// Who owns what.
pub trait OwnershipDirectory: Send + Sync + 'static {
    /// Takes `key` unless somebody who lives has it. `value` is noted if nobody had it before.
    fn claim<'a>(
        &'a self,
        key: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<ClaimOutcome, DirectoryError>>;

    /// Notes something else beside what is owned; false if it is not ours any more.
    fn note<'a>(
        &'a self,
        key: &'a str,
        epoch: u64,
        value: &'a str,
    ) -> BoxFuture<'a, Result<bool, DirectoryError>>;

    /// Who has `key`, alive or not.
    fn find<'a>(&'a self, key: &'a str)
    -> BoxFuture<'a, Result<Option<Ownership>, DirectoryError>>;

    /// The key beside which `value` is noted, and who has it.
    fn find_value<'a>(
        &'a self,
        value: &'a str,
    ) -> BoxFuture<'a, Result<Option<(String, Ownership)>, DirectoryError>>;

    /// Takes `key` from an owner who gives it up; the new epoch, or `None` if it is not that
    /// owner's any more.
    fn take<'a>(
        &'a self,
        key: &'a str,
        from: NodeId,
        epoch: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, DirectoryError>>;

    /// Gives `key` up.
    fn release<'a>(&'a self, key: &'a str, epoch: u64)
    -> BoxFuture<'a, Result<(), DirectoryError>>;

    /// Whether a node that nobody finds on the bus is dead: two proofs of different kinds.
    fn is_dead(&self, node: NodeId) -> BoxFuture<'_, Result<bool, DirectoryError>>;

    /// What a write of this owner must carry; `None` where nobody else could write.
    fn fence(&self, key: &str, epoch: u64) -> Option<FencingToken>;

    /// Whether this is ours.
    fn owns(&self, holding: &Ownership) -> bool;

    /// Whether what this node owns is surely still its own, without asking anybody.
    fn lease_is_valid(&self) -> bool;
}

/// The directory of a node that is alone.
pub struct LocalDirectory {
    me: NodeId,
    all: Mutex<HashMap<String, Ownership>>,
}

impl LocalDirectory {
    /// Nothing is owned yet.
    pub fn new(me: NodeId) -> Self {
        Self { me, all: Mutex::default() }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Ownership>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, key: &str, value: &str) -> ClaimOutcome {
        let mut all = self.all();
        if let Some(held) = all.get(key) {
            return ClaimOutcome::Held(held.clone());
        }
        let holding = Ownership { owner: self.me, epoch: 0, value: value.to_owned() };
        all.insert(key.to_owned(), holding);
        ClaimOutcome::Mine { epoch: 0, left: None }
    }
}

impl OwnershipDirectory for LocalDirectory {
    fn claim<'a>(
        &'a self,
        key: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<ClaimOutcome, DirectoryError>> {
        Box::pin(async move { Ok(self.take(key, value)) })
    }

    fn note<'a>(
        &'a self,
        key: &'a str,
        epoch: u64,
        value: &'a str,
    ) -> BoxFuture<'a, Result<bool, DirectoryError>> {
        Box::pin(async move {
            let mut all = self.all();
            let held = all.get_mut(key).filter(|held| held.epoch == epoch);
            Ok(held.map(|held| value.clone_into(&mut held.value)).is_some())
        })
    }

    fn find<'a>(
        &'a self,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Ownership>, DirectoryError>> {
        Box::pin(async move { Ok(self.all().get(key).cloned()) })
    }

    fn find_value<'a>(
        &'a self,
        value: &'a str,
    ) -> BoxFuture<'a, Result<Option<(String, Ownership)>, DirectoryError>> {
        Box::pin(async move {
            let all = self.all();
            let found = all.iter().find(|(_, holding)| holding.value == value);
            Ok(found.map(|(key, holding)| (key.clone(), holding.clone())))
        })
    }

    fn take<'a>(
        &'a self,
        _: &'a str,
        _: NodeId,
        _: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, DirectoryError>> {
        Box::pin(async { Ok(None) }) // there is nobody else
    }

    fn release<'a>(
        &'a self,
        key: &'a str,
        epoch: u64,
    ) -> BoxFuture<'a, Result<(), DirectoryError>> {
        Box::pin(async move {
            let mut all = self.all();
            if all.get(key).is_some_and(|held| held.epoch == epoch) {
                all.remove(key);
            }
            Ok(())
        })
    }

    fn is_dead(&self, node: NodeId) -> BoxFuture<'_, Result<bool, DirectoryError>> {
        Box::pin(async move { Ok(node != self.me) })
    }

    fn fence(&self, _: &str, _: u64) -> Option<FencingToken> {
        None
    }

    fn owns(&self, holding: &Ownership) -> bool {
        holding.owner == self.me
    }

    fn lease_is_valid(&self) -> bool {
        true
    }
}
