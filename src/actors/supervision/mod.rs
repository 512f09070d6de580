//! Supervision as OTP knows it, on stock actix: a tree of actors that survive their own panics.
//!
//! A [`ActorSpec`] says how to build an actor, a [`SupervisorSpec`] who stands together, [`launch`]
//! brings them up. Others speak to an actor through its [`ActorRef`], which stays valid whatever
//! happens to the actor behind it. Each life of an actor is one task; when it ends, by whatever,
//! the supervisor hears of it and its policy decides what follows.
//!
//! ```ignore
//! struct Clerk;
//! impl actix::Actor for Clerk {
//!     type Context = Ctx<Self>;
//! }
//! let clerk = child("clerk", |_| Clerk);
//! let to_clerk = clerk.handle();
//! let root = supervisor("node", Strategy::OneForOne).with(clerk);
//! let living = launch(root, Options::threads(2)).await?;
//! to_clerk.tell(Sign(paper))?;
//! ```

mod actor_ref;
mod cell;
mod context;
mod dynamic_supervisor;
mod exit;
mod incarnation;
mod launch;
mod mailbox;
mod parent_link;
mod partition;
mod policy;
mod spec;
mod supervisor;
mod supervisor_state;
#[cfg(test)]
mod supervisor_state_model_test;
mod supervisor_task;
mod thread_activity;
mod threads;
mod tree;
mod watchdog;

pub use actor_ref::{ActorRef, AskFuture, Recipient, SendError};
pub use cell::{ActorState, TreeNodeKind};
pub use context::SupervisedContext;
pub use dynamic_supervisor::{
    DynamicSupervisor, DynamicSupervisorSpec, StartChildError, dynamic_supervisor,
};
pub use exit::{ExitReason, FailureRecord};
pub use launch::{LaunchError, LaunchOptions, RunningTree, launch};
pub use policy::{Intensity, Restart, RestartPolicy, Strategy};
pub use spec::{ActorSpec, ChildSpec, SupervisorSpec, child, supervisor};
pub use threads::{ACTORS, ThreadAffinity};
pub use tree::{CommandError, SupervisionTree, TreeNodeView};
pub use watchdog::{StuckActor, WatchdogThresholds};

/// Says that an actor may also be restarted in place by actix: it is then built anew.
#[macro_export]
macro_rules! supervised {
    ($actor:ty) => {
        impl ::actix::Supervised for $actor {
            fn restarting(
                &mut self,
                ctx: &mut $crate::actors::supervision::SupervisedContext<Self>,
            ) {
                *self = ctx.rebuild();
            }
        }
    };
}
pub use crate::supervised;
