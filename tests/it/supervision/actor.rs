//! The actor of these stories: it does what it is told, above all fail.

use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use actix::prelude::*;
use securevox::actors::supervision::*;

/// What all incarnations of one actor share: what happened, and where to panic next.
#[derive(Clone, Default)]
pub(super) struct Script {
    log: Arc<Mutex<Vec<String>>>,
    panic_at: Arc<Mutex<Vec<&'static str>>>,
}

impl Script {
    pub(super) fn log(&self, line: impl Into<String>) {
        self.log.lock().unwrap().push(line.into());
    }

    /// What happened since it was last asked.
    pub(super) fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    pub(super) fn has(&self, line: &str) -> bool {
        self.log.lock().unwrap().iter().any(|there| there == line)
    }

    pub(super) fn count(&self, line: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|there| *there == line).count()
    }

    /// The next time it comes to `hook`, it panics.
    pub(super) fn panic_at(&self, hook: &'static str) {
        self.panic_at.lock().unwrap().push(hook);
    }

    fn pass(&self, hook: &'static str) {
        let mut hooks = self.panic_at.lock().unwrap();
        let Some(at) = hooks.iter().position(|there| *there == hook) else { return };
        hooks.remove(at);
        drop(hooks);
        panic!("on purpose in {hook}");
    }
}

/// Does what it is told.
pub(super) struct Puppet {
    name: &'static str,
    script: Script,
    counted: u32,
    refuses_to_stop: u32,
}

impl Puppet {
    pub(super) fn new(name: &'static str, script: &Script) -> Self {
        script.pass("factory");
        Self { name, script: script.clone(), counted: 0, refuses_to_stop: 0 }
    }
}

/// A child that logs to `script` under its name.
pub(super) fn puppet(name: &'static str, script: &Script) -> ActorSpec<Puppet> {
    let script = script.clone();
    child(name, move |_| Puppet::new(name, &script)).backoff(super::AT_ONCE)
}

impl Actor for Puppet {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut SupervisedContext<Self>) {
        self.script.log(format!("{}{}", if ctx.is_restart() { "+" } else { "" }, self.name));
        self.script.pass("started");
    }

    fn stopping(&mut self, _: &mut SupervisedContext<Self>) -> Running {
        self.script.pass("stopping");
        if self.refuses_to_stop > 0 {
            self.refuses_to_stop -= 1;
            return Running::Continue;
        }
        Running::Stop
    }

    fn stopped(&mut self, _: &mut SupervisedContext<Self>) {
        self.script.log(format!("-{}", self.name));
        self.script.pass("stopped");
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.script.pass("drop");
    }
}

supervised!(Puppet);

/// Counts how often it was asked in this life.
pub(super) struct Count;
/// Panics in its handler.
pub(super) struct Boom;
/// Panics in a future of the actor.
pub(super) struct BoomLater;
/// Fails without a panic.
pub(super) struct Fail(pub(super) &'static str);
/// Ends itself.
pub(super) struct Quit;
/// Refuses the next so many stops.
pub(super) struct Refuse(pub(super) u32);
/// Holds its thread until the sender is dropped.
pub(super) struct Hold(pub(super) std::sync::mpsc::Receiver<()>);
/// Answers after a while, from a future.
pub(super) struct Slow(pub(super) Duration);
/// Sends itself to itself for ever, in one of three ways.
#[derive(Clone, Copy)]
pub(super) enum Forever {
    Tell,
    Notify,
    Address,
}

macro_rules! message {
    ($($message:ty => $result:ty),*) => {
        $(impl Message for $message { type Result = $result; })*
    };
}
message!(Count => u32, Boom => (), BoomLater => (), Fail => (), Quit => (), Refuse => (), Hold => (), Slow => u32, Forever => ());

impl Handler<Count> for Puppet {
    type Result = u32;
    fn handle(&mut self, _: Count, _: &mut SupervisedContext<Self>) -> u32 {
        self.counted += 1;
        self.counted
    }
}

impl Handler<Boom> for Puppet {
    type Result = ();
    fn handle(&mut self, _: Boom, _: &mut SupervisedContext<Self>) {
        panic!("on purpose");
    }
}

impl Handler<BoomLater> for Puppet {
    type Result = ();
    fn handle(&mut self, _: BoomLater, ctx: &mut SupervisedContext<Self>) {
        ctx.spawn(async { panic!("on purpose, later") }.into_actor(self));
    }
}

impl Handler<Fail> for Puppet {
    type Result = ();
    fn handle(&mut self, message: Fail, ctx: &mut SupervisedContext<Self>) {
        ctx.fail(message.0);
    }
}

impl Handler<Quit> for Puppet {
    type Result = ();
    fn handle(&mut self, _: Quit, ctx: &mut SupervisedContext<Self>) {
        ctx.stop();
    }
}

impl Handler<Refuse> for Puppet {
    type Result = ();
    fn handle(&mut self, message: Refuse, _: &mut SupervisedContext<Self>) {
        self.refuses_to_stop = message.0;
    }
}

impl Handler<Hold> for Puppet {
    type Result = ();
    fn handle(&mut self, message: Hold, _: &mut SupervisedContext<Self>) {
        self.script.log(format!("{} holds", self.name));
        let _ = message.0.recv();
    }
}

impl Handler<Slow> for Puppet {
    type Result = ResponseActFuture<Self, u32>;
    fn handle(&mut self, message: Slow, _: &mut SupervisedContext<Self>) -> Self::Result {
        Box::pin(tokio::time::sleep(message.0).into_actor(self).map(|(), _, _| 7))
    }
}

impl Handler<Forever> for Puppet {
    type Result = ();
    fn handle(&mut self, message: Forever, ctx: &mut SupervisedContext<Self>) {
        match message {
            Forever::Tell => drop(ctx.self_ref().tell(message)),
            Forever::Notify => ctx.notify(message),
            Forever::Address => ctx.address().do_send(message),
        }
    }
}

/// Panics on purpose say nothing; all others say what they always say.
pub(crate) fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload_as_str().is_some_and(|text| text.contains("on purpose")) {
                usual(info);
            }
        }));
    });
}
