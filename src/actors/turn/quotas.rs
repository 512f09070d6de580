//! Allocation and bandwidth limits, per user and in total.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use base::ids::UserId;
use metrics::{counter, gauge};

use crate::telemetry::metrics::{TURN_ALLOCATIONS, TURN_CREATED};

/// The limits, from `[turn]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnLimits {
    /// Maximum of allocations per user.
    pub(super) user_allocations: usize,
    /// Maximum of allocations in total.
    pub(super) allocations: usize,
    /// Bits per second relayed for one user, both directions together; 0 means no limit.
    pub(super) user_bps: u64,
}

/// Counts allocations in total and per user.
pub(super) struct AllocationQuotas {
    limits: TurnLimits,
    all: Cell<usize>,
    users: RefCell<HashMap<UserId, Rc<UserTokenBucket>>>,
}

impl AllocationQuotas {
    pub(super) fn new(limits: TurnLimits) -> Rc<Self> {
        Rc::new(Self { limits, all: Cell::new(0), users: RefCell::default() })
    }

    /// Takes a permit for one more allocation of this user; `None` if a limit is reached.
    pub(super) fn acquire(self: &Rc<Self>, user: UserId, now: Instant) -> Option<AllocationPermit> {
        let mut users = self.users.borrow_mut();
        let user_allocations = users.get(&user).map_or(0, |bucket| bucket.allocations.get());
        if user_allocations >= self.limits.user_allocations
            || self.all.get() >= self.limits.allocations
        {
            return None;
        }
        let bucket = users.entry(user).or_insert_with(|| UserTokenBucket::new(self.limits, now));
        bucket.allocations.set(user_allocations + 1);
        self.all.set(self.all.get() + 1);
        gauge!(TURN_ALLOCATIONS).increment(1.0);
        counter!(TURN_CREATED).increment(1);
        Some(AllocationPermit { quotas: Rc::clone(self), user, bucket: Rc::clone(bucket) })
    }
}

/// The permit of one allocation, released when it is dropped.
pub(super) struct AllocationPermit {
    quotas: Rc<AllocationQuotas>,
    user: UserId,
    bucket: Rc<UserTokenBucket>,
}

impl AllocationPermit {
    /// Whether a packet of this many bytes may be relayed now.
    pub(super) fn try_consume(&self, bytes: usize, now: Instant) -> bool {
        self.bucket.try_consume(bytes, now)
    }
}

impl Drop for AllocationPermit {
    fn drop(&mut self) {
        let remaining = self.bucket.allocations.get().saturating_sub(1);
        self.bucket.allocations.set(remaining);
        if remaining == 0 {
            self.quotas.users.borrow_mut().remove(&self.user);
        }
        self.quotas.all.set(self.quotas.all.get().saturating_sub(1));
        gauge!(TURN_ALLOCATIONS).decrement(1.0);
    }
}

/// The state of one user, with a token bucket that holds one second's worth of bytes.
struct UserTokenBucket {
    allocations: Cell<usize>,
    /// Bytes per second; `None` means no limit.
    rate: Option<f64>,
    tokens: Cell<f64>,
    refilled_at: Cell<Instant>,
}

impl UserTokenBucket {
    fn new(limits: TurnLimits, now: Instant) -> Rc<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
        let rate = (limits.user_bps > 0).then_some(limits.user_bps as f64 / 8.0);
        Rc::new(Self {
            allocations: Cell::new(0),
            rate,
            tokens: Cell::new(rate.unwrap_or_default()),
            refilled_at: Cell::new(now),
        })
    }

    fn try_consume(&self, bytes: usize, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let elapsed = now.saturating_duration_since(self.refilled_at.replace(now)).as_secs_f64();
        let available = elapsed.mul_add(rate, self.tokens.get()).min(rate);
        #[expect(clippy::cast_precision_loss, reason = "a packet is far smaller than 2^53")]
        let remaining = available - bytes as f64;
        self.tokens.set(if remaining < 0.0 { available } else { remaining });
        remaining >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quotas(user_allocations: usize, allocations: usize, user_bps: u64) -> Rc<AllocationQuotas> {
        AllocationQuotas::new(TurnLimits { user_allocations, allocations, user_bps })
    }

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn per_user_allocation_quota_is_enforced() {
        let (quotas, alice, bob, now) = (quotas(2, 10, 0), UserId::new(), UserId::new(), now());
        let first = quotas.acquire(alice, now);
        let _second = quotas.acquire(alice, now).unwrap();
        assert!(quotas.acquire(alice, now).is_none());
        assert!(quotas.acquire(bob, now).is_some(), "another user has a quota of their own");

        drop(first);

        assert!(quotas.acquire(alice, now).is_some());
    }

    #[test]
    fn total_allocation_quota_is_enforced_and_released() {
        let (quotas, now) = (quotas(5, 2, 0), now());
        let mut permits: Vec<_> = (0..2).map(|_| quotas.acquire(UserId::new(), now)).collect();
        assert!(permits.iter().all(Option::is_some));
        assert!(quotas.acquire(UserId::new(), now).is_none());

        permits.clear();

        assert!(quotas.acquire(UserId::new(), now).is_some());
        assert!(quotas.users.borrow().is_empty());
    }

    #[test]
    fn relay_bandwidth_limit_is_shared_by_all_allocations_of_user() {
        let (quotas, alice, start) = (quotas(2, 2, 8000), UserId::new(), now());
        let [a, b] = [(); 2].map(|()| quotas.acquire(alice, start).unwrap());
        assert!(
            a.try_consume(600, start) && !b.try_consume(600, start) && b.try_consume(400, start)
        );

        let later = start + Duration::from_millis(500);

        assert!(a.try_consume(500, later) && !a.try_consume(1, later));
    }
}
