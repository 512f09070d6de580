//! What clients come over: datagrams, connections, and connections inside TLS; and what peers send.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::Abortable;
use futures_util::stream::FuturesUnordered;
use metrics::counter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::client::UNAUTHENTICATED_TIMEOUT;
use super::clients::TurnClients;
use super::context::SocketReader;
use super::five_tuple::{ClientPath, ClientTransport, FiveTuple};
use super::message::{MAX_MESSAGE_BYTES, length};
use crate::telemetry::metrics::TURN_DROPPED;

/// Datagrams that are read before others get their turn.
const MAX_READS_PER_WAKE: usize = 64;
/// Frames that may wait for a slow connection.
const QUEUE: usize = 256;
/// Connections without an allocation; more are refused.
const MAX_UNAUTHENTICATED_CONNECTIONS: usize = 512;
/// How long a TLS handshake may take.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Now; the relays themselves have no clock.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Takes datagrams of clients, for ever.
pub(super) async fn datagrams(clients: Rc<TurnClients>, socket: UdpSocket) {
    let socket = Rc::new(socket);
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    loop {
        let ready = socket.readable().await;
        if let Err(error) = ready {
            tracing::warn!(%error, "TURN socket error");
        }
        for _ in 0..MAX_READS_PER_WAKE {
            let Ok((count, remote)) = socket.try_recv_from(&mut buffer) else { break };
            let line = FiveTuple { carrier: ClientTransport::Udp, remote };
            let way = ClientPath::Datagrams(Rc::clone(&socket), remote);
            if let Some(packet) = buffer.get(..count) {
                clients.receive(now(), line, &way, packet);
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Takes what peers send to the sockets that clients open, for ever.
pub(super) async fn ports(
    clients: Rc<TurnClients>,
    mut new: mpsc::UnboundedReceiver<SocketReader>,
) {
    let buffer = RefCell::new(vec![0; MAX_MESSAGE_BYTES]);
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(SocketReader { line, relayed, socket, until }) = new.recv() => {
                open.push(Abortable::new(hear(&clients, &buffer, (line, relayed), socket), until));
            }
            Some(_) = open.next(), if !open.is_empty() => {}
            else => return,
        }
    }
}

async fn hear(
    clients: &TurnClients,
    buffer: &RefCell<Vec<u8>>,
    (line, relayed): (FiveTuple, SocketAddr),
    socket: Rc<UdpSocket>,
) {
    loop {
        // An error is what a peer's machine said of an earlier datagram, and is over once it is read.
        let _ = socket.readable().await;
        read(clients, &mut buffer.borrow_mut(), (line, relayed), &socket);
        tokio::task::yield_now().await;
    }
}

/// Reads what is there, up to a burst.
fn read(
    clients: &TurnClients,
    buffer: &mut [u8],
    (line, relayed): (FiveTuple, SocketAddr),
    socket: &UdpSocket,
) {
    for _ in 0..MAX_READS_PER_WAKE {
        let (count, peer) = match socket.try_recv_from(buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(_) => continue,
        };
        if let Some(packet) = buffer.get(..count) {
            clients.heard(now(), line, (peer, relayed), packet);
        }
    }
}

/// Takes connections, for ever; `most` of them may have an allocation.
pub(super) async fn connections(
    clients: Rc<TurnClients>,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    most: usize,
) {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(_) if open.len() >= most + MAX_UNAUTHENTICATED_CONNECTIONS => {
                    counter!(TURN_DROPPED, "reason" => "connections").increment(1);
                }
                Ok((stream, remote)) => {
                    open.push(connection(&clients, stream, remote, tls.clone()));
                }
                // Out of files: the pause lets others close theirs.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(()) = open.next(), if !open.is_empty() => {}
        }
    }
}

async fn connection(
    clients: &TurnClients,
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
) {
    let _ = stream.set_nodelay(true); // only a matter of speed
    let Some(tls) = tls else {
        return carry(clients, stream, FiveTuple { carrier: ClientTransport::Tcp, remote }).await;
    };
    let handshake = TlsAcceptor::from(tls).accept(stream);
    if let Ok(Ok(stream)) = tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, handshake).await {
        carry(clients, stream, FiveTuple { carrier: ClientTransport::Tls, remote }).await;
    }
}

async fn carry(clients: &TurnClients, stream: impl AsyncRead + AsyncWrite, line: FiveTuple) {
    let (reader, writer) = tokio::io::split(stream);
    let (queue, waiting) = mpsc::channel(QUEUE);
    let way = ClientPath::Connection(queue);
    tokio::select! {
        () = receive(clients, reader, line, &way) => {}
        () = transmit(writer, waiting) => {}
        () = unused(clients, line) => {}
    }
    clients.forget(line);
}

/// Ends when a look finds no allocation.
async fn unused(clients: &TurnClients, line: FiveTuple) {
    loop {
        tokio::time::sleep(UNAUTHENTICATED_TIMEOUT).await;
        if clients.is_stranger(line) {
            return;
        }
    }
}

/// Cuts what comes into messages, until the end or until it is no message.
async fn receive(
    clients: &TurnClients,
    mut reader: impl AsyncRead + Unpin,
    line: FiveTuple,
    way: &ClientPath,
) {
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    let mut held = 0;
    loop {
        let Some(room) = buffer.get_mut(held..) else { return };
        match reader.read(room).await {
            Ok(count) if count > 0 => held += count,
            _ => return,
        }
        let mut done = 0;
        while let Some(rest) = buffer.get(done..held) {
            let Ok(length) = length(rest) else { return };
            let Some(message) = length.and_then(|length| rest.get(..length)) else { break };
            clients.receive(now(), line, way, message);
            done += message.len();
        }
        buffer.copy_within(done..held, 0);
        held -= done;
    }
}

async fn transmit(mut writer: impl AsyncWrite + Unpin, mut waiting: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = waiting.recv().await {
        if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}
