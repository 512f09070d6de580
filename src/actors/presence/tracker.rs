//! The presence of users as published: pure. A user counts as offline only after a grace period,
//! and at most one update per user is published within the pause, so that an unstable connection
//! causes no noise.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use base::clock::Timestamp;
use base::ids::UserId;

/// All users who were published as online, or are about to be.
#[derive(Debug)]
pub(super) struct PresenceTracker {
    people: HashMap<UserId, PresenceEntry>,
    /// Users for whom an update may be due.
    pending: HashSet<UserId>,
    grace: Duration,
    pause: Duration,
}

#[derive(Debug, Default)]
struct PresenceEntry {
    /// Connected devices of the user, on all nodes.
    sockets: usize,
    /// When the last one disconnected.
    last_online_at: Option<Timestamp>,
    /// Whether the user was published as online, and when the last update was published.
    is_online: bool,
    published_at: Option<Timestamp>,
    /// The user changed their status.
    changed: bool,
}

/// An update to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PresenceUpdate {
    /// The user it concerns.
    pub(super) user: UserId,
    /// Whether the user is online.
    pub(super) is_online: bool,
    /// When the user was last online, if they are offline.
    pub(super) last_online_at: Option<Timestamp>,
}

impl PresenceTracker {
    /// Creates a tracker without users.
    pub(super) fn new(grace: Duration, pause: Duration) -> Self {
        Self { people: HashMap::new(), pending: HashSet::new(), grace, pause }
    }

    /// A device of the user connected.
    pub(super) fn connected(&mut self, user: UserId) {
        let entry = self.people.entry(user).or_default();
        entry.sockets += 1;
        entry.last_online_at = None;
        self.pending.insert(user);
    }

    /// A device of the user disconnected.
    pub(super) fn disconnected(&mut self, user: UserId, now: Timestamp) {
        let Some(entry) = self.people.get_mut(&user) else { return };
        entry.sockets = entry.sockets.saturating_sub(1);
        if entry.sockets == 0 {
            entry.last_online_at = Some(now);
            self.pending.insert(user);
        }
    }

    /// The user changed their status.
    pub(super) fn changed(&mut self, user: UserId) {
        self.people.entry(user).or_default().changed = true;
        self.pending.insert(user);
    }

    /// Whether the user was published as online.
    pub(super) fn is_online(&self, user: UserId) -> bool {
        self.people.get(&user).is_some_and(|entry| entry.is_online)
    }

    /// Takes the updates that are due now; they count as published.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<PresenceUpdate> {
        let (grace, pause, people) = (self.grace, self.pause, &mut self.people);
        let mut updates = Vec::new();
        self.pending.retain(|user| {
            let Some(entry) = people.get_mut(user) else { return false };
            let in_grace = entry
                .last_online_at
                .is_some_and(|last_online_at| now.since(last_online_at) < grace);
            let is_online = entry.sockets > 0 || (entry.is_online && in_grace);
            let in_pause =
                entry.published_at.is_some_and(|published_at| now.since(published_at) < pause);
            if (is_online != entry.is_online || entry.changed) && !in_pause {
                let last_online_at = if is_online { None } else { entry.last_online_at };
                updates.push(PresenceUpdate { user: *user, is_online, last_online_at });
                (entry.is_online, entry.published_at, entry.changed) =
                    (is_online, Some(now), false);
                return true; // checked again when the pause is over
            }
            let is_published = entry.is_online == is_online && !entry.changed && !in_pause;
            if is_published && !is_online {
                people.remove(user);
            }
            !is_published || (is_online && may_go_offline(people, user))
        });
        updates
    }

    /// Publishing failed: the updates are due again.
    pub(super) fn mark_unpublished(&mut self, updates: &[PresenceUpdate]) {
        for update in updates {
            let entry = self.people.entry(update.user).or_default();
            (entry.changed, entry.published_at) = (true, None);
            self.pending.insert(update.user);
        }
    }

    /// Whether any update may become due.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// Whether a user who is published as online may become offline soon.
fn may_go_offline(people: &HashMap<UserId, PresenceEntry>, user: &UserId) -> bool {
    people.get(user).is_some_and(|entry| entry.sockets == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRACE: Duration = Duration::from_secs(20);
    const PAUSE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(0) + Duration::from_secs(seconds)
    }

    fn published(tracker: &mut PresenceTracker, seconds: u64) -> Vec<bool> {
        tracker.take_due(at(seconds)).into_iter().map(|update| update.is_online).collect()
    }

    #[test]
    fn online_is_published_at_once_and_offline_after_delay() {
        let (mut tracker, bob) = (PresenceTracker::new(GRACE, PAUSE), UserId::new());
        tracker.connected(bob);
        assert_eq!(published(&mut tracker, 0), [true]);
        tracker.connected(bob);
        tracker.disconnected(bob, at(100));
        assert!(published(&mut tracker, 130).is_empty(), "another device is connected");
        tracker.disconnected(bob, at(200));
        assert!(published(&mut tracker, 219).is_empty());
        assert!(tracker.is_online(bob));
        let updates = tracker.take_due(at(220));
        assert_eq!(
            updates,
            [PresenceUpdate { user: bob, is_online: false, last_online_at: Some(at(200)) }]
        );
        assert!(published(&mut tracker, 231).is_empty());
        assert!(tracker.people.is_empty() && !tracker.is_waiting());
    }

    #[test]
    fn flapping_device_is_published_once() {
        let (mut tracker, bob) = (PresenceTracker::new(GRACE, PAUSE), UserId::new());
        let mut updates = 0;
        for second in 0..600 {
            tracker.connected(bob);
            updates += published(&mut tracker, second).len();
            tracker.disconnected(bob, at(second));
            updates += published(&mut tracker, second).len();
        }
        assert_eq!(updates, 1);
    }

    #[test]
    fn failed_presence_update_is_retried() {
        let (mut tracker, bob) = (PresenceTracker::new(GRACE, PAUSE), UserId::new());
        tracker.connected(bob);
        let updates = tracker.take_due(at(0));
        tracker.mark_unpublished(&updates);
        assert_eq!(published(&mut tracker, 1), [true]);
    }

    proptest! {
        /// Whatever happens: never two updates within a pause, and the last one states the truth.
        #[test]
        fn presence_updates_are_coalesced_to_latest(
            steps in prop::collection::vec((0u8..3, 0u64..15), 0..80),
        ) {
            let (mut tracker, bob) = (PresenceTracker::new(GRACE, PAUSE), UserId::new());
            let (mut now, mut sockets, mut last_publish, mut seen_online) = (0, 0, None::<u64>, false);
            let mut publish = |tracker: &mut PresenceTracker, now| {
                for update in tracker.take_due(at(now)) {
                    assert!(last_publish.is_none_or(|last_publish| now - last_publish >= PAUSE.as_secs()));
                    last_publish = Some(now);
                    seen_online = update.is_online;
                }
                seen_online
            };
            for (what, wait) in steps {
                now += wait;
                match what {
                    0 => { tracker.connected(bob); sockets += 1 }
                    1 if sockets > 0 => { tracker.disconnected(bob, at(now)); sockets -= 1 }
                    1 => {}
                    _ => tracker.changed(bob),
                }
                publish(&mut tracker, now);
            }
            for _ in 0..60 {
                now += 1;
                publish(&mut tracker, now);
            }
            prop_assert_eq!(publish(&mut tracker, now), sockets > 0);
            prop_assert!(!tracker.is_waiting());
            prop_assert_eq!(tracker.people.len(), usize::from(sockets > 0));
        }
    }
}
