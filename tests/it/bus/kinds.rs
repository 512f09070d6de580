//! Nodes on a bus of either kind, and what they heard.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::ids::{NodeId, SessionId};
use base::secret::Secret;
use securevox::cluster::amqp::{AmqpBus, AmqpConfig};
use securevox::cluster::{BoxFuture, Bus, BusHandler, BusState, InProcessBus};
use securevox::protocol::cluster::{NodeEvent, NodeRequest};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::proxy::Proxy;
use crate::support::{broker, soon};

/// What nodes are plugged into.
pub enum Cable {
    Local(InProcessBus),
    Rabbit(u16),
}

/// What a node is plugged in with.
pub enum Over {
    Local(InProcessBus),
    Rabbit(Proxy, [JoinHandle<()>; 2]),
}

/// A node.
pub struct Node {
    pub bus: Arc<dyn Bus>,
    pub ear: Arc<Ear>,
    pub over: Over,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Over::Rabbit(_, drivers) = &self.over {
            drivers.iter().for_each(JoinHandle::abort);
        }
    }
}

impl Cable {
    pub fn local() -> Self {
        Self::Local(InProcessBus::default())
    }

    pub fn rabbit() -> Option<Self> {
        let url = broker::shared()?;
        let port = url.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok());
        Some(Self::Rabbit(port.expect("an address with a port")))
    }

    /// One more node, when it is up.
    pub async fn node(&self) -> Node {
        let node = self.plug(1000).await;
        soon("the bus is up", node.is_up()).await;
        node
    }

    /// One more node, in whose outbox so much may wait.
    pub async fn plug(&self, outbox: usize) -> Node {
        let ear = Arc::new(Ear::default());
        let me = NodeId::new();
        match self {
            Self::Local(hub) => {
                let bus = hub.connect(me);
                bus.set_handler(ear.clone());
                Node { bus: Arc::new(bus), ear, over: Over::Local(hub.clone()) }
            }
            Self::Rabbit(port) => {
                let proxy = Proxy::to(*port).await;
                let url = format!("amqp://guest:guest@127.0.0.1:{}", proxy.port());
                let url = Secret::new(url);
                let name = "story".to_owned();
                let settings = AmqpConfig {
                    url,
                    ca_pem: None,
                    name,
                    outbox_capacity: outbox,
                    queue_max_length: 10_000,
                };
                let bus = AmqpBus::new(me, settings).expect("an address");
                bus.set_handler(ear.clone());
                let drivers = drive(&bus);
                Node { bus: Arc::new(bus), ear, over: Over::Rabbit(proxy, drivers) }
            }
        }
    }

    /// Cuts a node off; over RabbitMQ it comes back by itself.
    pub async fn cut(&self, node: &Node) {
        match &node.over {
            Over::Local(hub) => hub.set_state(node.id(), BusState::Down),
            Over::Rabbit(proxy, _) => {
                proxy.cut();
                let down = async { node.until_state(BusState::Down).await };
                soon("the bus is down", down).await;
            }
        }
    }

    pub async fn mend(&self, node: &Node) {
        if let Over::Local(hub) = &node.over {
            hub.set_state(node.id(), BusState::Up);
        }
    }
}

/// Runs both drivers as long as the handles are not aborted.
fn drive(bus: &AmqpBus) -> [JoinHandle<()>; 2] {
    let pause = || tokio::time::sleep(Duration::from_millis(100));
    let (out, into) = (bus.clone(), bus.clone());
    let publisher = async move {
        loop {
            out.publisher().await;
            pause().await;
        }
    };
    let consumer = async move {
        loop {
            into.consumer().await;
            pause().await;
        }
    };
    [tokio::spawn(publisher), tokio::spawn(consumer)]
}

impl Node {
    pub fn id(&self) -> NodeId {
        self.bus.me()
    }

    pub fn proxy(&self) -> &Proxy {
        match &self.over {
            Over::Rabbit(proxy, _) => proxy,
            Over::Local(_) => panic!("no proxy within a process"),
        }
    }

    pub async fn is_up(&self) {
        self.until_state(BusState::Up).await;
    }

    pub async fn until_state(&self, state: BusState) {
        self.bus.state().wait_for(|now| *now == state).await.expect("the bus lives");
    }
}

/// What a node heard.
pub struct Ear {
    heard: Mutex<Heard>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Heard {
    events: Vec<(NodeId, NodeEvent)>,
    missed: usize,
    unreachable: Vec<NodeId>,
    asked: usize,
}

impl Default for Ear {
    fn default() -> Self {
        Self { heard: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Ear {
    fn note(&self, note: impl FnOnce(&mut Heard)) {
        note(&mut self.heard.lock().unwrap());
        self.changed.send_replace(());
    }

    /// Waits until something is true of what was heard.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        while !holds(self) {
            changed.changed().await.unwrap();
        }
    }

    /// The sessions that were said to be lost.
    pub fn lost(&self, by: NodeId) -> Vec<SessionId> {
        let heard = self.heard.lock().unwrap();
        let of = |(from, event): &(NodeId, NodeEvent)| match event {
            NodeEvent::SessionEnded(id) if *from == by => Some(*id),
            _ => None,
        };
        heard.events.iter().filter_map(of).collect()
    }

    /// The first that was heard of somebody is "look into the database".
    pub fn first_is_resync(&self, by: NodeId) -> bool {
        let heard = self.heard.lock().unwrap();
        let first = heard.events.iter().find(|(from, _)| *from == by);
        matches!(first, Some((_, NodeEvent::Resync)))
    }

    pub fn missed(&self) -> usize {
        self.heard.lock().unwrap().missed
    }

    pub fn unreachable(&self, node: NodeId) -> bool {
        self.heard.lock().unwrap().unreachable.contains(&node)
    }

    pub fn asked(&self) -> usize {
        self.heard.lock().unwrap().asked
    }
}

/// What every node does: it answers pings at once, what is gone after two seconds, snapshots never,
/// and does not understand the rest.
impl BusHandler for Ear {
    fn on_event(&self, from: NodeId, event: NodeEvent) {
        self.note(|heard| heard.events.push((from, event)));
    }

    fn handle_request(
        &self,
        from: NodeId,
        request: NodeRequest,
    ) -> BoxFuture<'static, Option<String>> {
        self.note(|heard| heard.asked += 1);
        match request {
            NodeRequest::Ping => Box::pin(std::future::ready(Some(format!("\"{from} asked\"")))),
            NodeRequest::FindEndedSessions(_) => Box::pin(async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Some("[]".to_owned())
            }),
            NodeRequest::Snapshot => Box::pin(std::future::pending()),
            _ => Box::pin(std::future::ready(None)),
        }
    }

    fn on_events_lost(&self) {
        self.note(|heard| heard.missed += 1);
    }

    fn on_unreachable(&self, node: NodeId) {
        self.note(|heard| heard.unreachable.push(node));
    }
}
