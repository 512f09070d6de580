//! Plans of supervisors and children: what a tree looks like before it lives.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use base::backoff::Backoff;

use super::actor_ref::ActorRef;
use super::cell::{ActorStats, TreeNodeKind};
use super::context::{ActorFactory, SupervisedContext};
use super::incarnation::ActorChild;
use super::mailbox::{Mailbox, MailboxOwner};
use super::parent_link::ChildHandle;
use super::policy::{Intensity, Restart, RestartPolicy, Strategy};
use super::supervisor::OrderedSupervisor;
use super::supervisor_state::SupervisorState;
use super::supervisor_task::{SupervisorChild, TreeContext};
use super::threads::ThreadAffinity;

/// A mailbox holds so many messages unless told otherwise.
pub(super) const DEFAULT_MAILBOX_CAPACITY: usize = 1024;

/// Anything that can stand below a supervisor: a [`ActorSpec`], a [`SupervisorSpec`], a
/// [`NurserySpec`](super::NurserySpec).
pub struct ChildSpec(pub(super) Box<dyn BuildChild>);

/// A place of the tree before it lives.
pub(super) trait BuildChild: Send {
    fn name(&self) -> &str;
    fn policy(&self) -> RestartPolicy;
    /// The first name below it that is none, or that two siblings share.
    fn bad_name(&self) -> Option<String> {
        None
    }
    /// Every place it needs.
    fn places(&self) -> Vec<ThreadAffinity>;
    /// Makes it stand at `path`, down for now.
    fn build(self: Box<Self>, site: &TreeContext, path: String) -> Box<dyn ChildHandle>;
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
        place: ThreadAffinity::default(),
        mailbox: MailboxOwner(Arc::new(Mailbox::new(DEFAULT_MAILBOX_CAPACITY))),
    }
}

/// The plan of one actor. Permanent unless told otherwise, with the terms of [`RestartPolicy::CHILD`].
#[must_use = "a child lives only below a supervisor"]
pub struct ActorSpec<A: Actor<Context = SupervisedContext<A>>> {
    name: String,
    factory: ActorFactory<A>,
    policy: RestartPolicy,
    place: ThreadAffinity,
    mailbox: MailboxOwner<A>,
}

/// The builder methods that children of supervisors and of nurseries share.
macro_rules! terms {
    () => {
        /// It is always started again.
        pub const fn permanent(mut self) -> Self {
            self.policy.restart = Restart::Permanent;
            self
        }

        /// It is started again after a failure only.
        pub const fn transient(mut self) -> Self {
            self.policy.restart = Restart::Transient;
            self
        }

        /// It is never started again.
        pub const fn temporary(mut self) -> Self {
            self.policy.restart = Restart::Temporary;
            self
        }

        /// It may fail `most` times within `window`; once more is too often.
        pub const fn intensity(mut self, most: u32, window: Duration) -> Self {
            self.policy.intensity = Intensity { most, window };
            self
        }

        /// How long it waits before it is started again.
        pub const fn backoff(mut self, backoff: Backoff) -> Self {
            self.policy.backoff = backoff;
            self
        }

        /// After being up this long its back-off begins anew.
        pub const fn stable_after(mut self, time: Duration) -> Self {
            self.policy.stable_after = time;
            self
        }

        /// It is killed if it takes longer than this to stop.
        pub const fn shutdown(mut self, deadline: Duration) -> Self {
            self.policy.shutdown = deadline;
            self
        }

        /// Where it lives.
        pub const fn on_threads(mut self, place: ThreadAffinity) -> Self {
            self.place = place;
            self
        }
    };
}
pub(super) use terms;

impl<A: Actor<Context = SupervisedContext<A>>> ActorSpec<A> {
    terms!();

    /// Its mailbox refuses `tell` and `ask` beyond this many messages.
    pub fn mailbox(self, capacity: usize) -> Self {
        self.mailbox.0.set_capacity(capacity);
        self
    }

    /// A reference for others, before the start: messages wait in the mailbox.
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

    fn places(&self) -> Vec<ThreadAffinity> {
        vec![self.place]
    }

