//! How much of the relays one user may have, and all together.

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
    /// Allocations of one user.
    pub(super) user_allocations: usize,
    /// Allocations in all.
    pub(super) allocations: usize,
    /// Bits per second that are relayed for one user, both directions together; 0: any number.
    pub(super) user_bps: u64,
}

/// Who has what.
pub(super) struct AllocationQuotas {
    limits: TurnLimits,
    all: Cell<usize>,
    users: RefCell<HashMap<UserId, Rc<UserTokenBucket>>>,
}

impl AllocationQuotas {
    pub(super) fn new(limits: TurnLimits) -> Rc<Self> {
        Rc::new(Self { limits, all: Cell::new(0), users: RefCell::default() })
    }

    /// One more allocation of this user; `None` if that would be too many.
    pub(super) fn take(self: &Rc<Self>, user: UserId, now: Instant) -> Option<AllocationPermit> {
        let mut users = self.users.borrow_mut();
        let has = users.get(&user).map_or(0, |account| account.allocations.get());
        if has >= self.limits.user_allocations || self.all.get() >= self.limits.allocations {
            return None;
        }
        let account = users.entry(user).or_insert_with(|| UserTokenBucket::new(self.limits, now));
        account.allocations.set(has + 1);
        self.all.set(self.all.get() + 1);
        gauge!(TURN_ALLOCATIONS).increment(1.0);
        counter!(TURN_CREATED).increment(1);
        Some(AllocationPermit { quotas: Rc::clone(self), user, account: Rc::clone(account) })
    }
}

/// The right to one allocation; given back when it is dropped.
pub(super) struct AllocationPermit {
    quotas: Rc<AllocationQuotas>,
    user: UserId,
    account: Rc<UserTokenBucket>,
}

impl AllocationPermit {
    /// Whether a packet of so many bytes may be relayed now.
    pub(super) fn spend(&self, bytes: usize, now: Instant) -> bool {
        self.account.spend(bytes, now)
    }
}

impl Drop for AllocationPermit {
    fn drop(&mut self) {
        let left = self.account.allocations.get().saturating_sub(1);
        self.account.allocations.set(left);
        if left == 0 {
            self.quotas.users.borrow_mut().remove(&self.user);
        }
        self.quotas.all.set(self.quotas.all.get().saturating_sub(1));
        gauge!(TURN_ALLOCATIONS).decrement(1.0);
    }
}

/// One user's share: a token bucket that holds one second.
struct UserTokenBucket {
    allocations: Cell<usize>,
    /// Bytes per second; `None`: no limit.
    rate: Option<f64>,
    left: Cell<f64>,
    filled: Cell<Instant>,
}

impl UserTokenBucket {
    fn new(limits: TurnLimits, now: Instant) -> Rc<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
        let rate = (limits.user_bps > 0).then_some(limits.user_bps as f64 / 8.0);
        Rc::new(Self {
            allocations: Cell::new(0),
            rate,
            left: Cell::new(rate.unwrap_or_default()),
            filled: Cell::new(now),
        })
    }

    fn spend(&self, bytes: usize, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let passed = now.saturating_duration_since(self.filled.replace(now)).as_secs_f64();
        let left = passed.mul_add(rate, self.left.get()).min(rate);
        #[expect(clippy::cast_precision_loss, reason = "a packet is far smaller than 2^53")]
        let rest = left - bytes as f64;
        self.left.set(if rest < 0.0 { left } else { rest });
        rest >= 0.0
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
        let first = quotas.take(alice, now);
        let _second = quotas.take(alice, now).unwrap();
        assert!(quotas.take(alice, now).is_none());
        assert!(quotas.take(bob, now).is_some(), "others have their own");

        drop(first);

        assert!(quotas.take(alice, now).is_some());
    }

    #[test]
    fn total_allocation_quota_is_enforced_and_released() {
        let (quotas, now) = (quotas(5, 2, 0), now());
        let mut taken: Vec<_> = (0..2).map(|_| quotas.take(UserId::new(), now)).collect();
        assert!(taken.iter().all(Option::is_some));
        assert!(quotas.take(UserId::new(), now).is_none());

        taken.clear();

        assert!(quotas.take(UserId::new(), now).is_some());
        assert!(quotas.users.borrow().is_empty());
    }

    #[test]
    fn relay_bandwidth_limit_is_shared_by_all_allocations_of_user() {
        let (quotas, alice, start) = (quotas(2, 2, 8000), UserId::new(), now());
        let [a, b] = [(); 2].map(|()| quotas.take(alice, start).unwrap());
        assert!(a.spend(600, start) && !b.spend(600, start) && b.spend(400, start));

        let later = start + Duration::from_millis(500);

        assert!(a.spend(500, later) && !a.spend(1, later));
    }
}
