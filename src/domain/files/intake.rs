//! Places of those who send files at the same time: bounded in all, and for each person, so that
//! one who sends slowly takes nobody else's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::ids::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::FileError;

/// One person has at most this part of all places.
const PER_USER_DIVISOR: usize = 8;

/// All places; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct IntakeLimiter {
    all: Arc<Semaphore>,
    each: usize,
    taken: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub struct IntakePermit {
    who: UserId,
    places: IntakeLimiter,
    _permit: OwnedSemaphorePermit,
}

impl IntakeLimiter {
    pub(super) fn new(all: usize) -> Self {
        let each = (all / PER_USER_DIVISOR).max(1);
        Self { all: Arc::new(Semaphore::new(all)), each, taken: Arc::default() }
    }

    /// # Errors
    /// [`FileError::Busy`] if all places are taken, or all that one person may take.
    pub(super) fn take(&self, who: UserId) -> Result<IntakePermit, FileError> {
        let permit = self.all.clone().try_acquire_owned().map_err(|_| FileError::Busy)?;
        let mut taken = self.taken();
        let theirs = taken.entry(who).or_default();
        if *theirs >= self.each {
            return Err(FileError::Busy);
        }
        *theirs += 1;
        Ok(IntakePermit { who, places: self.clone(), _permit: permit })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        // Nothing that is done under the lock can panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for IntakePermit {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(theirs) = taken.get_mut(&self.who) {
            *theirs -= 1;
            if *theirs == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_user_upload_concurrency_is_limited() {
        let places = IntakeLimiter::new(16);
        let (ann, bob) = (UserId::new(), UserId::new());
        let first = places.take(ann).unwrap();
        let _second = places.take(ann).unwrap();
        assert!(matches!(places.take(ann), Err(FileError::Busy)));
        let _other = places.take(bob).unwrap();
        drop(first);

        let _third = places.take(ann).unwrap();
        assert!(matches!(places.take(ann), Err(FileError::Busy)));
        assert_eq!(places.all.available_permits(), 13);
    }

    #[test]
    fn rejected_intake_permit_leaves_no_user_entry() {
        let places = IntakeLimiter::new(1);
        let place = places.take(UserId::new()).unwrap();
        assert!(matches!(places.take(UserId::new()), Err(FileError::Busy)));
        drop(place);

        assert!(places.taken().is_empty());
        assert_eq!(places.all.available_permits(), 1);
    }
}
