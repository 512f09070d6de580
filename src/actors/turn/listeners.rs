//! The transports of clients (datagrams, TCP and TLS connections), and the sockets that receive
//! from peers.

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
use super::message::first_message_length;
use crate::limits::{
    MAX_READS_PER_WAKE, MAX_TURN_MESSAGE_BYTES, MAX_TURN_QUEUED_FRAMES,
    MAX_UNAUTHENTICATED_TURN_CONNECTIONS,
};
use crate::telemetry::metrics::TURN_DROPPED;

/// How long a TLS handshake may take.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The current time; the relays themselves have no clock.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Receives datagrams of clients, forever.
pub(super) async fn receive_datagrams(clients: Rc<TurnClients>, socket: UdpSocket) {
    let socket = Rc::new(socket);
    let mut buffer = vec![0; MAX_TURN_MESSAGE_BYTES];
    loop {
        let ready = socket.readable().await;
        if let Err(error) = ready {
            tracing::warn!(%error, "TURN socket error");
        }
        for _ in 0..MAX_READS_PER_WAKE {
            let Ok((count, remote)) = socket.try_recv_from(&mut buffer) else { break };
            let five_tuple = FiveTuple { transport: ClientTransport::Udp, remote };
            let path = ClientPath::Datagrams(Rc::clone(&socket), remote);
            if let Some(packet) = buffer.get(..count) {
                clients.receive(now(), five_tuple, &path, packet);
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Receives datagrams of peers on the sockets that clients open, forever.
pub(super) async fn receive_from_peers(
    clients: Rc<TurnClients>,
    mut to_read: mpsc::UnboundedReceiver<SocketReader>,
) {
    let buffer = RefCell::new(vec![0; MAX_TURN_MESSAGE_BYTES]);
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(SocketReader { five_tuple, relayed, socket, until }) = to_read.recv() => {
                open.push(Abortable::new(read_peer_socket(&clients, &buffer, (five_tuple, relayed), socket), until));
            }
            Some(_) = open.next(), if !open.is_empty() => {}
            else => return,
        }
    }
}

async fn read_peer_socket(
    clients: &TurnClients,
    buffer: &RefCell<Vec<u8>>,
    (five_tuple, relayed): (FiveTuple, SocketAddr),
    socket: Rc<UdpSocket>,
) {
    loop {
        // An error reports an ICMP message about an earlier datagram, and is cleared by reading it.
        let _ = socket.readable().await;
        read_burst(clients, &mut buffer.borrow_mut(), (five_tuple, relayed), &socket);
        tokio::task::yield_now().await;
    }
}

/// Reads what is available, up to a burst.
fn read_burst(
    clients: &TurnClients,
    buffer: &mut [u8],
    (five_tuple, relayed): (FiveTuple, SocketAddr),
    socket: &UdpSocket,
) {
    for _ in 0..MAX_READS_PER_WAKE {
        let (count, peer) = match socket.try_recv_from(buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(_) => continue,
        };
        if let Some(packet) = buffer.get(..count) {
            clients.receive_from_peer(now(), five_tuple, (peer, relayed), packet);
        }
    }
}

/// Accepts connections, forever; `most` of them may have an allocation.
pub(super) async fn accept_connections(
    clients: Rc<TurnClients>,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    max_allocations: usize,
) {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(_) if open.len() >= max_allocations + MAX_UNAUTHENTICATED_TURN_CONNECTIONS => {
                    counter!(TURN_DROPPED, "reason" => "connections").increment(1);
                }
                Ok((stream, remote)) => {
                    open.push(serve_connection(&clients, stream, remote, tls.clone()));
                }
                // Out of file descriptors: the pause lets other connections close.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(()) = open.next(), if !open.is_empty() => {}
        }
    }
}

async fn serve_connection(
    clients: &TurnClients,
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
) {
    let _ = stream.set_nodelay(true); // affects only the latency
    let Some(tls) = tls else {
        return serve_stream(
            clients,
            stream,
            FiveTuple { transport: ClientTransport::Tcp, remote },
        )
        .await;
    };
    let handshake = TlsAcceptor::from(tls).accept(stream);
    if let Ok(Ok(stream)) = tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, handshake).await {
        serve_stream(clients, stream, FiveTuple { transport: ClientTransport::Tls, remote }).await;
    }
}

async fn serve_stream(
    clients: &TurnClients,
    stream: impl AsyncRead + AsyncWrite,
    five_tuple: FiveTuple,
) {
    let (reader, writer) = tokio::io::split(stream);
    let (queue, receiver) = mpsc::channel(MAX_TURN_QUEUED_FRAMES);
    let path = ClientPath::Connection(queue);
    tokio::select! {
        () = receive(clients, reader, five_tuple, &path) => {}
        () = transmit(writer, receiver) => {}
        () = wait_until_unused(clients, five_tuple) => {}
    }
    clients.remove(five_tuple);
}

/// Completes at the first check that finds no allocation.
async fn wait_until_unused(clients: &TurnClients, five_tuple: FiveTuple) {
    loop {
        tokio::time::sleep(UNAUTHENTICATED_TIMEOUT).await;
        if clients.is_unallocated(five_tuple) {
            return;
        }
    }
}

/// Splits the byte stream into messages, until its end or until it is invalid.
async fn receive(
    clients: &TurnClients,
    mut reader: impl AsyncRead + Unpin,
    five_tuple: FiveTuple,
    path: &ClientPath,
) {
    let mut buffer = vec![0; MAX_TURN_MESSAGE_BYTES];
    let mut buffered = 0;
    loop {
        let Some(space) = buffer.get_mut(buffered..) else { return };
        match reader.read(space).await {
            Ok(count) if count > 0 => buffered += count,
            _ => return,
        }
        let mut consumed = 0;
        while let Some(rest) = buffer.get(consumed..buffered) {
            let Ok(length) = first_message_length(rest) else { return };
            let Some(message) = length.and_then(|length| rest.get(..length)) else { break };
            clients.receive(now(), five_tuple, path, message);
            consumed += message.len();
        }
        buffer.copy_within(consumed..buffered, 0);
        buffered -= consumed;
    }
}

async fn transmit(mut writer: impl AsyncWrite + Unpin, mut receiver: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = receiver.recv().await {
        if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}
