//! A nursery: children that come and go by name, spread over partitions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use actix::Actor;
use base::backoff::Backoff;
use tokio::sync::{mpsc, oneshot};

use super::actor_ref::Ref;
use super::cell::{Cell, Kind, locked};
use super::context::Ctx;
use super::exit::Exit;
use super::incarnation::ActorSeat;
use super::mailbox::{Mailbox, Owner};
use super::parent_link::{Command, Event, Seat};
use super::partition::Partition;
use super::policy::{Intensity, Policy, Restart, Strategy};
use super::spec::{self, MAILBOX, Plan, Spec, terms};
use super::supervisor_state::Family;
use super::supervisor_task::{KeeperSeat, Site};
use super::threads::Place;
use super::tree::CommandError;

/// A supervisor `name` of children of type `A` that come and go, in `partitions` parts (1 or
/// more) that work side by side.
pub fn dynamic_supervisor<A: Actor<Context = Ctx<A>>>(
    name: impl Into<String>,
    partitions: usize,
) -> NurserySpec<A> {
    let parts = (0..partitions.max(1)).map(|_| Part::new()).collect();
    NurserySpec {
        name: name.into(),
        policy: Policy::CHILD,
        place: Place::default(),
        capacity: MAILBOX,
        shared: Arc::new(Shared { parts, terms: OnceLock::new() }),
    }
}

/// The plan of a nursery; its terms are those of every child. One that fails too often ends, and
/// concerns no other.
#[must_use = "a nursery lives only below a supervisor"]
pub struct NurserySpec<A: Actor<Context = Ctx<A>>> {
    name: String,
    policy: Policy,
    place: Place,
    capacity: usize,
    shared: Arc<Shared<A>>,
}

impl<A: Actor<Context = Ctx<A>>> NurserySpec<A> {
    terms!();

    /// A mailbox refuses `tell` and `ask` beyond this many messages.
    pub const fn mailbox(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// For those who will start children; nothing can be started before the launch.
    pub fn handle(&self) -> Nursery<A> {
        Nursery(Arc::clone(&self.shared))
    }
}

impl<A: Actor<Context = Ctx<A>>> From<NurserySpec<A>> for Spec {
    fn from(spec: NurserySpec<A>) -> Self {
        Self(Box::new(spec))
    }
}

struct Shared<A: Actor> {
    parts: Vec<Part<A>>,
    terms: OnceLock<Terms>,
}

struct Part<A: Actor> {
    names: Mutex<HashMap<Box<str>, Ref<A>>>,
    keeper: OnceLock<(mpsc::UnboundedSender<Event>, String)>,
}

struct Terms {
    policy: Arc<Policy>,
    place: Place,
    capacity: usize,
    site: Site,
}

impl<A: Actor> Part<A> {
    fn new() -> Self {
        Self { names: Mutex::new(HashMap::new()), keeper: OnceLock::new() }
    }
}

/// Why a child was not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A child of this name is there.
    #[error("the name is taken")]
    Taken,
    /// A name is not empty and has no slash.
    #[error("this is no name")]
    BadName,
    /// No such pool of threads.
    #[error("there is no such place")]
    NoSuchPlace,
    /// The nursery is not running.
    #[error("the nursery is not running")]
    Closed,
    /// It failed, and for good.
    #[error("it failed to start: {0}")]
    Failed(Exit),
}

/// Starts and finds the children of a nursery.
pub struct Nursery<A: Actor<Context = Ctx<A>>>(Arc<Shared<A>>);

impl<A: Actor<Context = Ctx<A>>> Clone for Nursery<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Actor<Context = Ctx<A>>> Nursery<A> {
    /// Starts a child, which `factory` builds at every start; returns when it is up.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start<F>(&self, name: &str, factory: F) -> Result<Ref<A>, StartError>
    where
        F: Fn(&mut Ctx<A>) -> A + Send + Sync + 'static,
    {
        let place = self.0.terms.get().ok_or(StartError::Closed)?.place;
        self.start_on(place, name, factory).await
    }

