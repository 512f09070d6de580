//! The bus within one process: the default with a single node; tests connect several nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use base::ids::NodeId;
use tokio::sync::watch;

use super::bus::{Bus, BusError, BusHandler, BusState};
use super::cache::BoxFuture;
use crate::protocol::cluster::{NodeEvent, NodeRequest};

/// Connects the nodes of one process; cheap to clone.
#[derive(Clone, Default)]
pub struct InProcessBus(Arc<Mutex<HashMap<NodeId, Arc<InProcessEndpoint>>>>);

struct InProcessEndpoint {
    handler: OnceLock<Arc<dyn BusHandler>>,
    state: watch::Sender<BusState>,
}

/// One node's connection to the in-process bus.
pub struct InProcessNodeBus {
    hub: InProcessBus,
    me: NodeId,
    endpoint: Arc<InProcessEndpoint>,
}

impl InProcessBus {
    /// Connects the node `me` to the others.
    pub fn connect(&self, me: NodeId) -> InProcessNodeBus {
        let endpoint = Arc::new(InProcessEndpoint {
            handler: OnceLock::new(),
            state: watch::Sender::new(BusState::Up),
        });
        self.endpoints().insert(me, endpoint.clone());
        InProcessNodeBus { hub: self.clone(), me, endpoint }
    }

    /// Disconnects a node or connects it again: then it and all others are told that they may have
    /// missed events.
    pub fn set_state(&self, node: NodeId, state: BusState) {
        let endpoints: Vec<_> = self.endpoints().iter().map(|(id, s)| (*id, s.clone())).collect();
        for (id, endpoint) in &endpoints {
            if *id == node {
                endpoint.state.send_replace(state);
            }
        }
        if state == BusState::Up {
            for handler in endpoints.iter().filter_map(|(_, endpoint)| endpoint.handler.get()) {
                handler.on_events_lost();
            }
        }
    }

    fn endpoints(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<InProcessEndpoint>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handler of a node that can be reached.
    fn handler_of(&self, to: NodeId) -> Result<Arc<dyn BusHandler>, BusError> {
        let endpoint = self.endpoints().get(&to).cloned().ok_or(BusError::NodeUnreachable)?;
        if *endpoint.state.borrow() != BusState::Up {
            return Err(BusError::Timeout); // the broker queues it for a node that does not fetch it
        }
        endpoint.handler.get().cloned().ok_or(BusError::NodeUnreachable)
    }
}

impl Drop for InProcessNodeBus {
    fn drop(&mut self) {
        self.hub.endpoints().remove(&self.me);
    }
}

impl InProcessNodeBus {
    fn is_up(&self) -> Result<(), BusError> {
        let is_up = *self.endpoint.state.borrow() == BusState::Up;
        if is_up { Ok(()) } else { Err(BusError::Disconnected) }
    }
}

/// Serialises and parses a message, so that one which would not survive a real bus fails here too.
#[cfg(debug_assertions)]
fn round_trip<T: serde::Serialize + serde::de::DeserializeOwned>(message: &T) -> T {
    #[expect(
        clippy::expect_used,
        reason = "a message that cannot be serialised must be found in tests"
    )]
    let text = serde_json::to_string(message).expect("a message between nodes can be serialised");
    #[expect(clippy::expect_used, reason = "as above")]
    serde_json::from_str(&text).expect("a message between nodes can be parsed")
}

#[cfg(not(debug_assertions))]
fn round_trip<T: Clone>(message: &T) -> T {
    what.clone()
}

impl Bus for InProcessNodeBus {
    fn me(&self) -> NodeId {
        self.me
    }

    fn send(&self, to: NodeId, event: &NodeEvent) -> Result<(), BusError> {
        self.is_up()?;
        match self.hub.handler_of(to) {
            Ok(handler) => handler.on_event(self.me, round_trip(event)),
            Err(BusError::NodeUnreachable) => {
                if let Some(own) = self.endpoint.handler.get() {
                    own.on_unreachable(to);
                }
            }
            Err(_) => {} // lost; the receiver is told to resync when it is connected again
        }
        Ok(())
    }

    fn publish(&self, event: &NodeEvent) -> Result<(), BusError> {
        self.is_up()?;
        let peers: Vec<_> =
            self.hub.endpoints().keys().copied().filter(|n| *n != self.me).collect();
        for node in peers {
            self.send(node, event)?;
        }
        Ok(())
    }

    fn request<'a>(
        &'a self,
        to: NodeId,
        request: &'a NodeRequest,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<String, BusError>> {
        Box::pin(async move {
            self.is_up()?;
            let reply = self.hub.handler_of(to)?.handle_request(self.me, round_trip(request));
            match tokio::time::timeout(timeout, reply).await {
                Ok(Some(reply)) => Ok(reply),
                Ok(None) | Err(_) => Err(BusError::Timeout),
            }
        })
    }

    fn probe(&self, node: NodeId) -> BoxFuture<'_, Result<bool, BusError>> {
        Box::pin(async move {
            self.is_up()?;
            Ok(self.hub.endpoints().contains_key(&node))
        })
    }

    fn set_handler(&self, handler: Arc<dyn BusHandler>) {
        let _ = self.endpoint.handler.set(handler); // set once, by the composition root
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.endpoint.state.subscribe()
    }
}
