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
    tells_arrive_once_and_in_order,
    what_is_published_reaches_all_others_and_not_oneself,
    a_question_is_answered_by_the_one_who_is_asked,
    a_question_that_is_not_understood_or_takes_too_long_ends_in_time,
    where_nobody_is_is_said_at_once,
    a_node_that_was_cut_off_hears_that_it_missed_something,
}

/// An event with a number in it.
fn numbered() -> (SessionId, NodeEvent) {
    let id = SessionId::new();
    (id, NodeEvent::Lost(id))
}

async fn tells_arrive_once_and_in_order(cable: Cable) {
    let (a, b) = (cable.node().await, cable.node().await);

    let mut told = Vec::new();
    for n in 0..1000 {
        let (id, event) = numbered();
        if n % 7 == 0 { a.bus.publish(&event) } else { a.bus.tell(b.id(), &event) }.unwrap();
        told.push(id);
    }

    soon("all is heard", b.ear.until(|ear| ear.lost(a.id()).len() >= told.len())).await;
    assert_eq!(b.ear.lost(a.id()), told);
}

async fn what_is_published_reaches_all_others_and_not_oneself(cable: Cable) {
    let nodes = [cable.node().await, cable.node().await, cable.node().await];

    let (id, event) = numbered();
    nodes[0].bus.publish(&event).unwrap();

    for other in &nodes[1..] {
        soon("it is heard", other.ear.until(|ear| ear.lost(nodes[0].id()) == [id])).await;
    }
    // A word to oneself is behind it.
    let (own, event) = numbered();
    nodes[1].bus.tell(nodes[0].id(), &event).unwrap();
    soon("it is heard", nodes[0].ear.until(|ear| ear.lost(nodes[1].id()) == [own])).await;
    assert!(nodes[0].ear.lost(nodes[0].id()).is_empty());
}

async fn a_question_is_answered_by_the_one_who_is_asked(cable: Cable) {
    let (a, b) = (cable.node().await, cable.node().await);

    let asks = (0..200).map(|_| a.bus.ask(b.id(), &NodeRequest::Ping, Duration::from_secs(5)));
    let answers = soon("all are answered", futures_util::future::join_all(asks)).await;

    for answer in answers {
        assert_eq!(answer, Ok(format!("\"{} asked\"", a.id())));
    }
    assert_eq!(b.ear.asked(), 200);
}

async fn a_question_that_is_not_understood_or_takes_too_long_ends_in_time(cable: Cable) {
    let (a, b) = (cable.node().await, cable.node().await);
    let patience = Duration::from_millis(300);
    let began = std::time::Instant::now();

    let late = a.bus.ask(b.id(), &NodeRequest::Snapshot, patience).await; // is never answered
    assert_eq!(late, Err(BusError::Timeout));
    assert!((patience..patience * 4).contains(&began.elapsed()), "{:?}", began.elapsed());

    let unknown = a.bus.ask(b.id(), &NodeRequest::Drain, Duration::from_secs(60));
    assert_eq!(soon("it is refused", unknown).await, Err(BusError::Timeout));
}

async fn where_nobody_is_is_said_at_once(cable: Cable) {
    let (a, b) = (cable.node().await, cable.node().await);
    let nobody = NodeId::new();

    let asked = a.bus.ask(nobody, &NodeRequest::Ping, Duration::from_secs(60));
    assert_eq!(soon("it is known", asked).await, Err(BusError::NoRoute));
    assert_eq!(a.bus.probe(nobody).await, Ok(false));
    assert_eq!(a.bus.probe(b.id()).await, Ok(true));
    a.bus.tell(nobody, &numbered().1).unwrap();
    soon("it is said", a.ear.until(|ear| ear.unreachable(nobody))).await;

    let gone = b.id();
    drop(b);
    soon("it is known", async {
        while a.bus.probe(gone).await != Ok(false) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    a.bus.tell(gone, &numbered().1).unwrap();
    soon("it is said", a.ear.until(|ear| ear.unreachable(gone))).await;
}

async fn a_node_that_was_cut_off_hears_that_it_missed_something(cable: Cable) {
    let (a, b) = (cable.node().await, cable.node().await);
    assert_eq!(b.ear.missed(), 0);

    cable.cut(&b).await;
    cable.mend(&b).await;

    soon("it is said", b.ear.until(|ear| ear.missed() > 0)).await;
    soon("the bus is up", b.is_up()).await;
    let (id, event) = numbered();
    a.bus.tell(b.id(), &event).unwrap();
    soon("it is heard", b.ear.until(|ear| ear.lost(a.id()).contains(&id))).await;
}
