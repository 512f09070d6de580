//! A node's end of the bus.

use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base::ids::NodeId;
use securevox::cluster::{BoxFuture, Bus, BusError, BusHandler, BusState};
use securevox::protocol::cluster::{NodeEvent, NodeRequest};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::broker::{FromBroker, HEARTBEAT, Inlet, ToBroker};
use super::post::{Letter, Wire};

/// Cheap to clone.
#[derive(Clone)]
pub struct Line(Arc<Inner>);

struct Inner {
    me: NodeId,
    wire: Wire,
    listener: OnceLock<Arc<dyn BusHandler>>,
    state: watch::Sender<BusState>,
    sent: Mutex<u64>,
    inlet: Mutex<Option<(u64, Inlet<FromBroker>)>>,
    heard: Mutex<Instant>,
}

impl Line {
    pub fn new(me: NodeId, wire: Wire) -> Self {
        Self(Arc::new(Inner {
            me,
            wire,
            listener: OnceLock::new(),
            state: watch::Sender::new(BusState::Down),
            sent: Mutex::default(),
            inlet: Mutex::default(),
            heard: Mutex::new(Instant::now()),
        }))
    }

    fn send(&self, frame: ToBroker) {
        let mut sent = self.0.sent.lock().unwrap();
        let letter = Letter::ToBroker { from: self.0.me, seq: *sent, frame };
        *sent += 1;
        self.0.wire.send("broker", letter);
    }

    fn is_up(&self) -> Result<(), BusError> {
        let up = *self.0.state.borrow() == BusState::Up;
        if up { Ok(()) } else { Err(BusError::Disconnected) }
    }

    /// A frame of the broker's. A queue of another number is a new connection.
    pub fn hear(&self, queue: u64, seq: u64, frame: FromBroker) {
        let mut inlet = self.0.inlet.lock().unwrap();
        *self.0.heard.lock().unwrap() = Instant::now();
        match &mut *inlet {
            Some((known, inlet)) if *known == queue => inlet.put(seq, frame),
            Some((known, _)) if *known > queue => return, // of a connection that is over
            _ => {
                let mut new = Inlet::new();
                new.put(seq, frame);
                *inlet = Some((queue, new));
                drop(inlet);
                if let Some(listener) = self.0.listener.get() {
                    listener.on_events_lost();
                }
                self.0.state.send_replace(BusState::Up);
                return self.turn();
            }
        }
        drop(inlet);
        self.0.state.send_replace(BusState::Up);
        self.turn();
    }

    fn turn(&self) {
        let Some(listener) = self.0.listener.get() else { return };
        loop {
            let frame = self.0.inlet.lock().unwrap().as_mut().and_then(|(_, inlet)| inlet.take());
            match frame {
                None => return,
                Some(Err(()) | Ok(FromBroker::Missed)) => listener.on_events_lost(),
                Some(Ok(FromBroker::Sign)) => {}
                Some(Ok(FromBroker::Told(from, event))) => listener.on_event(from, event),
                Some(Ok(FromBroker::Asked { from, ask, request })) => {
                    let (line, answer) = (self.clone(), listener.handle_request(from, request));
                    tokio::task::spawn_local(async move {
                        let answer = answer.await;
                        line.send(ToBroker::Answer { to: from, ask, answer });
                    });
                }
                Some(Ok(FromBroker::Answered { ask, answer })) => {
                    let answer = answer.ok_or(BusError::Timeout);
                    self.0.wire.answered(ask, Box::new(answer));
                }
                Some(Ok(FromBroker::Probed { ask, there })) => {
                    self.0.wire.answered(ask, Box::new(there));
                }
                Some(Ok(FromBroker::NoRoute { node, ask: None })) => listener.on_unreachable(node),
                Some(Ok(FromBroker::NoRoute { ask: Some(ask), .. })) => {
                    self.0
                        .wire
                        .answered(ask, Box::new(Err::<String, _>(BusError::NodeUnreachable)));
                }
            }
        }
    }

    /// To be called every [`super::broker::SIGN`].
    pub fn sign(&self) {
        if self.0.heard.lock().unwrap().elapsed() > HEARTBEAT {
            self.0.state.send_replace(BusState::Down);
        }
        self.send(ToBroker::Sign);
        self.turn();
    }

    async fn ask<T: 'static>(
        &self,
        patience: Duration,
        frame: impl FnOnce(u64) -> ToBroker,
    ) -> Result<T, BusError> {
        self.is_up()?;
        let (ask, answer) = self.0.wire.ask();
        self.send(frame(ask));
        let answer: Result<Box<dyn Any + Send>, _> =
            timeout(patience, answer).await.map_err(|_| BusError::Timeout)?;
        let answer = answer.map_err(|_| BusError::Timeout)?;
        Ok(*answer.downcast().expect("the answer to this question"))
    }
}

impl Bus for Line {
    fn me(&self) -> NodeId {
        self.0.me
    }

    fn send(&self, to: NodeId, event: &NodeEvent) -> Result<(), BusError> {
        self.is_up()?;
        self.send(ToBroker::Tell(to, event.clone()));
        Ok(())
    }

    fn publish(&self, event: &NodeEvent) -> Result<(), BusError> {
        self.is_up()?;
        self.send(ToBroker::Publish(event.clone()));
        Ok(())
    }

    fn request<'a>(
        &'a self,
        to: NodeId,
        request: &'a NodeRequest,
        patience: Duration,
    ) -> BoxFuture<'a, Result<String, BusError>> {
        let request = request.clone();
        Box::pin(async move {
            let frame = |ask| ToBroker::Ask { to, ask, request };
            Line::ask::<Result<String, BusError>>(self, patience, frame).await?
        })
    }

    fn probe(&self, node: NodeId) -> BoxFuture<'_, Result<bool, BusError>> {
        Box::pin(Line::ask(self, HEARTBEAT, move |ask| ToBroker::Probe { ask, node }))
    }

    fn set_handler(&self, listener: Arc<dyn BusHandler>) {
        let _ = self.0.listener.set(listener); // once
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.0.state.subscribe()
    }
}
