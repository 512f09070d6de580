//! How messages travel, and how nobody starves.

use actix::prelude::*;
use securevox::actors::supervision::{Recipient, SendError};

use super::actor::*;
use super::*;

async fn one(mailbox: usize) -> (RunningTree, ActorRef<Puppet>) {
    let a = puppet("a", &Script::default()).mailbox(mailbox);
    let to_a = a.handle();
    (live(supervisor("node", Strategy::OneForOne).with(a)).await, to_a)
}

#[test]
fn full_mailbox_accepts_only_control_messages() {
    simulate(async {
        let (living, to_a) = one(2).await;
        let clones = [to_a.clone(), to_a.clone(), to_a.clone()];
        let told: Vec<_> = clones.iter().map(|a| a.tell(Count)).collect();
        assert_eq!(told, [Ok(()), Ok(()), Err(SendError::Full)], "the bound is the mailbox's");
        assert_eq!(to_a.ask(Count).await, Err(SendError::Full));
        assert_eq!(to_a.tell_control(Count), Ok(()));
        assert_eq!(to_a.depth(), 3);
        until("all is handled", || to_a.depth() == 0).await;

        assert_eq!(to_a.ask(Count).await, Ok(4));
        end(living).await;
    });
}

#[test]
fn request_is_enqueued_when_created_not_when_awaited() {
    simulate(async {
        let (living, to_a) = one(8).await;
        let (first, second) = (to_a.ask(Count), to_a.ask(Count));

        assert_eq!(second.await, Ok(2));
        assert_eq!(first.await, Ok(1));
        end(living).await;
    });
}

#[test]
fn async_reply_does_not_block_other_messages() {
    simulate(async {
        let (living, to_a) = one(8).await;
        let slow = to_a.ask(Slow(Duration::from_secs(9)));
        assert_eq!(to_a.ask(Count).await, Ok(1));

        assert_eq!(slow.await, Ok(7));
        end(living).await;
    });
}

#[test]
fn recipient_accepts_only_its_message_type() {
    simulate(async {
        let (living, to_a) = one(8).await;
        let listener: Recipient<Count> = to_a.recipient();
        listener.tell(Count).unwrap();
        listener.clone().tell_control(Count).unwrap();

        assert_eq!(to_a.ask(Count).await, Ok(3));
        end(living).await;
    });
}

#[test]
fn busy_actor_does_not_starve_sibling() {
    for way in [Forever::Tell, Forever::Notify, Forever::Address] {
        simulate(async move {
            let script = Script::default();
            let (busy, calm) = (puppet("busy", &script), puppet("calm", &script));
            let (to_busy, to_calm) = (busy.handle(), calm.handle());
            let spec = supervisor("node", Strategy::OneForOne).with(busy).with(calm);
            let living = live(spec).await;
            to_busy.tell(way).unwrap();
            // In a task of its own: a `LocalSet` polls dozens of tasks before its main future.
            let story = tokio::task::spawn_local(async move {
                for times in 1..=100 {
                    assert_eq!(to_calm.ask(Count).await, Ok(times));
                    assert!(to_busy.ask(Count).await.is_ok());
                }
            });
            story.await.unwrap();

            let handled = entry(&living.tree(), "/node/busy").handled;
            assert!(handled < 4 * 200 * 128, "it had {handled} turns while its sibling had 100");
            end(living).await;
        });
    }
}

/// Counts the ticks of its own timer, and waits without taking messages.
#[derive(Default)]
struct Clockwork {
    ticks: u32,
    cancelled: Option<SpawnHandle>,
}

impl Actor for Clockwork {
    type Context = SupervisedContext<Self>;
    fn started(&mut self, ctx: &mut SupervisedContext<Self>) {
        ctx.run_interval(Duration::from_secs(60), |this, _| this.ticks += 1);
        let other = ctx.run_interval(Duration::from_secs(1), |this, _| this.ticks += 1000);
        self.cancelled = Some(other);
    }
}

struct Ticks;
impl Message for Ticks {
    type Result = u32;
}
impl Handler<Ticks> for Clockwork {
    type Result = AtomicResponse<Self, u32>;
    fn handle(&mut self, _: Ticks, ctx: &mut SupervisedContext<Self>) -> Self::Result {
        if let Some(other) = self.cancelled.take() {
            assert!(ctx.cancel_future(other));
        }
        let wait = tokio::time::sleep(Duration::from_millis(5)).into_actor(self);
        AtomicResponse::new(Box::pin(wait.map(|(), this, _| this.ticks)))
    }
}

#[test]
fn actix_timers_and_waits_work_in_supervised_actor() {
    simulate(async {
        let clock = child("clock", |_: &mut SupervisedContext<Clockwork>| Clockwork::default());
        let to_clock = clock.handle();
        let living = live(supervisor("node", Strategy::OneForOne).with(clock)).await;
        assert_eq!(to_clock.ask(Ticks).await, Ok(0));
        tokio::time::sleep(Duration::from_secs(3600)).await;

        let both = (to_clock.ask(Ticks), to_clock.ask(Ticks));
        assert_eq!((both.0.await, both.1.await), (Ok(60), Ok(60)));
        end(living).await;
    });
}

/// `Actor::start` and its kin ask for `Context = actix::Context<Self>`. For an actor of which that
/// is true both implementations hold, and which of them `_` means is ambiguous.
trait Startable<Which> {
    const MEANS: &'static str;
}

impl<A> Startable<()> for A {
    const MEANS: &'static str = "only below a supervisor";
}

impl<A: Actor<Context = Context<A>>> Startable<u8> for A {
    const MEANS: &'static str = "anywhere";
}

#[test]
fn supervised_actor_cannot_start_without_supervisor() {
    // With `type Context = actix::Context<Self>` in `Puppet` this line does not compile.
    let means = <Puppet as Startable<_>>::MEANS;

    assert_eq!(means, "only below a supervisor");
}
