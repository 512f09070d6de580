//! The bus over a RabbitMQ that is killed, frozen, out of memory or behind a silent network.

use std::time::{Duration, Instant};

use base::ids::{NodeId, SessionId, UserId};
use base::secret::Secret;
use futures_util::future::join_all;
use securevox::cluster::amqp::{AmqpBus, AmqpConfig};
use securevox::cluster::{BusError, BusState};
use securevox::protocol::cluster::{DeliverToUsers, NodeEvent, NodeRequest, Priority, RawEvent};

use super::kinds::Node;
use super::{Cable, numbered};
use crate::support::broker::{Broker, free_port};
use crate::support::certificates::Certificates;
use crate::support::soon;

const PATIENCE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bus_request_across_reconnect_is_handled_once() {
    let Some(cable) = Cable::rabbit() else { return };
    let (a, b) = (cable.node().await, cable.node().await);

    let request = NodeRequest::FindEndedSessions(vec![(UserId::new(), SessionId::new())]); // takes 2 s
    let asking = a.bus.request(b.id(), &request, Duration::from_secs(15));
    let breaking = async {
        b.ear.until(|ear| ear.asked() == 1).await;
        a.proxy().cut();
    };
    let (answer, ()) = soon("it is answered", futures_util::future::join(asking, breaking)).await;

    assert_eq!(answer, Ok("[]".to_owned()));
    assert_eq!(b.ear.asked(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bus_recovers_and_resyncs_after_silent_partition() {
    let Some(cable) = Cable::rabbit() else { return };
    let (a, b) = (cable.node().await, cable.node().await);

    a.proxy().swallow();
    let began = Instant::now();
    let asked = a.bus.request(b.id(), &NodeRequest::Ping, PATIENCE).await;
    assert_eq!(asked, Err(BusError::Timeout));
    soon("it is noticed", a.until_state(BusState::Down)).await;
    soon("nothing is taken any more", nothing_is_taken(&a, &b)).await;
    let noticed = began.elapsed();
    a.proxy().heal();
    let began = Instant::now();
    soon("the bus is up", a.is_up()).await;

    assert!(noticed < Duration::from_secs(13), "noticed after {noticed:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "healed after {:?}", began.elapsed());
    println!("silence was noticed after {noticed:?}, mended after {:?}", began.elapsed());
    soon("it is said", a.ear.until(|ear| ear.missed() > 0)).await;
    soon("it is said", b.ear.until(|ear| ear.first_is_resync(a.id()))).await;
    for (one, other) in [(&a, &b), (&b, &a)] {
        let asked = one.bus.request(other.id(), &NodeRequest::Ping, PATIENCE).await;
        assert!(asked.is_ok(), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bus_reconnects_after_broker_is_killed() {
    let Some(mut broker) = Broker::start().await else { return };
    let cable = Cable::Rabbit(broker.port());
    let (a, b) = (cable.node().await, cable.node().await);
    let (_, event) = numbered();
    a.bus.send(b.id(), &event).unwrap();
    soon("it is heard", b.ear.until(|ear| ear.lost(a.id()).len() == 1)).await;

    broker.kill();
    soon("it is noticed", a.until_state(BusState::Down)).await;
    soon("nothing is taken any more", nothing_is_taken(&a, &b)).await;
    let asked = a.bus.request(b.id(), &NodeRequest::Ping, Duration::from_secs(60));
    assert_eq!(soon("it is refused", asked).await, Err(BusError::Disconnected));
    broker.begin().await;

    soon("the bus is up", a.is_up()).await;
    soon("the bus is up", b.is_up()).await;
    for node in [&a, &b] {
        soon("it is said", node.ear.until(|ear| ear.missed() > 0)).await;
    }
    let asked = a.bus.request(b.id(), &NodeRequest::Ping, Duration::from_secs(5)).await;
    assert!(asked.is_ok(), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bus_reconnects_after_broker_is_frozen() {
    let Some(broker) = Broker::start().await else { return };
    let cable = Cable::Rabbit(broker.port());
    let (a, b) = (cable.node().await, cable.node().await);

    broker.signal("STOP");
    let asked = soon("it ends", a.bus.request(b.id(), &NodeRequest::Ping, PATIENCE)).await;
    assert_eq!(asked, Err(BusError::Timeout));
    soon("it is noticed", a.until_state(BusState::Down)).await;
    broker.signal("CONT");

    soon("the bus is up", a.is_up()).await;
    soon("the bus is up", b.is_up()).await;
    let asked = a.bus.request(b.id(), &NodeRequest::Ping, Duration::from_secs(5)).await;
    assert!(asked.is_ok(), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocked_broker_sheds_load_by_urgency_without_hanging() {
    let Some(broker) = Broker::start().await else { return };
    let cable = Cable::Rabbit(broker.port());
    let (a, b) = (cable.plug(16).await, cable.node().await);
    soon("the bus is up", a.is_up()).await;

    broker.control(&["set_vm_memory_high_watermark", "absolute", "1"]).await;
    let (_, event) = numbered();
    let _ = a.bus.send(b.id(), &event); // the broker says so when something comes
    soon("it is noticed", a.until_state(BusState::Blocked)).await;
    let began = Instant::now();
    let asks = (0..50).map(|_| a.bus.request(b.id(), &NodeRequest::Ping, PATIENCE));
    for answer in join_all(asks).await {
        assert!(matches!(answer, Err(BusError::Overloaded | BusError::Timeout)), "{answer:?}");
    }
    assert!(began.elapsed() < 3 * PATIENCE, "{:?}", began.elapsed());
    // The least urgent is shed first, the most urgent last.
    let room = |urgency| (0..64).filter(|_| a.bus.send(b.id(), &of(urgency)).is_ok()).count();
    assert_eq!((room(Priority::Low), room(Priority::Normal), room(Priority::High)), (0, 12, 4));

    broker.control(&["set_vm_memory_high_watermark", "0.9"]).await;
    soon("the bus is up", a.is_up()).await;
    let asked = a.bus.request(b.id(), &NodeRequest::Ping, Duration::from_secs(5)).await;
    assert!(asked.is_ok(), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn untrusted_broker_certificate_is_rejected() {
    let (files, port) = (Certificates::make(), free_port());
    let config = format!(
        "listeners.ssl.default = {port}\nssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\nssl_options.keyfile = {}\nssl_options.verify = verify_none\n",
        files.path("ca.pem"),
        files.path("server.crt"),
        files.path("server.key"),
    );
    let Some(_broker) = Broker::with(&config).await else { return };
    let reach = async |authorities: Option<String>| {
        let settings = AmqpConfig {
            url: Secret::new(format!("amqps://guest:guest@localhost:{port}")),
            ca_pem: authorities,
            name: "story".to_owned(),
            outbox_capacity: 64,
            queue_max_length: 64,
        };
        AmqpBus::new(NodeId::new(), settings).unwrap().check_connection().await
    };

    // Its listeners open one after the other.
    soon("it lets us in", async {
        while reach(Some(files.root())).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(reach(None).await.is_err(), "nobody else knows that root");
}

/// Tells until that is refused: either way may be the first to notice.
async fn nothing_is_taken(by: &Node, to: &Node) {
    while by.bus.send(to.id(), &numbered().1) != Err(BusError::Disconnected) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An event of this urgency.
fn of(urgency: Priority) -> NodeEvent {
    let data = serde_json::value::RawValue::from_string("{}".to_owned()).unwrap();
    let event = RawEvent { name: "typing".to_owned(), data, position: None, message_seq: None };
    NodeEvent::Deliver(DeliverToUsers { to: Vec::new(), event, priority: urgency })
}
