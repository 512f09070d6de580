//! Who is here as others are told of it: pure. A person who goes is missed only after a grace, and
//! of one person nothing is told more often than once in a pause, so that a flapping phone is quiet.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use base::clock::Timestamp;
use base::ids::UserId;

/// Everybody of whom others were told that they are here, or soon will be.
#[derive(Debug)]
pub(super) struct PresenceTracker {
    people: HashMap<UserId, PresenceEntry>,
    /// Those of whom something is perhaps to be told.
    pending: HashSet<UserId>,
    grace: Duration,
    pause: Duration,
}

#[derive(Debug, Default)]
struct PresenceEntry {
    /// Sockets of their devices, on whichever node.
    sockets: usize,
    /// When the last one went.
    gone: Option<Timestamp>,
    /// Whether others were told that they are here, and when something was told.
    here: bool,
    told: Option<Timestamp>,
    /// What they say of themselves changed.
    changed: bool,
}

/// Something to be told of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PresenceUpdate {
    /// Who.
    pub(super) user: UserId,
    /// Whether they are here.
    pub(super) here: bool,
    /// When they were here last, if they went.
    pub(super) gone: Option<Timestamp>,
}

impl PresenceTracker {
    /// Nobody is here.
    pub(super) fn new(grace: Duration, pause: Duration) -> Self {
        Self { people: HashMap::new(), pending: HashSet::new(), grace, pause }
    }

    /// A device of the person came.
    pub(super) fn connected(&mut self, user: UserId) {
        let person = self.people.entry(user).or_default();
        person.sockets += 1;
        person.gone = None;
        self.pending.insert(user);
    }

    /// A device of the person went.
    pub(super) fn disconnected(&mut self, user: UserId, now: Timestamp) {
        let Some(person) = self.people.get_mut(&user) else { return };
        person.sockets = person.sockets.saturating_sub(1);
        if person.sockets == 0 {
            person.gone = Some(now);
            self.pending.insert(user);
        }
    }

    /// The person says something else of themselves.
    pub(super) fn changed(&mut self, user: UserId) {
        self.people.entry(user).or_default().changed = true;
        self.pending.insert(user);
    }

    /// Whether others were told that the person is here.
    pub(super) fn is_here(&self, user: UserId) -> bool {
        self.people.get(&user).is_some_and(|person| person.here)
    }

    /// What is to be told now; it counts as told.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<PresenceUpdate> {
        let (grace, pause, people) = (self.grace, self.pause, &mut self.people);
        let mut news = Vec::new();
        self.pending.retain(|user| {
            let Some(person) = people.get_mut(user) else { return false };
            let in_grace = person.gone.is_some_and(|gone| now.since(gone) < grace);
            let here = person.sockets > 0 || (person.here && in_grace);
            let quiet = person.told.is_some_and(|told| now.since(told) < pause);
            if (here != person.here || person.changed) && !quiet {
                let gone = if here { None } else { person.gone };
                news.push(PresenceUpdate { user: *user, here, gone });
                (person.here, person.told, person.changed) = (here, Some(now), false);
                return true; // looked at once more when the pause is over
            }
            let told = person.here == here && !person.changed && !quiet;
            if told && !here {
                people.remove(user);
            }
            !told || (here && person_waits(people, user))
        });
        news
    }

    /// It could not be told: it is to be told again.
    pub(super) fn again(&mut self, news: &[PresenceUpdate]) {
        for news in news {
            let person = self.people.entry(news.user).or_default();
            (person.changed, person.told) = (true, None);
            self.pending.insert(news.user);
        }
    }

    /// Whether anything may have to be told later.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// Whether somebody who is seen as here may be missed soon.
fn person_waits(people: &HashMap<UserId, PresenceEntry>, user: &UserId) -> bool {
    people.get(user).is_some_and(|person| person.sockets == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRACE: Duration = Duration::from_secs(20);
    const PAUSE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(0) + Duration::from_secs(seconds)
    }

    fn told(all: &mut PresenceTracker, seconds: u64) -> Vec<bool> {
        all.due(at(seconds)).into_iter().map(|news| news.here).collect()
    }

    #[test]
    fn online_is_published_at_once_and_offline_after_delay() {
        let (mut all, bob) = (PresenceTracker::new(GRACE, PAUSE), UserId::new());
        all.connected(bob);
        assert_eq!(told(&mut all, 0), [true]);
        all.connected(bob);
        all.disconnected(bob, at(100));
        assert!(told(&mut all, 130).is_empty(), "another device is here");
        all.disconnected(bob, at(200));
        assert!(told(&mut all, 219).is_empty());
        assert!(all.is_here(bob));
        let news = all.due(at(220));
        assert_eq!(news, [PresenceUpdate { user: bob, here: false, gone: Some(at(200)) }]);
        assert!(told(&mut all, 231).is_empty());
        assert!(all.people.is_empty() && !all.is_waiting());
    }

    #[test]
    fn flapping_device_is_published_once() {
        let (mut all, bob) = (PresenceTracker::new(GRACE, PAUSE), UserId::new());
        let mut heard = 0;
        for second in 0..600 {
            all.connected(bob);
            heard += told(&mut all, second).len();
            all.disconnected(bob, at(second));
            heard += told(&mut all, second).len();
        }
        assert_eq!(heard, 1);
    }

    #[test]
    fn failed_presence_update_is_retried() {
        let (mut all, bob) = (PresenceTracker::new(GRACE, PAUSE), UserId::new());
        all.connected(bob);
        let news = all.due(at(0));
        all.again(&news);
        assert_eq!(told(&mut all, 1), [true]);
    }

    proptest! {
        /// Whatever comes and goes: never two in a pause, and in the end what is true.
        #[test]
        fn presence_updates_are_coalesced_to_latest(
            steps in prop::collection::vec((0u8..3, 0u64..15), 0..80),
        ) {
            let (mut all, bob) = (PresenceTracker::new(GRACE, PAUSE), UserId::new());
            let (mut now, mut sockets, mut last, mut seen) = (0, 0, None::<u64>, false);
            let mut look = |all: &mut PresenceTracker, now| {
                for news in all.due(at(now)) {
                    assert!(last.is_none_or(|last| now - last >= PAUSE.as_secs()));
                    last = Some(now);
                    seen = news.here;
                }
                seen
            };
            for (what, wait) in steps {
                now += wait;
                match what {
                    0 => { all.connected(bob); sockets += 1 }
                    1 if sockets > 0 => { all.disconnected(bob, at(now)); sockets -= 1 }
                    1 => {}
                    _ => all.changed(bob),
                }
                look(&mut all, now);
            }
            for _ in 0..60 {
                now += 1;
                look(&mut all, now);
            }
            prop_assert_eq!(look(&mut all, now), sockets > 0);
            prop_assert!(!all.is_waiting());
            prop_assert_eq!(all.people.len(), usize::from(sockets > 0));
        }
    }
}
