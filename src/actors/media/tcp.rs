//! ICE over TCP (RFC 6544), framed as in RFC 4571: media for networks that block UDP.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use media::path::{NetworkPath, TransportProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::dispatcher::{RoomDispatcher, now};
use super::sockets::TcpConnections;
use crate::limits::{MAX_ICE_TCP_CONNECTIONS, MAX_ICE_TCP_FRAME_BYTES};
use crate::telemetry::metrics::count_rejected;

/// A connection without a packet for this long is closed: consent expires after 30 s (RFC 7675).
const IDLE_TIMEOUT: Duration = Duration::from_secs(35);
/// A connection that no room has accepted by then is closed, whatever it sends.
const FIRST_PACKET_TIMEOUT: Duration = Duration::from_secs(10);

/// Accepts connections, forever.
pub(super) async fn serve(connections: &TcpConnections, listener: TcpListener) {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(_) if open.len() >= MAX_ICE_TCP_CONNECTIONS => count_rejected("media-connections"),
                Ok((stream, remote)) => open.push(serve_connection(connections, stream, remote)),
                // Out of file descriptors: the pause lets other connections close.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(()) = open.next(), if !open.is_empty() => {}
        }
    }
}

fn serve_connection(
    connections: &TcpConnections,
    stream: TcpStream,
    remote: SocketAddr,
) -> impl Future<Output = ()> + use<'_> {
    let receiver = connections.insert(remote);
    async move {
        let _ = stream.set_nodelay(true); // affects only the latency
        let (reader, writer) = stream.into_split();
        tokio::select! {
            () = receive(reader, remote) => {}
            () = transmit(writer, receiver) => {}
        }
        connections.remove(remote);
        RoomDispatcher::current_thread().remove_tcp_path(remote);
    }
}

async fn receive(mut reader: OwnedReadHalf, remote: SocketAddr) {
    let dispatcher = RoomDispatcher::current_thread();
    let path = NetworkPath { transport: TransportProtocol::Tcp, remote };
    let mut frame = vec![0; MAX_ICE_TCP_FRAME_BYTES];
    let first_packet_deadline = tokio::time::Instant::now() + FIRST_PACKET_TIMEOUT;
    loop {
        let until = if dispatcher.has_path(path) {
            tokio::time::Instant::now() + IDLE_TIMEOUT
        } else {
            first_packet_deadline
        };
        let packet = tokio::time::timeout_at(until, next(&mut reader, &mut frame)).await;
        let Ok(Some(packet)) = packet else { return };
        let now = now();
        dispatcher.receive(now, path, packet);
        dispatcher.flush(now);
    }
}

/// The next packet; `None` at the end of the stream or when it is too long.
async fn next<'a>(reader: &mut OwnedReadHalf, frame: &'a mut [u8]) -> Option<&'a mut [u8]> {
    let length = usize::from(reader.read_u16().await.ok()?);
    let packet = frame.get_mut(..length)?;
    reader.read_exact(packet).await.ok()?;
    Some(packet)
}

async fn transmit(mut writer: OwnedWriteHalf, mut receiver: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = receiver.recv().await {
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connects, sends `payload` every four seconds, and returns how long it took until the connection
    /// was closed.
    async fn connect_unauthenticated(address: SocketAddr, payload: Option<&[u8]>) -> Duration {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let started = tokio::time::Instant::now();
        let mut interval = tokio::time::interval(Duration::from_secs(4));
        let mut byte = [0];
        loop {
            tokio::select! {
                read = stream.read(&mut byte) => {
                    // The end of the stream, or a reset where unread data was sent.
                    assert!(matches!(read, Ok(0) | Err(_)), "an unauthenticated connection gets no reply");
                    return started.elapsed();
                }
                _ = interval.tick() => if let Some(payload) = payload {
                    // if the connection is closed, the read reports it
                    let _ = stream.write_all(payload).await;
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unauthenticated_tcp_connection_is_closed_after_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = TcpConnections::default();
        let clients = async {
            tokio::join!(
                connect_unauthenticated(address, None),
                connect_unauthenticated(address, Some(b"\0\x05noise")),
                connect_unauthenticated(address, Some(b"\xff\xfftoo long a frame")),
            )
        };
        let (silent, noisy, oversized) = tokio::select! {
            () = serve(&connections, listener) => unreachable!("serve never returns"),
            elapsed = clients => elapsed,
        };

        let expected = FIRST_PACKET_TIMEOUT..FIRST_PACKET_TIMEOUT + Duration::from_secs(2);
        assert!(expected.contains(&silent), "{silent:?}");
        assert!(expected.contains(&noisy), "{noisy:?}");
        assert!(oversized < Duration::from_secs(1), "{oversized:?}");
        assert!(connections.is_empty(), "all connections are removed");
    }
}
