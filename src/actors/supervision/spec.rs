//! Specifications of supervisors and children: a tree before it runs.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use base::backoff::Backoff;

use super::actor_ref::ActorRef;
use super::actor_stats::{ActorStats, TreeNodeKind};
use super::context::{ActorFactory, SupervisedContext};
use super::incarnation::ActorChild;
use super::mailbox::{Mailbox, MailboxOwner};
use super::parent_link::ChildHandle;
use super::policy::{Intensity, Restart, RestartPolicy, Strategy};
use super::supervisor::OrderedSupervisor;
use super::supervisor_state::SupervisorState;
use super::supervisor_task::{SupervisorChild, TreeContext};
use super::threads::ThreadAffinity;

/// Mailbox capacity in messages unless the spec sets another one.
pub(super) const DEFAULT_MAILBOX_CAPACITY: usize = 1024;

/// Anything that can be a child of a supervisor: an [`ActorSpec`], a [`SupervisorSpec`] or a
/// [`DynamicSupervisorSpec`](super::DynamicSupervisorSpec).
pub struct ChildSpec(pub(super) Box<dyn BuildChild>);

/// Builds one child of a supervisor.
pub(super) trait BuildChild: Send {
    fn name(&self) -> &str;
    fn policy(&self) -> RestartPolicy;
    /// The first name below it that is invalid or that two siblings share.
    fn first_invalid_name(&self) -> Option<String> {
        None
    }
    /// The thread affinities of everything below it.
    fn affinities(&self) -> Vec<ThreadAffinity>;
    /// Creates it at `path`; it is not started yet.
    fn build(self: Box<Self>, context: &TreeContext, path: String) -> Box<dyn ChildHandle>;
}

/// A child of a supervisor: an actor of type `A`, built by `factory` at every start.
pub fn child<A>(
    name: impl Into<String>,
    factory: impl Fn(&mut SupervisedContext<A>) -> A + Send + Sync + 'static,
) -> ActorSpec<A>
where
    A: Actor<Context = SupervisedContext<A>>,
{
    ActorSpec {
        name: name.into(),
        factory: Arc::new(factory),
        policy: RestartPolicy::CHILD,
        affinity: ThreadAffinity::default(),
        mailbox: MailboxOwner(Arc::new(Mailbox::new(DEFAULT_MAILBOX_CAPACITY))),
    }
}

/// The specification of one actor. The default policy is [`RestartPolicy::CHILD`], which is
/// permanent.
#[must_use = "a child runs only below a supervisor"]
pub struct ActorSpec<A: Actor<Context = SupervisedContext<A>>> {
    name: String,
    factory: ActorFactory<A>,
    policy: RestartPolicy,
    affinity: ThreadAffinity,
    mailbox: MailboxOwner<A>,
}

/// The builder methods shared by children of supervisors and of dynamic supervisors.
macro_rules! restart_policy_methods {
    () => {
        /// It is always restarted.
        pub const fn permanent(mut self) -> Self {
            self.policy.restart = Restart::Permanent;
            self
        }

        /// It is restarted only after a failure.
        pub const fn transient(mut self) -> Self {
            self.policy.restart = Restart::Transient;
            self
        }

        /// It is never restarted.
        pub const fn temporary(mut self) -> Self {
            self.policy.restart = Restart::Temporary;
            self
        }

        /// It may fail `max_restarts` times within `period`; one more failure exceeds the
        /// intensity.
        pub const fn intensity(mut self, max_restarts: u32, period: Duration) -> Self {
            self.policy.intensity = Intensity { max_restarts, period };
            self
        }

        /// Sets the wait before a restart.
        pub const fn backoff(mut self, backoff: Backoff) -> Self {
            self.policy.backoff = backoff;
            self
        }

        /// After being up this long its back-off starts over.
        pub const fn stable_after(mut self, time: Duration) -> Self {
            self.policy.stable_after = time;
            self
        }

        /// It is killed if it takes longer than this to stop.
        pub const fn shutdown(mut self, deadline: Duration) -> Self {
            self.policy.shutdown = deadline;
            self
        }

        /// Sets the threads it runs on.
        pub const fn on_threads(mut self, affinity: ThreadAffinity) -> Self {
            self.affinity = affinity;
            self
        }
    };
}
pub(super) use restart_policy_methods;

impl<A: Actor<Context = SupervisedContext<A>>> ActorSpec<A> {
    restart_policy_methods!();

    /// Sets the mailbox capacity: `tell` and `ask` fail beyond this many messages.
    pub fn mailbox(self, capacity: usize) -> Self {
        self.mailbox.0.set_capacity(capacity);
        self
    }

