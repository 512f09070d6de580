//! A nursery: children that come and go by name, spread over partitions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use actix::Actor;
use base::backoff::Backoff;
use tokio::sync::{mpsc, oneshot};

use super::actor_ref::ActorRef;
use super::cell::{ActorStats, TreeNodeKind, locked};
use super::context::SupervisedContext;
use super::exit::ExitReason;
use super::incarnation::ActorChild;
use super::mailbox::{Mailbox, MailboxOwner};
use super::parent_link::{ChildHandle, OperatorCommand, SupervisorEvent};
use super::partition::PartitionSupervisor;
use super::policy::{Intensity, Restart, RestartPolicy, Strategy};
use super::spec::{self, BuildChild, ChildSpec, DEFAULT_MAILBOX_CAPACITY, terms};
use super::supervisor_state::SupervisorState;
use super::supervisor_task::{SupervisorChild, TreeContext};
use super::threads::ThreadAffinity;
use super::tree::CommandError;

/// A supervisor `name` of children of type `A` that come and go, in `partitions` parts (1 or
/// more) that work side by side.
pub fn dynamic_supervisor<A: Actor<Context = SupervisedContext<A>>>(
    name: impl Into<String>,
    partitions: usize,
) -> DynamicSupervisorSpec<A> {
    let parts = (0..partitions.max(1)).map(|_| NurseryPartition::new()).collect();
    DynamicSupervisorSpec {
        name: name.into(),
        policy: RestartPolicy::CHILD,
        place: ThreadAffinity::default(),
        capacity: DEFAULT_MAILBOX_CAPACITY,
        shared: Arc::new(DynamicSupervisorInner { parts, terms: OnceLock::new() }),
    }
}

/// The plan of a nursery; its terms are those of every child. One that fails too often ends, and
/// concerns no other.
#[must_use = "a nursery lives only below a supervisor"]
pub struct DynamicSupervisorSpec<A: Actor<Context = SupervisedContext<A>>> {
    name: String,
    policy: RestartPolicy,
    place: ThreadAffinity,
    capacity: usize,
    shared: Arc<DynamicSupervisorInner<A>>,
}

impl<A: Actor<Context = SupervisedContext<A>>> DynamicSupervisorSpec<A> {
    terms!();

