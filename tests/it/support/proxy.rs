//! A TCP proxy between a node and a server: it can be cut, and it can swallow everything silently.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How a network is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Fine,
    /// What comes from the client waits.
    Slow,
    /// Everything is taken and nothing passed on.
    BlackHole,
    /// Nobody is let in.
    Closed,
}

/// The proxy; it ends with this.
pub struct Proxy {
    port: u16,
    network: watch::Sender<Network>,
    /// Each new number ends the connections made before.
    cuts: watch::Sender<u64>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A proxy to the server on this port.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let (network, cuts) = (watch::Sender::new(Network::Fine), watch::Sender::new(0));
        let (networks, cutting) = (network.subscribe(), cuts.subscribe());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (networks, cutting) = (networks.clone(), cutting.clone());
                tokio::spawn(carry(client, port, networks, cutting));
            }
        });
        Self { port: own, network, cuts, accepting }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections; new ones are welcome.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Ends all connections, and every new one at once.
    pub fn close(&self) {
        self.network.send_replace(Network::Closed);
        self.cut();
    }

    /// From now on nothing passes, and nobody is told.
    pub fn swallow(&self) {
        self.network.send_replace(Network::BlackHole);
    }

    /// From now on what comes from the client waits until the network is fine.
    pub fn hold(&self) {
        self.network.send_replace(Network::Slow);
    }

    /// The network is back. What was swallowed stays so: connections of then are of no use.
    pub fn heal(&self) {
        self.network.send_replace(Network::Fine);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn carry(
    client: TcpStream,
    port: u16,
    network: watch::Receiver<Network>,
    mut cuts: watch::Receiver<u64>,
) {
    cuts.mark_unchanged();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    if *network.borrow() == Network::Closed {
        return;
    }
    let Ok(server) = TcpStream::connect(address).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = pass(&mut from_client, &mut to_server, network.clone(), true);
    let back = pass(&mut from_server, &mut to_client, network, false);
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = cuts.changed() => {}
    }
}

async fn pass(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut network: watch::Receiver<Network>,
    waits: bool,
) {
    let mut bytes = vec![0; 16 * 1024];
    let mut swallowed = false;
    while let Ok(count) = from.read(&mut bytes).await {
        if waits && network.wait_for(|now| *now != Network::Slow).await.is_err() {
            return;
        }
        swallowed |= *network.borrow() == Network::BlackHole;
        match (swallowed, count) {
            (true, 0) => std::future::pending().await, // the end is swallowed as well
            (true, _) => {}
            (false, 0) => return,
            (false, count) => {
                if to.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