    /// As [`Nursery::start`], at a place of its own.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_on<F>(
        &self,
        place: Place,
        name: &str,
        factory: F,
    ) -> Result<Ref<A>, StartError>
    where
        F: Fn(&mut Ctx<A>) -> A + Send + Sync + 'static,
    {
        let terms = self.0.terms.get().ok_or(StartError::Closed)?;
        if name.is_empty() || name.contains('/') {
            return Err(StartError::BadName);
        }
        if !terms.site.places.has(place) {
            return Err(StartError::NoSuchPlace);
        }
        let number = self.number(name);
        let part = &self.0.parts[number];
        let (keeper, path) = part.keeper.get().ok_or(StartError::Closed)?;
        let mailbox = Arc::new(Mailbox::new(terms.capacity));
        mailbox.cell.place(format!("{path}/{name}"), terms.policy.restart);
        let child = Ref(Arc::clone(&mailbox));
        match locked(&part.names).entry(name.into()) {
            std::collections::hash_map::Entry::Occupied(_) => return Err(StartError::Taken),
            std::collections::hash_map::Entry::Vacant(free) => free.insert(child.clone()),
        };
        let shared = Arc::downgrade(&self.0);
        let seat = ActorSeat {
            mailbox: Owner(mailbox),
            factory: Arc::new(factory),
            place,
            places: Arc::clone(&terms.site.places),
            clock: terms.site.clock.clone(),
            on_leave: Some(Box::new(move |mailbox| {
                if let Some(shared) = shared.upgrade() {
                    shared.parts[number].forget(mailbox);
                }
            })),
        };
        let (reply, up) = oneshot::channel();
        let policy = Arc::clone(&terms.policy);
        // If the keeper is gone the event is dropped, with it the seat, which frees the name.
        let _ = keeper.send(Event::Adopt { seat: Box::new(seat), policy, reply });
        match up.await {
            Ok(Ok(())) => Ok(child),
            Ok(Err(Exit::Shutdown)) | Err(_) => Err(StartError::Closed),
            Ok(Err(exit)) => Err(StartError::Failed(exit)),
        }
    }

    /// The child of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<Ref<A>> {
        locked(&self.0.parts[self.number(name)].names).get(name).cloned()
    }

    /// Stops and removes the child of this name; returns when it is down.
    ///
    /// # Errors
    /// [`CommandError::NotFound`] if there is none, [`CommandError::Closing`].
    pub async fn stop(&self, name: &str) -> Result<(), CommandError> {
        let terms = self.0.terms.get().ok_or(CommandError::NotFound)?;
        let child = self.get(name).ok_or(CommandError::NotFound)?;
        let line = terms.site.forest.line(child.path()).ok_or(CommandError::NotFound)?;
        let (reply, done) = oneshot::channel();
        line.command(Command::Stop, reply);
        done.await.unwrap_or(Err(CommandError::Closing))
    }

    /// How many children there are.
    pub fn len(&self) -> usize {
        self.0.parts.iter().map(|part| locked(&part.names).len()).sum()
    }

    /// Whether there is no child.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All children, in no order.
    pub fn refs(&self) -> Vec<Ref<A>> {
        let of = |part: &Part<A>| locked(&part.names).values().cloned().collect::<Vec<_>>();
        self.0.parts.iter().flat_map(of).collect()
    }

    fn number(&self, name: &str) -> usize {
        // FNV-1a: the same partition for the same name, whatever the build.
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, step);
        usize::try_from(hash % self.0.parts.len() as u64).unwrap_or(0)
    }
}

impl<A: Actor> Part<A> {
    /// Frees the name of `mailbox`, unless a younger namesake has it.
    fn forget(&self, mailbox: &Arc<Mailbox<A>>) {
        let name = mailbox.cell.path().rsplit('/').next().unwrap_or_default();
        let mut names = locked(&self.names);
        if names.get(name).is_some_and(|there| Arc::ptr_eq(&there.0, mailbox)) {
            names.remove(name);
        }
    }
}

impl<A: Actor<Context = Ctx<A>>> Plan for NurserySpec<A> {
    fn name(&self) -> &str {
        &self.name
    }

    fn policy(&self) -> Policy {
        // Children stop side by side, partitions one after the other.
        let part = self.part_policy();
        let parts = u32::try_from(self.shared.parts.len()).unwrap_or(u32::MAX);
        let shutdown = part.shutdown.saturating_add(part.grace).saturating_mul(parts);
        Policy { shutdown, grace: part.grace.saturating_add(Policy::CHILD.grace), ..Policy::CHILD }
    }

    fn places(&self) -> Vec<Place> {
        vec![self.place]
    }

    fn build(self: Box<Self>, site: &Site, path: String) -> Box<dyn Seat> {
        let (policy, part_policy) = (Arc::new(self.policy), self.part_policy());
        let terms =
            Terms { policy, place: self.place, capacity: self.capacity, site: site.clone() };
        let _ = self.shared.terms.set(terms); // a plan is built once
        let numbers = 0..self.shared.parts.len();
        let part = |number: usize| {
            let shared = Arc::clone(&self.shared);
            Spec(Box::new(PartSpec {
                name: number.to_string(),
                policy: part_policy,
                shared,
                number,
            }))
        };
        let parts: Vec<_> = numbers.map(part).collect();
        let policies = vec![part_policy; parts.len()];
        let intensity = Intensity { most: 10, window: Duration::from_secs(60) };
        let family = Family::new(Strategy::OneForOne, intensity, policies);
        Box::new(spec::build(site, path, family, parts))
    }
}

impl<A: Actor<Context = Ctx<A>>> NurserySpec<A> {
    fn part_policy(&self) -> Policy {
        let own = Policy::CHILD.grace;
        Policy {
            shutdown: self.policy.shutdown.saturating_add(self.policy.grace).saturating_add(own),
            grace: self.policy.grace.saturating_add(own),
            ..Policy::CHILD
        }
    }
}

struct PartSpec<A: Actor> {
    name: String,
    policy: Policy,
    shared: Arc<Shared<A>>,
    number: usize,
}

impl<A: Actor<Context = Ctx<A>>> Plan for PartSpec<A> {
    fn name(&self) -> &str {
        &self.name
    }

    fn policy(&self) -> Policy {
        self.policy
    }

    fn places(&self) -> Vec<Place> {
        vec![]
    }

    fn build(self: Box<Self>, site: &Site, path: String) -> Box<dyn Seat> {
        let cell = Arc::new(Cell::new(Kind::Partition));
        cell.place(path.clone(), Restart::Permanent);
        let here = site.clone();
        let seat = KeeperSeat::hire(site, cell, |to_self| {
            let _ = self.shared.parts[self.number].keeper.set((to_self.clone(), path)); // once
            Partition::new(here, to_self)
        });
        Box::new(seat)
    }
}
