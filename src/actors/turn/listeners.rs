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

use super::client::WELCOME;
use super::clients::Clients;
use super::context::Reading;
use super::five_tuple::{Carrier, Line, Way};
use super::message::{LONGEST, length};
use crate::telemetry::metrics::TURN_DROPPED;

/// Datagrams that are read before others get their turn.
const BURST: usize = 64;
/// Frames that may wait for a slow connection.
const QUEUE: usize = 256;
/// Connections without an allocation; more are refused.
const UNPROVEN: usize = 512;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Now; the relays themselves have no clock.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Takes datagrams of clients, for ever.
pub(super) async fn datagrams(clients: Rc<Clients>, socket: UdpSocket) {
    let socket = Rc::new(socket);
    let mut buffer = vec![0; LONGEST];
    loop {
        let ready = socket.readable().await;
        if let Err(error) = ready {
            tracing::warn!(%error, "the socket of TURN");
        }
        for _ in 0..BURST {
            let Ok((count, remote)) = socket.try_recv_from(&mut buffer) else { break };
            let line = Line { carrier: Carrier::Udp, remote };
            let way = Way::Datagrams(Rc::clone(&socket), remote);
            if let Some(packet) = buffer.get(..count) {
                clients.receive(now(), line, &way, packet);
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Takes what peers send to the sockets that clients open, for ever.
pub(super) async fn ports(clients: Rc<Clients>, mut new: mpsc::UnboundedReceiver<Reading>) {
    let buffer = RefCell::new(vec![0; LONGEST]);
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(Reading { line, relayed, socket, until }) = new.recv() => {
                open.push(Abortable::new(hear(&clients, &buffer, (line, relayed), socket), until));
            }
            Some(_) = open.next(), if !open.is_empty() => {}
            else => return,
        }
    }
}

async fn hear(
    clients: &Clients,
    buffer: &RefCell<Vec<u8>>,
    (line, relayed): (Line, SocketAddr),
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
    clients: &Clients,
    buffer: &mut [u8],
    (line, relayed): (Line, SocketAddr),
    socket: &UdpSocket,
) {
    for _ in 0..BURST {
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
    clients: Rc<Clients>,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    most: usize,
) {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(_) if open.len() >= most + UNPROVEN => {
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
    clients: &Clients,
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
) {
    let _ = stream.set_nodelay(true); // only a matter of speed
    let Some(tls) = tls else {
        return carry(clients, stream, Line { carrier: Carrier::Tcp, remote }).await;
    };
    let handshake = TlsAcceptor::from(tls).accept(stream);
    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await {
        carry(clients, stream, Line { carrier: Carrier::Tls, remote }).await;
    }
}

async fn carry(clients: &Clients, stream: impl AsyncRead + AsyncWrite, line: Line) {
    let (reader, writer) = tokio::io::split(stream);
    let (queue, waiting) = mpsc::channel(QUEUE);
    let way = Way::Connection(queue);
    tokio::select! {
        () = receive(clients, reader, line, &way) => {}
        () = transmit(writer, waiting) => {}
        () = unused(clients, line) => {}
    }
    clients.forget(line);
}

/// Ends when a look finds no allocation.
async fn unused(clients: &Clients, line: Line) {
    loop {
        tokio::time::sleep(WELCOME).await;
        if clients.is_stranger(line) {
            return;
        }
    }
}

/// Cuts what comes into messages, until the end or until it is no message.
async fn receive(clients: &Clients, mut reader: impl AsyncRead + Unpin, line: Line, way: &Way) {
    let mut buffer = vec![0; LONGEST];
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
