//! Datagrams through turmoil's network. What travels is a ticket; the letter waits for whoever
//! comes with it, and one that was lost on the way is never asked for.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use base::ids::NodeId;
use tokio::sync::oneshot;
use turmoil::net::UdpSocket;

use super::broker::{FromBroker, ToBroker};
use super::database::Database;

pub const PORT: u16 = 9000;

/// Something done in one transaction, and its answer.
pub type Deed = Box<dyn FnOnce(&mut Database) -> Box<dyn Any + Send> + Send>;

/// What a device says in a call.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Say {
    pub key: String,
    pub word: u64,
    /// Whoever handles it fails.
    pub bang: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Said {
    Done,
    /// Ask again.
    Moved,
}

pub enum Letter {
    Transact {
        ask: u64,
        deed: Deed,
    },
    Transacted {
        ask: u64,
        answer: Box<dyn Any + Send>,
    },
    /// A node's lock is a connection: it is free when it is not heard of.
    Lock(NodeId),
    Locked(NodeId),
    ToBroker {
        from: NodeId,
        seq: u64,
        frame: ToBroker,
    },
    FromBroker {
        /// Whose queue it is: another life of that host may be meant.
        to: NodeId,
        queue: u64,
        seq: u64,
        frame: FromBroker,
    },
    Say {
        ask: u64,
        say: Say,
    },
    Said {
        ask: u64,
        said: Said,
    },
}

/// All letters that are under way; cheap to clone.
#[derive(Clone, Default)]
pub struct Post(Arc<Mutex<(u64, HashMap<u64, Letter>)>>);

impl Post {
    fn number(&self) -> u64 {
        let mut post = self.0.lock().unwrap();
        post.0 += 1;
        post.0
    }
}

/// Who waits for which answer.
type Asks = HashMap<u64, oneshot::Sender<Box<dyn Any + Send>>>;

/// One host's box.
#[derive(Clone)]
pub struct Wire {
    post: Post,
    /// The host's software has it: when its process is killed, whoever else is left does not keep
    /// the port.
    socket: Weak<UdpSocket>,
    asks: Arc<Mutex<Asks>>,
}

impl Wire {
    pub async fn bind(post: Post) -> std::io::Result<(Self, Arc<UdpSocket>)> {
        let socket = Arc::new(UdpSocket::bind(("0.0.0.0", PORT)).await?);
        let wire = Self { post, socket: Arc::downgrade(&socket), asks: Arc::default() };
        Ok((wire, socket))
    }

    /// Sends; lost is lost.
    pub fn send(&self, to: &str, letter: Letter) {
        let ticket = self.post.number();
        self.post.0.lock().unwrap().1.insert(ticket, letter);
        if let Some(socket) = self.socket.upgrade() {
            let _ = socket.try_send_to(&ticket.to_be_bytes(), (to, PORT));
        }
    }

    /// The next letter, and the host that sent it.
    pub async fn next(&self) -> (String, Letter) {
        let Some(socket) = self.socket.upgrade() else { return std::future::pending().await };
        loop {
            let mut ticket = [0; 8];
            let (_, from) = socket.recv_from(&mut ticket).await.unwrap();
            let letter = self.post.0.lock().unwrap().1.remove(&u64::from_be_bytes(ticket));
            if let (Some(letter), Some(host)) = (letter, turmoil::reverse_lookup(from.ip())) {
                return (host, letter);
            }
        }
    }

    /// A question's number, and its answer.
    pub fn ask(&self) -> (u64, oneshot::Receiver<Box<dyn Any + Send>>) {
        // Of all lives: an answer to an earlier one may come late.
        let ask = self.post.number();
        let (reply, answer) = oneshot::channel();
        self.asks.lock().unwrap().insert(ask, reply);
        (ask, answer)
    }

    /// An answer came.
    pub fn answered(&self, ask: u64, answer: Box<dyn Any + Send>) {
        if let Some(reply) = self.asks.lock().unwrap().remove(&ask) {
            let _ = reply.send(answer); // too late
        }
    }
}
