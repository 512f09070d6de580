//! What the bus between nodes costs over RabbitMQ: question, message. Prints, asserts nothing.
#![expect(clippy::unwrap_used, reason = "a bench that fails may stop")]
#![expect(clippy::disallowed_methods, reason = "a bench has tasks and settings of its own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::ids::{NodeId, SessionId};
use base::secret::Secret;
use bench::figures::{figure, times};
use securevox::cluster::amqp::{AmqpBus, AmqpConfig};
use securevox::cluster::{BoxFuture, Bus, BusHandler, BusState};
use securevox::protocol::cluster::{NodeEvent, NodeRequest};
use tokio::time::Instant;

const ASKS: usize = 10_000;
const TOGETHER: usize = 64;
const TELLS: usize = 100_000;

/// Counts what it hears.
#[derive(Default)]
struct Ear(AtomicUsize);

impl BusHandler for Ear {
    fn on_event(&self, _: NodeId, _: NodeEvent) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn handle_request(&self, _: NodeId, _: NodeRequest) -> BoxFuture<'static, Option<String>> {
        Box::pin(std::future::ready(Some("null".to_owned())))
    }

    fn on_events_lost(&self) {}

    fn on_unreachable(&self, _: NodeId) {}
}

async fn node(url: &str) -> (AmqpBus, Arc<Ear>) {
    let settings = AmqpConfig {
        url: Secret::new(url.to_owned()),
        ca_pem: None,
        name: "bench".to_owned(),
        outbox_capacity: 10_000,
        queue_max_length: 1_000_000,
    };
    let (bus, ear) = (AmqpBus::new(NodeId::new(), settings).unwrap(), Arc::new(Ear::default()));
    bus.set_handler(ear.clone());
    tokio::spawn(bus.publisher());
    tokio::spawn(bus.consumer());
    bus.state().wait_for(|state| *state == BusState::Up).await.unwrap();
    (bus, ear)
}

async fn asks(by: &AmqpBus, to: NodeId, count: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        by.request(to, &NodeRequest::Ping, Duration::from_secs(10)).await.unwrap();
        times.push(began.elapsed());
    }
    times
}

#[tokio::main]
async fn main() {
    let Ok(url) = std::env::var("SECUREVOX_TEST_AMQP") else {
        return; // there is no RabbitMQ to measure
    };
    let ((a, _), (b, heard)) = (node(&url).await, node(&url).await);

    asks(&a, b.me(), 1000).await; // warm
    let mut alone = asks(&a, b.me(), ASKS).await;
    times("bus", "question and answer over RabbitMQ", &mut alone, None);

    let began = Instant::now();
    let askers: Vec<_> = (0..TOGETHER)
        .map(|_| {
            let (a, to) = (a.clone(), b.me());
            tokio::spawn(async move { asks(&a, to, ASKS / 10).await })
        })
        .collect();
    let mut together = Vec::new();
    for asker in askers {
        together.extend(asker.await.unwrap());
    }
    let rate = together.len() as f64 / began.elapsed().as_secs_f64();
    let what = format!("{TOGETHER} questions in flight");
    figure("bus", &what, "answers/s", &[("", rate)], None);
    times("bus", &format!("{what}: question and answer"), &mut together, None);

    let event = NodeEvent::SessionEnded(SessionId::new());
    let began = Instant::now();
    for _ in 0..TELLS {
        while a.send(b.me(), &event).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await; // the outbox is full
        }
    }
    while heard.0.load(Ordering::Relaxed) < TELLS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let rate = TELLS as f64 / began.elapsed().as_secs_f64();
    figure("bus", "events told to one node and heard", "/s", &[("", rate)], None);
}
