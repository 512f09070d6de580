//! Limits concurrent uploads in total and per user, so that slow senders cannot take all slots.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::ids::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::FileError;

/// A user gets at most this fraction (one n-th) of all slots.
const PER_USER_DIVISOR: usize = 8;

/// Counts concurrent uploads; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct IntakeLimiter {
    permits: Arc<Semaphore>,
    max_per_user: usize,
    per_user: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// Permission for one upload; released on drop.
#[derive(Debug)]
pub struct IntakePermit {
    user: UserId,
    limiter: IntakeLimiter,
    _permit: OwnedSemaphorePermit,
}

impl IntakeLimiter {
    pub(super) fn new(total: usize) -> Self {
        let max_per_user = (total / PER_USER_DIVISOR).max(1);
        Self { permits: Arc::new(Semaphore::new(total)), max_per_user, per_user: Arc::default() }
    }

    /// Takes a permit for `user`.
    ///
    /// # Errors
    /// [`FileError::Overloaded`] if the total limit or the user's limit is reached.
    pub(super) fn acquire(&self, user: UserId) -> Result<IntakePermit, FileError> {
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| FileError::Overloaded)?;
        let mut per_user = self.lock();
        let count = per_user.entry(user).or_default();
        if *count >= self.max_per_user {
            return Err(FileError::Overloaded);
        }
        *count += 1;
        Ok(IntakePermit { user, limiter: self.clone(), _permit: permit })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        // No code panics while holding the lock.
        self.per_user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for IntakePermit {
    fn drop(&mut self) {
        let mut per_user = self.limiter.lock();
        if let Some(count) = per_user.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                per_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_user_upload_concurrency_is_limited() {
        let limiter = IntakeLimiter::new(16);
        let (ann, bob) = (UserId::new(), UserId::new());
        let first = limiter.acquire(ann).unwrap();
        let _second = limiter.acquire(ann).unwrap();
        assert!(matches!(limiter.acquire(ann), Err(FileError::Overloaded)));
        let _other = limiter.acquire(bob).unwrap();
        drop(first);

        let _third = limiter.acquire(ann).unwrap();
        assert!(matches!(limiter.acquire(ann), Err(FileError::Overloaded)));
        assert_eq!(limiter.permits.available_permits(), 13);
    }

    #[test]
    fn rejected_intake_permit_leaves_no_user_entry() {
        let limiter = IntakeLimiter::new(1);
        let permit = limiter.acquire(UserId::new()).unwrap();
        assert!(matches!(limiter.acquire(UserId::new()), Err(FileError::Overloaded)));
        drop(permit);

        assert!(limiter.lock().is_empty());
        assert_eq!(limiter.permits.available_permits(), 1);
    }
}
