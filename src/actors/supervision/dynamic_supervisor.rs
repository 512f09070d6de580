//! A dynamic supervisor: children that are added and removed by name at run time, spread over
//! partitions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use actix::Actor;
use base::backoff::Backoff;
use tokio::sync::{mpsc, oneshot};

use super::actor_ref::ActorRef;
use super::actor_stats::{ActorStats, TreeNodeKind, locked};
use super::command::{CommandError, OperatorCommand};
use super::context::SupervisedContext;
use super::exit::ExitReason;
use super::incarnation::ActorChild;
use super::mailbox::{Mailbox, MailboxOwner};
use super::parent_link::{ChildHandle, SupervisorEvent};
use super::partition::PartitionSupervisor;
use super::policy::{Intensity, Restart, RestartPolicy, Strategy};
use super::spec::{self, BuildChild, ChildSpec, DEFAULT_MAILBOX_CAPACITY, restart_policy_methods};
use super::supervisor_state::SupervisorState;
use super::supervisor_task::{SupervisorChild, TreeContext};
use super::threads::ThreadAffinity;

/// A supervisor `name` of children of type `A` that are added at run time, in `partitions`
/// partitions (at least 1) that work side by side.
pub fn dynamic_supervisor<A: Actor<Context = SupervisedContext<A>>>(
    name: impl Into<String>,
    partitions: usize,
) -> DynamicSupervisorSpec<A> {
    let partitions = (0..partitions.max(1)).map(|_| PartitionSlot::new()).collect();
    DynamicSupervisorSpec {
        name: name.into(),
        policy: RestartPolicy::CHILD,
        affinity: ThreadAffinity::default(),
        capacity: DEFAULT_MAILBOX_CAPACITY,
        inner: Arc::new(DynamicSupervisorInner { partitions, defaults: OnceLock::new() }),
    }
}

/// The specification of a dynamic supervisor; its policy applies to every child. A child that
/// exceeds its restart intensity ends and affects no other child.
#[must_use = "a dynamic supervisor runs only below a supervisor"]
pub struct DynamicSupervisorSpec<A: Actor<Context = SupervisedContext<A>>> {
    name: String,
    policy: RestartPolicy,
    affinity: ThreadAffinity,
    capacity: usize,
    inner: Arc<DynamicSupervisorInner<A>>,
}

impl<A: Actor<Context = SupervisedContext<A>>> DynamicSupervisorSpec<A> {
    restart_policy_methods!();

    /// Sets the mailbox capacity of a child: `tell` and `ask` fail beyond this many messages.
    pub const fn mailbox(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// The handle that starts children; it works only after the launch.
    pub fn handle(&self) -> DynamicSupervisor<A> {
        DynamicSupervisor(Arc::clone(&self.inner))
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> From<DynamicSupervisorSpec<A>> for ChildSpec {
    fn from(spec: DynamicSupervisorSpec<A>) -> Self {
        Self(Box::new(spec))
    }
}

struct DynamicSupervisorInner<A: Actor> {
    partitions: Vec<PartitionSlot<A>>,
    defaults: OnceLock<ChildDefaults>,
}

struct PartitionSlot<A: Actor> {
    names: Mutex<HashMap<Box<str>, ActorRef<A>>>,
    supervisor: OnceLock<(mpsc::UnboundedSender<SupervisorEvent>, String)>,
}

struct ChildDefaults {
    policy: Arc<RestartPolicy>,
    affinity: ThreadAffinity,
    capacity: usize,
    context: TreeContext,
}

impl<A: Actor> PartitionSlot<A> {
    fn new() -> Self {
        Self { names: Mutex::new(HashMap::new()), supervisor: OnceLock::new() }
    }
}

/// Why a child was not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartChildError {
    /// A child of this name exists.
    #[error("the name is taken")]
    NameTaken,
    /// The name is empty or contains a slash.
    #[error("the name is invalid")]
    InvalidName,
    /// There is no thread pool of that name.
    #[error("no such thread pool")]
    PoolNotFound,
    /// The dynamic supervisor is not running.
    #[error("the dynamic supervisor is not running")]
    NotRunning,
    /// The child failed more often than its restart intensity allows.
    #[error("it failed to start: {0}")]
    Failed(ExitReason),
}

/// Starts and finds the children of a dynamic supervisor.
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
        let affinity = self.0.defaults.get().ok_or(StartChildError::NotRunning)?.affinity;
        self.start_on(affinity, name, factory).await
    }