    /// A reference for others, valid before the start: messages wait in the mailbox.
    pub fn handle(&self) -> ActorRef<A> {
        ActorRef(Arc::clone(&self.mailbox.0))
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> From<ActorSpec<A>> for ChildSpec {
    fn from(child: ActorSpec<A>) -> Self {
        Self(Box::new(child))
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> BuildChild for ActorSpec<A> {
    fn name(&self) -> &str {
        &self.name
    }

    fn policy(&self) -> RestartPolicy {
        self.policy
    }

    fn affinities(&self) -> Vec<ThreadAffinity> {
        vec![self.affinity]
    }

    fn build(self: Box<Self>, context: &TreeContext, path: String) -> Box<dyn ChildHandle> {
        self.mailbox.0.stats.set_path(path, self.policy.restart);
        Box::new(ActorChild {
            mailbox: self.mailbox,
            factory: self.factory,
            affinity: self.affinity,
            pools: Arc::clone(&context.pools),
            clock: context.clock.clone(),
            on_removed: None,
        })
    }
}

/// A supervisor without children, allowed 10 restarts in 60 s.
pub fn supervisor(name: impl Into<String>, strategy: Strategy) -> SupervisorSpec {
    SupervisorSpec {
        name: name.into(),
        strategy,
        intensity: Intensity { max_restarts: 10, period: Duration::from_secs(60) },
        shutdown: None,
        children: vec![],
    }
}

/// The specification of a supervisor. Unless configured otherwise it allows 10 restarts in 60 s and
/// then gives up: all its children stop, and its own supervisor decides.
#[must_use = "a supervisor runs only in a tree"]
pub struct SupervisorSpec {
    pub(super) name: String,
    strategy: Strategy,
    intensity: Intensity,
    shutdown: Option<Duration>,
    children: Vec<ChildSpec>,
}

impl SupervisorSpec {
    /// It allows `max_restarts` restarts of its children within `period`.
    pub const fn intensity(mut self, max_restarts: u32, period: Duration) -> Self {
        self.intensity = Intensity { max_restarts, period };
        self
    }

    /// It and everything below it is killed if it takes longer than this to stop. The default is
    /// the sum of the shutdown times of all its children.
    pub const fn shutdown(mut self, deadline: Duration) -> Self {
        self.shutdown = Some(deadline);
        self
    }

    /// Adds a child, which is started after those before it and stopped before them.
    pub fn with(mut self, child: impl Into<ChildSpec>) -> Self {
        self.children.push(child.into());
        self
    }
}

impl From<SupervisorSpec> for ChildSpec {
    fn from(spec: SupervisorSpec) -> Self {
        Self(Box::new(spec))
    }
}

impl BuildChild for SupervisorSpec {
    fn name(&self) -> &str {
        &self.name
    }

    fn policy(&self) -> RestartPolicy {
        let children = || self.children.iter().map(|child_spec| child_spec.0.policy());
        let time = |policy: RestartPolicy| policy.shutdown.saturating_add(policy.grace);
        let all = children()
            .fold(RestartPolicy::CHILD.grace, |sum, policy| sum.saturating_add(time(policy)));
        let grace = children().map(|policy| policy.grace).max().unwrap_or_default();
        RestartPolicy {
            shutdown: self.shutdown.unwrap_or(all),
            grace: grace.saturating_add(RestartPolicy::CHILD.grace),
            ..RestartPolicy::CHILD
        }
    }

    fn first_invalid_name(&self) -> Option<String> {
        let mut seen = HashSet::new();
        let is_bad = |name: &str| name.is_empty() || name.contains('/');
        let mut names = self.children.iter().map(|child_spec| child_spec.0.name());
        let own_names = names.find(|name| is_bad(name) || !seen.insert(*name)).map(str::to_owned);
        own_names.or_else(|| {
            self.children.iter().find_map(|child_spec| child_spec.0.first_invalid_name())
        })
    }

    fn affinities(&self) -> Vec<ThreadAffinity> {
        self.children.iter().flat_map(|child_spec| child_spec.0.affinities()).collect()
    }

    fn build(self: Box<Self>, context: &TreeContext, path: String) -> Box<dyn ChildHandle> {
        let policies = self.children.iter().map(|child_spec| child_spec.0.policy()).collect();
        let state = SupervisorState::new(self.strategy, self.intensity, policies);
        Box::new(build_supervisor(context, path, state, self.children))
    }
}

/// Builds a supervisor at `path` and everything below it.
pub(super) fn build_supervisor(
    context: &TreeContext,
    path: String,
    state: SupervisorState,
    children: Vec<ChildSpec>,
) -> SupervisorChild {
    let build_child = |child_spec: ChildSpec| {
        let path = format!("{path}/{}", child_spec.0.name());
        child_spec.0.build(context, path)
    };
    let handles = children.into_iter().map(build_child).collect();
    let stats = Arc::new(ActorStats::new(TreeNodeKind::Supervisor));
    stats.set_path(path.clone(), Restart::Permanent);
    let supervisor_context = context.clone();
    SupervisorChild::spawn_supervisor(context, stats, |to_self| {
        OrderedSupervisor::new(supervisor_context, path, state, handles, to_self)
    })
}
