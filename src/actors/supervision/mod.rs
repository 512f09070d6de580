//! OTP-style supervision on stock actix: a tree of actors that survive their own panics.
//!
//! An [`ActorSpec`] says how to build an actor, a [`SupervisorSpec`] groups children under a
//! restart strategy, and [`launch()`] starts them. Callers reach an actor through its [`ActorRef`],
//! which stays valid across restarts. One incarnation of an actor is one task; when it ends, for
//! whatever reason, the supervisor is notified and the child's [`RestartPolicy`] decides what
//! follows.
//!
//! ```ignore
//! struct Counter;
//! impl actix::Actor for Counter {
//!     type Context = SupervisedContext<Self>;
//! }
//! let counter = child("counter", |_| Counter);
//! let counter_ref = counter.handle();
//! let root = supervisor("node", Strategy::OneForOne).with(counter);
//! let running = launch(root, LaunchOptions::threads(2)).await?;
//! counter_ref.tell(Increment(1))?;
//! ```

mod actor_ref;
mod actor_stats;
mod command;
mod context;
mod dynamic_supervisor;
mod envelope;
mod exit;
mod incarnation;
mod launch;
mod mailbox;
mod parent_link;
mod partition;
mod policy;
mod send_error;
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

pub use actor_ref::{ActorRef, AskFuture, Recipient};
pub use actor_stats::{ActorState, TreeNodeKind};
pub use command::CommandError;
pub use context::SupervisedContext;
pub use dynamic_supervisor::{
    DynamicSupervisor, DynamicSupervisorSpec, StartChildError, dynamic_supervisor,
};
pub use envelope::MessageContext;
pub use exit::{ExitReason, FailureRecord};
pub use launch::{LaunchError, LaunchOptions, RunningTree, launch};
pub use policy::{Intensity, Restart, RestartPolicy, Strategy};
pub use send_error::SendError;
pub use spec::{ActorSpec, ChildSpec, SupervisorSpec, child, supervisor};
pub use threads::{ACTORS, ThreadAffinity};
pub use tree::{SupervisionTree, TreeNodeView};
pub use watchdog::{StuckActor, WatchdogThresholds};

/// Implements `actix::Supervised`: an actor that actix restarts in place is built anew by its
/// factory.
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