    /// As [`DynamicSupervisor::start`], on the given threads.
    ///
    /// # Errors
    /// [`StartChildError`].
    pub async fn start_on<F>(
        &self,
        affinity: ThreadAffinity,
        name: &str,
        factory: F,
    ) -> Result<ActorRef<A>, StartChildError>
    where
        F: Fn(&mut SupervisedContext<A>) -> A + Send + Sync + 'static,
    {
        let defaults = self.0.defaults.get().ok_or(StartChildError::NotRunning)?;
        if name.is_empty() || name.contains('/') {
            return Err(StartChildError::InvalidName);
        }
        if !defaults.context.pools.contains(affinity) {
            return Err(StartChildError::PoolNotFound);
        }
        let partition_index = self.partition_index(name);
        let partition = &self.0.partitions[partition_index];
        let (supervisor, path) = partition.supervisor.get().ok_or(StartChildError::NotRunning)?;
        let mailbox = Arc::new(Mailbox::new(defaults.capacity));
        mailbox.stats.set_path(format!("{path}/{name}"), defaults.policy.restart);
        let child = ActorRef(Arc::clone(&mailbox));
        match locked(&partition.names).entry(name.into()) {
            std::collections::hash_map::Entry::Occupied(_) => {
                return Err(StartChildError::NameTaken);
            }
            std::collections::hash_map::Entry::Vacant(vacant) => vacant.insert(child.clone()),
        };
        let inner = Arc::downgrade(&self.0);
        let handle = ActorChild {
            mailbox: MailboxOwner(mailbox),
            factory: Arc::new(factory),
            affinity,
            pools: Arc::clone(&defaults.context.pools),
            clock: defaults.context.clock.clone(),
            on_removed: Some(Box::new(move |mailbox| {
                if let Some(inner) = inner.upgrade() {
                    inner.partitions[partition_index].free_name(mailbox);
                }
            })),
        };
        let (reply, up) = oneshot::channel();
        let policy = Arc::clone(&defaults.policy);
        // If the partition is gone the event is dropped with the handle in it, which frees the
        // name.
        let _ =
            supervisor.send(SupervisorEvent::AddChild { handle: Box::new(handle), policy, reply });
        match up.await {
            Ok(Ok(())) => Ok(child),
            Ok(Err(ExitReason::Shutdown)) | Err(_) => Err(StartChildError::NotRunning),
            Ok(Err(exit)) => Err(StartChildError::Failed(exit)),
        }
    }

    /// The child of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<ActorRef<A>> {
        locked(&self.0.partitions[self.partition_index(name)].names).get(name).cloned()
    }

    /// Stops and removes the child of this name; returns when it is down.
    ///
    /// # Errors
    /// [`CommandError::NotFound`] if there is no such child, or [`CommandError::Closing`].
    pub async fn stop(&self, name: &str) -> Result<(), CommandError> {
        let defaults = self.0.defaults.get().ok_or(CommandError::NotFound)?;
        let child = self.get(name).ok_or(CommandError::NotFound)?;
        let link = defaults.context.index.link(child.path()).ok_or(CommandError::NotFound)?;
        let (reply, done) = oneshot::channel();
        link.command(OperatorCommand::Stop, reply);
        done.await.unwrap_or(Err(CommandError::Closing))
    }

    /// The number of children.
    pub fn len(&self) -> usize {
        self.0.partitions.iter().map(|partition| locked(&partition.names).len()).sum()
    }

    /// Whether there is no child.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All children, in no particular order.
    pub fn children(&self) -> Vec<ActorRef<A>> {
        let children_of = |partition: &PartitionSlot<A>| {
            locked(&partition.names).values().cloned().collect::<Vec<_>>()
        };
        self.0.partitions.iter().flat_map(children_of).collect()
    }

    fn partition_index(&self, name: &str) -> usize {
        // FNV-1a: a name always maps to the same partition, whatever the build.
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, step);
        usize::try_from(hash % self.0.partitions.len() as u64).unwrap_or(0)
    }
}

