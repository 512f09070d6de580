//! The bus: the same stories within a process and over RabbitMQ.

mod broken;
mod kinds;

use std::time::Duration;

use base::ids::{NodeId, SessionId};
use securevox::cluster::BusError;
use securevox::protocol::cluster::{NodeEvent, NodeRequest};

use self::kinds::Cable;
use crate::support::soon;

macro_rules! on_both_kinds {
    ($($story:ident),+ $(,)?) => {
        mod local {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                super::$story(super::Cable::local()).await;
            })+
        }
        mod rabbit {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                if let Some(cable) = super::Cable::rabbit() {
                    super::$story(cable).await;
                }
            })+
        }
    };
}

on_both_kinds! {
    bus_events_arrive_once_in_order,
    published_event_reaches_all_nodes_but_the_sender,
    bus_request_is_answered_by_addressed_node,
    unanswered_or_unsupported_request_ends_by_deadline,
    request_to_unknown_node_fails_with_no_route,
    reconnected_node_is_notified_to_resync,
}

/// An event with a number in it.
fn numbered() -> (SessionId, NodeEvent) {
    let id = SessionId::new();
    (id, NodeEvent::SessionEnded(id))
}

async fn bus_events_arrive_once_in_order(cable: Cable) {
    let (a, b) = (cable.node().await, cable.node().await);

    let mut told = Vec::new();
    for n in 0..1000 {
        let (id, event) = numbered();
        if n % 7 == 0 { a.bus.publish(&event) } else { a.bus.send(b.id(), &event) }.unwrap();
        told.push(id);
    }

    soon("all is heard", b.ear.until(|ear| ear.lost(a.id()).len() >= told.len())).await;
    assert_eq!(b.ear.lost(a.id()), told);
}

async fn published_event_reaches_all_nodes_but_the_sender(cable: Cable) {
    let nodes = [cable.node().await, cable.node().await, cable.node().await];

    let (id, event) = numbered();
    nodes[0].bus.publish(&event).unwrap();

    for other in &nodes[1..] {
        soon("it is heard", other.ear.until(|ear| ear.lost(nodes[0].id()) == [id])).await;
    }
    // A word to oneself is behind it.
    let (own, event) = numbered();
    nodes[1].bus.send(nodes[0].id(), &event).unwrap();
    soon("it is heard", nodes[0].ear.until(|ear| ear.lost(nodes[1].id()) == [own])).await;
    assert!(nodes[0].ear.lost(nodes[0].id()).is_empty());
}

async fn bus_request_is_answered_by_addressed_node(cable: Cable) {
    let (a, b) = (cable.node().await, cable.node().await);

    let asks = (0..200).map(|_| a.bus.request(b.id(), &NodeRequest::Ping, Duration::from_secs(5)));
    let answers = soon("all are answered", futures_util::future::join_all(asks)).await;

    for answer in answers {
        assert_eq!(answer, Ok(format!("\"{} asked\"", a.id())));
    }
    assert_eq!(b.ear.asked(), 200);
}

async fn unanswered_or_unsupported_request_ends_by_deadline(cable: Cable) {
    let (a, b) = (cable.node().await, cable.node().await);
    let patience = Duration::from_millis(300);
    let began = std::time::Instant::now();

    let late = a.bus.request(b.id(), &NodeRequest::Snapshot, patience).await; // is never answered
    assert_eq!(late, Err(BusError::Timeout));
    assert!((patience..patience * 4).contains(&began.elapsed()), "{:?}", began.elapsed());

    let unknown = a.bus.request(b.id(), &NodeRequest::Drain, Duration::from_secs(60));
    assert_eq!(soon("it is refused", unknown).await, Err(BusError::Timeout));
}

async fn request_to_unknown_node_fails_with_no_route(cable: Cable) {
    let (a, b) = (cable.node().await, cable.node().await);
    let nobody = NodeId::new();

    let asked = a.bus.request(nobody, &NodeRequest::Ping, Duration::from_secs(60));
    assert_eq!(soon("it is known", asked).await, Err(BusError::NodeUnreachable));
    assert_eq!(a.bus.probe(nobody).await, Ok(false));
    assert_eq!(a.bus.probe(b.id()).await, Ok(true));
    a.bus.send(nobody, &numbered().1).unwrap();
    soon("it is said", a.ear.until(|ear| ear.unreachable(nobody))).await;

    let gone = b.id();
    drop(b);
    soon("it is known", async {
        while a.bus.probe(gone).await != Ok(false) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    a.bus.send(gone, &numbered().1).unwrap();
    soon("it is said", a.ear.until(|ear| ear.unreachable(gone))).await;
}

async fn reconnected_node_is_notified_to_resync(cable: Cable) {
    let (a, b) = (cable.node().await, cable.node().await);
    assert_eq!(b.ear.missed(), 0);

    cable.cut(&b).await;
    cable.mend(&b).await;

    soon("it is said", b.ear.until(|ear| ear.missed() > 0)).await;
    soon("the bus is up", b.is_up()).await;
    let (id, event) = numbered();
    a.bus.send(b.id(), &event).unwrap();
    soon("it is heard", b.ear.until(|ear| ear.lost(a.id()).contains(&id))).await;
}