    fn build(self: Box<Self>, site: &TreeContext, path: String) -> Box<dyn ChildHandle> {
        self.mailbox.0.cell.place(path, self.policy.restart);
        Box::new(ActorChild {
            mailbox: self.mailbox,
            factory: self.factory,
            place: self.place,
            places: Arc::clone(&site.places),
            clock: site.clock.clone(),
            on_leave: None,
        })
    }
}

/// A supervisor without children yet.
pub fn supervisor(name: impl Into<String>, strategy: Strategy) -> SupervisorSpec {
    SupervisorSpec {
        name: name.into(),
        strategy,
        intensity: Intensity { most: 10, window: Duration::from_secs(60) },
        shutdown: None,
        kids: vec![],
    }
}

/// The plan of a supervisor. It bears 10 restarts in 60 s unless told otherwise, then gives up:
/// all its children go down, and its own supervisor decides.
#[must_use = "a supervisor lives only in a tree"]
pub struct SupervisorSpec {
    pub(super) name: String,
    strategy: Strategy,
    intensity: Intensity,
    shutdown: Option<Duration>,
    kids: Vec<ChildSpec>,
}

impl SupervisorSpec {
    /// It bears `most` restarts of its children within `window`.
    pub const fn intensity(mut self, most: u32, window: Duration) -> Self {
        self.intensity = Intensity { most, window };
        self
    }

    /// It and everything below it is killed if it takes longer than this to stop. Unless told, it
    /// has the time of all its children one after the other.
    pub const fn shutdown(mut self, deadline: Duration) -> Self {
        self.shutdown = Some(deadline);
        self
    }

    /// One child more: started after those before it, stopped before them.
    pub fn with(mut self, child: impl Into<ChildSpec>) -> Self {
        self.kids.push(child.into());
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
        let kids = || self.kids.iter().map(|kid| kid.0.policy());
        let time = |kid: RestartPolicy| kid.shutdown.saturating_add(kid.grace);
        let all = kids().fold(RestartPolicy::CHILD.grace, |sum, kid| sum.saturating_add(time(kid)));
        let grace = kids().map(|kid| kid.grace).max().unwrap_or_default();
        RestartPolicy {
            shutdown: self.shutdown.unwrap_or(all),
            grace: grace.saturating_add(RestartPolicy::CHILD.grace),
            ..RestartPolicy::CHILD
        }
    }

    fn bad_name(&self) -> Option<String> {
        let mut seen = HashSet::new();
        let is_bad = |name: &str| name.is_empty() || name.contains('/');
        let mut names = self.kids.iter().map(|kid| kid.0.name());
        let own = names.find(|name| is_bad(name) || !seen.insert(*name)).map(str::to_owned);
        own.or_else(|| self.kids.iter().find_map(|kid| kid.0.bad_name()))
    }

    fn places(&self) -> Vec<ThreadAffinity> {
        self.kids.iter().flat_map(|kid| kid.0.places()).collect()
    }

    fn build(self: Box<Self>, site: &TreeContext, path: String) -> Box<dyn ChildHandle> {
        let policies = self.kids.iter().map(|kid| kid.0.policy()).collect();
        let family = SupervisorState::new(self.strategy, self.intensity, policies);
        Box::new(build(site, path, family, self.kids))
    }
}

/// A supervisor at `path` and everything below it.
pub(super) fn build(
    site: &TreeContext,
    path: String,
    family: SupervisorState,
    kids: Vec<ChildSpec>,
) -> SupervisorChild {
    let seat = |kid: ChildSpec| {
        let path = format!("{path}/{}", kid.0.name());
        kid.0.build(site, path)
    };
    let seats = kids.into_iter().map(seat).collect();
    let cell = Arc::new(ActorStats::new(TreeNodeKind::Supervisor));
    cell.place(path.clone(), Restart::Permanent);
    let here = site.clone();
    SupervisorChild::spawn_supervisor(site, cell, |to_self| {
        OrderedSupervisor::new(here, path, family, seats, to_self)
    })
}