    /// A mailbox refuses `tell` and `ask` beyond this many messages.
    pub const fn mailbox(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// For those who will start children; nothing can be started before the launch.
    pub fn handle(&self) -> DynamicSupervisor<A> {
        DynamicSupervisor(Arc::clone(&self.shared))
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> From<DynamicSupervisorSpec<A>> for ChildSpec {
    fn from(spec: DynamicSupervisorSpec<A>) -> Self {
        Self(Box::new(spec))
    }
}

struct DynamicSupervisorInner<A: Actor> {
    parts: Vec<NurseryPartition<A>>,
    terms: OnceLock<ChildDefaults>,
}

struct NurseryPartition<A: Actor> {
    names: Mutex<HashMap<Box<str>, ActorRef<A>>>,
    keeper: OnceLock<(mpsc::UnboundedSender<SupervisorEvent>, String)>,
}

struct ChildDefaults {
    policy: Arc<RestartPolicy>,
    place: ThreadAffinity,
    capacity: usize,
    site: TreeContext,
}

impl<A: Actor> NurseryPartition<A> {
    fn new() -> Self {
        Self { names: Mutex::new(HashMap::new()), keeper: OnceLock::new() }
    }
}

/// Why a child was not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartChildError {
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
    Failed(ExitReason),
}

/// Starts and finds the children of a nursery.
pub struct DynamicSupervisor<A: Actor<Context = SupervisedContext<A>>>(
    Arc<DynamicSupervisorInner<A>>,
);

impl<A: Actor<Context = SupervisedContext<A>>> Clone for DynamicSupervisor<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> DynamicSupervisor<A> {
    /// Starts a child, which `factory` builds at every start; returns when it is up.
    ///
    /// # Errors
    /// [`StartChildError`].
    pub async fn start<F>(&self, name: &str, factory: F) -> Result<ActorRef<A>, StartChildError>
    where
        F: Fn(&mut SupervisedContext<A>) -> A + Send + Sync + 'static,
    {
        let place = self.0.terms.get().ok_or(StartChildError::Closed)?.place;
        self.start_on(place, name, factory).await
    }

    /// As [`DynamicSupervisor::start`], at a place of its own.
    ///
    /// # Errors
    /// [`StartChildError`].
    pub async fn start_on<F>(
        &self,
        place: ThreadAffinity,
        name: &str,
        factory: F,
    ) -> Result<ActorRef<A>, StartChildError>
    where
        F: Fn(&mut SupervisedContext<A>) -> A + Send + Sync + 'static,
    {
        let terms = self.0.terms.get().ok_or(StartChildError::Closed)?;
        if name.is_empty() || name.contains('/') {
            return Err(StartChildError::BadName);
        }
        if !terms.site.places.has(place) {
            return Err(StartChildError::NoSuchPlace);
        }
        let number = self.number(name);
        let part = &self.0.parts[number];
        let (keeper, path) = part.keeper.get().ok_or(StartChildError::Closed)?;
        let mailbox = Arc::new(Mailbox::new(terms.capacity));
        mailbox.cell.place(format!("{path}/{name}"), terms.policy.restart);
        let child = ActorRef(Arc::clone(&mailbox));
        match locked(&part.names).entry(name.into()) {
            std::collections::hash_map::Entry::Occupied(_) => return Err(StartChildError::Taken),
            std::collections::hash_map::Entry::Vacant(free) => free.insert(child.clone()),
        };
        let shared = Arc::downgrade(&self.0);
        let seat = ActorChild {
            mailbox: MailboxOwner(mailbox),
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
        let _ = keeper.send(SupervisorEvent::Adopt { seat: Box::new(seat), policy, reply });
        match up.await {
            Ok(Ok(())) => Ok(child),
            Ok(Err(ExitReason::Shutdown)) | Err(_) => Err(StartChildError::Closed),
            Ok(Err(exit)) => Err(StartChildError::Failed(exit)),
        }
    }

    /// The child of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<ActorRef<A>> {
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
        line.command(OperatorCommand::Stop, reply);
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
    pub fn refs(&self) -> Vec<ActorRef<A>> {
        let of =
            |part: &NurseryPartition<A>| locked(&part.names).values().cloned().collect::<Vec<_>>();
        self.0.parts.iter().flat_map(of).collect()
    }

    fn number(&self, name: &str) -> usize {
        // FNV-1a: the same partition for the same name, whatever the build.
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, step);
        usize::try_from(hash % self.0.parts.len() as u64).unwrap_or(0)
    }
}

impl<A: Actor> NurseryPartition<A> {
    /// Frees the name of `mailbox`, unless a younger namesake has it.
    fn forget(&self, mailbox: &Arc<Mailbox<A>>) {
        let name = mailbox.cell.path().rsplit('/').next().unwrap_or_default();
        let mut names = locked(&self.names);
        if names.get(name).is_some_and(|there| Arc::ptr_eq(&there.0, mailbox)) {
            names.remove(name);
        }
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> BuildChild for DynamicSupervisorSpec<A> {
    fn name(&self) -> &str {
        &self.name
    }

    fn policy(&self) -> RestartPolicy {
        // Children stop side by side, partitions one after the other.
        let part = self.part_policy();
        let parts = u32::try_from(self.shared.parts.len()).unwrap_or(u32::MAX);
        let shutdown = part.shutdown.saturating_add(part.grace).saturating_mul(parts);
        RestartPolicy {
            shutdown,
            grace: part.grace.saturating_add(RestartPolicy::CHILD.grace),
            ..RestartPolicy::CHILD
        }
    }

    fn places(&self) -> Vec<ThreadAffinity> {
        vec![self.place]
    }

    fn build(self: Box<Self>, site: &TreeContext, path: String) -> Box<dyn ChildHandle> {
        let (policy, part_policy) = (Arc::new(self.policy), self.part_policy());
        let terms = ChildDefaults {
            policy,
            place: self.place,
            capacity: self.capacity,
            site: site.clone(),
        };
        let _ = self.shared.terms.set(terms); // a plan is built once
        let numbers = 0..self.shared.parts.len();
        let part = |number: usize| {
            let shared = Arc::clone(&self.shared);
            ChildSpec(Box::new(PartitionSpec {
                name: number.to_string(),
                policy: part_policy,
                shared,
                number,
            }))
        };
        let parts: Vec<_> = numbers.map(part).collect();
        let policies = vec![part_policy; parts.len()];
        let intensity = Intensity { most: 10, window: Duration::from_secs(60) };
        let family = SupervisorState::new(Strategy::OneForOne, intensity, policies);
        Box::new(spec::build(site, path, family, parts))
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> DynamicSupervisorSpec<A> {
    fn part_policy(&self) -> RestartPolicy {
        let own = RestartPolicy::CHILD.grace;
        RestartPolicy {
            shutdown: self.policy.shutdown.saturating_add(self.policy.grace).saturating_add(own),
            grace: self.policy.grace.saturating_add(own),
            ..RestartPolicy::CHILD
        }
    }
}

struct PartitionSpec<A: Actor> {
    name: String,
    policy: RestartPolicy,
    shared: Arc<DynamicSupervisorInner<A>>,
    number: usize,
}

impl<A: Actor<Context = SupervisedContext<A>>> BuildChild for PartitionSpec<A> {
    fn name(&self) -> &str {
        &self.name
    }

    fn policy(&self) -> RestartPolicy {
        self.policy
    }

    fn places(&self) -> Vec<ThreadAffinity> {
        vec![]
    }

    fn build(self: Box<Self>, site: &TreeContext, path: String) -> Box<dyn ChildHandle> {
        let cell = Arc::new(ActorStats::new(TreeNodeKind::Partition));
        cell.place(path.clone(), Restart::Permanent);
        let here = site.clone();
        let seat = SupervisorChild::spawn_supervisor(site, cell, |to_self| {
            let _ = self.shared.parts[self.number].keeper.set((to_self.clone(), path)); // once
            PartitionSupervisor::new(here, to_self)
        });
        Box::new(seat)
    }
}
