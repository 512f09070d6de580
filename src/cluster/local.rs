//! The bus within one process: the default, with nobody else on it; in tests with several nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use base::ids::NodeId;
use tokio::sync::watch;

use super::bus::{Bus, BusError, BusHandler, BusState};
use super::cache::BoxFuture;
use crate::protocol::cluster::{NodeEvent, NodeRequest};

/// What the nodes of one process are plugged into; cheap to clone.
#[derive(Clone, Default)]
pub struct InProcessBus(Arc<Mutex<HashMap<NodeId, Arc<InProcessEndpoint>>>>);

struct InProcessEndpoint {
    listener: OnceLock<Arc<dyn BusHandler>>,
    state: watch::Sender<BusState>,
}

/// One node's end.
pub struct InProcessNodeBus {
    hub: InProcessBus,
    me: NodeId,
    socket: Arc<InProcessEndpoint>,
}

impl InProcessBus {
    /// Plugs a node in.
    pub fn plug(&self, me: NodeId) -> InProcessNodeBus {
        let socket = Arc::new(InProcessEndpoint {
            listener: OnceLock::new(),
            state: watch::Sender::new(BusState::Up),
        });
        self.sockets().insert(me, socket.clone());
        InProcessNodeBus { hub: self.clone(), me, socket }
    }

    /// Cuts a node off, or lets it in again: then it is told that it may have missed something,
    /// and so are all the others.
    pub fn set(&self, node: NodeId, state: BusState) {
        let sockets: Vec<_> = self.sockets().iter().map(|(id, s)| (*id, s.clone())).collect();
        for (id, socket) in &sockets {
            if *id == node {
                socket.state.send_replace(state);
            }
        }
        if state == BusState::Up {
            for listener in sockets.iter().filter_map(|(_, socket)| socket.listener.get()) {
                listener.missed();
            }
        }
    }

    fn sockets(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<InProcessEndpoint>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The listener of a node that can be reached.
    fn listener(&self, to: NodeId) -> Result<Arc<dyn BusHandler>, BusError> {
        let socket = self.sockets().get(&to).cloned().ok_or(BusError::NoRoute)?;
        if *socket.state.borrow() != BusState::Up {
            return Err(BusError::Timeout); // the broker keeps it for somebody who does not fetch it
        }
        socket.listener.get().cloned().ok_or(BusError::NoRoute)
    }
}

impl Drop for InProcessNodeBus {
    fn drop(&mut self) {
        self.hub.sockets().remove(&self.me);
    }
}

impl InProcessNodeBus {
    fn is_up(&self) -> Result<(), BusError> {
        let up = *self.socket.state.borrow() == BusState::Up;
        if up { Ok(()) } else { Err(BusError::Disconnected) }
    }
}

/// What would not survive a real bus fails here as well.
#[cfg(debug_assertions)]
fn travel<T: serde::Serialize + serde::de::DeserializeOwned>(what: &T) -> T {
    #[expect(clippy::expect_used, reason = "a message that cannot travel must be found in tests")]
    let text = serde_json::to_string(what).expect("a message between nodes serialises");
    #[expect(clippy::expect_used, reason = "as above")]
    serde_json::from_str(&text).expect("a message between nodes can be read")
}

#[cfg(not(debug_assertions))]
fn travel<T: Clone>(what: &T) -> T {
    what.clone()
}

impl Bus for InProcessNodeBus {
    fn me(&self) -> NodeId {
        self.me
    }

    fn tell(&self, to: NodeId, event: &NodeEvent) -> Result<(), BusError> {
        self.is_up()?;
        match self.hub.listener(to) {
            Ok(listener) => listener.hear(self.me, travel(event)),
            Err(BusError::NoRoute) => {
                if let Some(mine) = self.socket.listener.get() {
                    mine.unreachable(to);
                }
            }
            Err(_) => {} // lost; the receiver is told so when it is let in again
        }
        Ok(())
    }

    fn publish(&self, event: &NodeEvent) -> Result<(), BusError> {
        self.is_up()?;
        let others: Vec<_> = self.hub.sockets().keys().copied().filter(|n| *n != self.me).collect();
        for node in others {
            self.tell(node, event)?;
        }
        Ok(())
    }

    fn ask<'a>(
        &'a self,
        to: NodeId,
        request: &'a NodeRequest,
        patience: Duration,
    ) -> BoxFuture<'a, Result<String, BusError>> {
        Box::pin(async move {
            self.is_up()?;
            let answer = self.hub.listener(to)?.answer(self.me, travel(request));
            match tokio::time::timeout(patience, answer).await {
                Ok(Some(answer)) => Ok(answer),
                Ok(None) | Err(_) => Err(BusError::Timeout),
            }
        })
    }

    fn probe(&self, node: NodeId) -> BoxFuture<'_, Result<bool, BusError>> {
        Box::pin(async move {
            self.is_up()?;
            Ok(self.hub.sockets().contains_key(&node))
        })
    }

    fn listen(&self, listener: Arc<dyn BusHandler>) {
        let _ = self.socket.listener.set(listener); // set once, by the composition root
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.socket.state.subscribe()
    }
}
