//! What supervision costs: restart, memory, question, message. Prints, asserts nothing.
#![expect(clippy::unwrap_used, reason = "a bench that fails may stop")]

use std::time::Duration;

use actix::{Actor, Handler, Message, System};
use base::backoff::Backoff;
use bench::figures::figure;
use bench::process::memory;
use securevox::actors::supervision::*;
use tokio::time::Instant;

struct Worker(u64);
impl Actor for Worker {
    type Context = SupervisedContext<Self>;
}

struct Count;
impl Message for Count {
    type Result = u64;
}
impl Handler<Count> for Worker {
    type Result = u64;
    fn handle(&mut self, _: Count, _: &mut SupervisedContext<Self>) -> u64 {
        self.0 += 1;
        self.0
    }
}

struct Boom;
impl Message for Boom {
    type Result = ();
}
impl Handler<Boom> for Worker {
    type Result = ();
    fn handle(&mut self, _: Boom, _: &mut SupervisedContext<Self>) {
        panic!("on purpose");
    }
}

fn micros(what: &str, mut micros: Vec<f64>) {
    micros.sort_by(f64::total_cmp);
    let at = |part: usize| micros[(micros.len() - 1) * part / 1000];
    let values = [("p50", at(500)), ("p99", at(990)), ("max", at(1000))];
    figure("supervision", what, "µs", &values, None);
}

fn one(what: &str, unit: &str, value: f64) {
    figure("supervision", what, unit, &[("", value)], None);
}

fn resident() -> f64 {
    memory(std::process::id()).resident
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    System::new().block_on(async {
        const RESTARTS: u32 = 10_000;
        const ASKS: u32 = 100_000;
        const TELLS: u32 = 1_000_000;
        const ACTORS: u32 = 100_000;
        let worker =
            child("worker", |_: &mut SupervisedContext<Worker>| Worker(0)).backoff(Backoff::NONE);
        let worker = worker.intensity(u32::MAX, Duration::from_secs(1)).mailbox(usize::MAX);
        let idle = dynamic_supervisor::<Worker>("idle", 4);
        let (to_worker, to_idle) = (worker.handle(), idle.handle());
        let spec =
            supervisor("node", Strategy::OneForOne).intensity(u32::MAX, Duration::from_secs(1));
        let living = launch(spec.with(worker).with(idle), LaunchOptions::threads(1)).await.unwrap();

        let mut micros = vec![];
        for _ in 0..RESTARTS {
            let began = Instant::now();
            to_worker.tell(Boom).unwrap();
            assert_eq!(to_worker.ask(Count).await, Ok(1));
            micros.push(began.elapsed().as_secs_f64() * 1e6);
        }
        self::micros("panic to answer of the restarted child", micros);

        let mut micros = vec![];
        for _ in 0..ASKS {
            let began = Instant::now();
            to_worker.ask(Count).await.unwrap();
            micros.push(began.elapsed().as_secs_f64() * 1e6);
        }
        self::micros("question and answer across threads", micros);

        let began = Instant::now();
        for _ in 0..TELLS {
            to_worker.tell(Count).unwrap();
        }
        to_worker.ask(Count).await.unwrap();
        let rate = f64::from(TELLS) / began.elapsed().as_secs_f64() / 1e6;
        one("messages to another thread", "million/s", rate);

        let (before, began) = (resident(), Instant::now());
        for n in 0..ACTORS {
            to_idle.start(&n.to_string(), |_| Worker(0)).await.unwrap();
        }
        let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(ACTORS);
        let bytes = (resident() - before) / f64::from(ACTORS);
        one("child of a nursery, until it is up", "µs", each);
        one("child of a nursery, idle", "bytes", bytes);

        let began = Instant::now();
        let lines = living.tree().snapshot().len();
        one(&format!("snapshot of {lines} lines"), "ms", began.elapsed().as_secs_f64() * 1e3);
        let began = Instant::now();
        let exit = living.shutdown(Duration::from_secs(60)).await;
        one(&format!("its shutdown ({exit})"), "ms", began.elapsed().as_secs_f64() * 1e3);
    });
}