impl<A: Actor> PartitionSlot<A> {
    /// Frees the name of `mailbox`, unless a newer child has taken it.
    fn free_name(&self, mailbox: &Arc<Mailbox<A>>) {
        let name = mailbox.stats.path().rsplit('/').next().unwrap_or_default();
        let mut names = locked(&self.names);
        if names.get(name).is_some_and(|holder| Arc::ptr_eq(&holder.0, mailbox)) {
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
        let partition = self.partition_policy();
        let partitions = u32::try_from(self.inner.partitions.len()).unwrap_or(u32::MAX);
        let shutdown =
            partition.shutdown.saturating_add(partition.grace).saturating_mul(partitions);
        RestartPolicy {
            shutdown,
            grace: partition.grace.saturating_add(RestartPolicy::CHILD.grace),
            ..RestartPolicy::CHILD
        }
    }

    fn affinities(&self) -> Vec<ThreadAffinity> {
        vec![self.affinity]
    }

    fn build(self: Box<Self>, context: &TreeContext, path: String) -> Box<dyn ChildHandle> {
        let (policy, partition_policy) = (Arc::new(self.policy), self.partition_policy());
        let defaults = ChildDefaults {
            policy,
            affinity: self.affinity,
            capacity: self.capacity,
            context: context.clone(),
        };
        let _ = self.inner.defaults.set(defaults); // a spec is built once
        let indices = 0..self.inner.partitions.len();
        let partition = |partition_index: usize| {
            let inner = Arc::clone(&self.inner);
            ChildSpec(Box::new(PartitionSpec {
                name: partition_index.to_string(),
                policy: partition_policy,
                inner,
                partition_index,
            }))
        };
        let partitions: Vec<_> = indices.map(partition).collect();
        let policies = vec![partition_policy; partitions.len()];
        let intensity = Intensity { max_restarts: 10, period: Duration::from_secs(60) };
        let state = SupervisorState::new(Strategy::OneForOne, intensity, policies);
        Box::new(spec::build_supervisor(context, path, state, partitions))
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> DynamicSupervisorSpec<A> {
    fn partition_policy(&self) -> RestartPolicy {
        let kill_grace = RestartPolicy::CHILD.grace;
        RestartPolicy {
            shutdown: self
                .policy
                .shutdown
                .saturating_add(self.policy.grace)
                .saturating_add(kill_grace),
            grace: self.policy.grace.saturating_add(kill_grace),
            ..RestartPolicy::CHILD
        }
    }
}

struct PartitionSpec<A: Actor> {
    name: String,
    policy: RestartPolicy,
    inner: Arc<DynamicSupervisorInner<A>>,
    partition_index: usize,
}

impl<A: Actor<Context = SupervisedContext<A>>> BuildChild for PartitionSpec<A> {
    fn name(&self) -> &str {
        &self.name
    }

    fn policy(&self) -> RestartPolicy {
        self.policy
    }

    fn affinities(&self) -> Vec<ThreadAffinity> {
        vec![]
    }

    fn build(self: Box<Self>, context: &TreeContext, path: String) -> Box<dyn ChildHandle> {
        let stats = Arc::new(ActorStats::new(TreeNodeKind::Partition));
        stats.set_path(path.clone(), Restart::Permanent);
        let partition_context = context.clone();
        let handle = SupervisorChild::spawn_supervisor(context, stats, |to_self| {
            let _ =
                self.inner.partitions[self.partition_index].supervisor.set((to_self.clone(), path)); // set once
            PartitionSupervisor::new(partition_context, to_self)
        });
        Box::new(handle)
    }
}
