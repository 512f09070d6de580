//! ICE over TCP (RFC 6544): media for networks that let no UDP through, framed as in RFC 4571.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use media::path::{NetworkPath, TransportProtocol};
use metrics::counter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::dispatcher::{RoomDispatcher, now};
use crate::telemetry::metrics::{MEDIA_DROPPED, count_rejected};

/// Connections of one thread; more are refused.
const MAX_TCP_CONNECTIONS: usize = 1024;
/// Packets that may wait for a slow connection; what is more is lost, as on any network.
const QUEUE: usize = 512;
/// The longest frame.
const MAX_FRAME_BYTES: usize = 2048;
/// A connection that says nothing for this long is over: consent expires after 30 s (RFC 7675).
const IDLE_TIMEOUT: Duration = Duration::from_secs(35);
/// A connection that no room lets in by then is over, whatever it says meanwhile.
const FIRST_PACKET_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections of one thread.
#[derive(Default)]
pub(super) struct TcpMux(RefCell<HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>>);

impl TcpMux {
    /// Queues a packet; lost if the connection is gone or does not keep up.
    pub(super) fn send(&self, to: SocketAddr, packet: &[u8]) {
        let connections = self.0.borrow();
        let Some(queue) = connections.get(&to) else { return };
        let Ok(length) = u16::try_from(packet.len()) else { return };
        let mut frame = Vec::with_capacity(2 + packet.len());
        frame.extend(length.to_be_bytes());
        frame.extend(packet);
        if queue.try_send(frame).is_err() {
            counter!(MEDIA_DROPPED, "reason" => "connection-full").increment(1);
        }
    }

    /// Takes connections, for ever.
    pub(super) async fn serve(&self, listener: TcpListener) {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(_) if open.len() >= MAX_TCP_CONNECTIONS => count_rejected("media-connections"),
                    Ok((stream, remote)) => open.push(self.carry(stream, remote)),
                    // Out of files: the pause lets others close theirs.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
                Some(()) = open.next(), if !open.is_empty() => {}
            }
        }
    }

    fn carry(&self, stream: TcpStream, remote: SocketAddr) -> impl Future<Output = ()> + use<'_> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        self.0.borrow_mut().insert(remote, queue);
        async move {
            let _ = stream.set_nodelay(true); // only a matter of speed
            let (reader, writer) = stream.into_split();
            tokio::select! {
                () = receive(reader, remote) => {}
                () = transmit(writer, waiting) => {}
            }
            self.0.borrow_mut().remove(&remote);
            RoomDispatcher::current_thread().lost(remote);
        }
    }
}

async fn receive(mut reader: OwnedReadHalf, remote: SocketAddr) {
    let hub = RoomDispatcher::current_thread();
    let path = NetworkPath { transport: TransportProtocol::Tcp, remote };
    let mut frame = vec![0; MAX_FRAME_BYTES];
    let stranger = tokio::time::Instant::now() + FIRST_PACKET_TIMEOUT;
    loop {
        let until =
            if hub.knows(path) { tokio::time::Instant::now() + IDLE_TIMEOUT } else { stranger };
        let packet = tokio::time::timeout_at(until, next(&mut reader, &mut frame)).await;
        let Ok(Some(packet)) = packet else { return };
        let now = now();
        hub.receive(now, path, packet);
        hub.flush(now);
    }
}

/// The next packet; `None` at the end or when it is too long.
async fn next<'a>(reader: &mut OwnedReadHalf, frame: &'a mut [u8]) -> Option<&'a mut [u8]> {
    let length = usize::from(reader.read_u16().await.ok()?);
    let packet = frame.get_mut(..length)?;
    reader.read_exact(packet).await.ok()?;
    Some(packet)
}

async fn transmit(mut writer: OwnedWriteHalf, mut waiting: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = waiting.recv().await {
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connects, says this every four seconds, and gives how long it took until it was sent away.
    async fn stranger(at: SocketAddr, says: Option<&[u8]>) -> Duration {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let began = tokio::time::Instant::now();
        let mut again = tokio::time::interval(Duration::from_secs(4));
        let mut byte = [0];
        loop {
            tokio::select! {
                read = stream.read(&mut byte) => {
                    // The end, or a reset where something was said that nobody read.
                    assert!(matches!(read, Ok(0) | Err(_)), "nobody answers a stranger");
                    return began.elapsed();
                }
                _ = again.tick() => if let Some(words) = says {
                    let _ = stream.write_all(words).await; // gone: read says so
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unauthenticated_tcp_connection_is_closed_after_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let connections = TcpMux::default();
        let strangers = async {
            tokio::join!(
                stranger(at, None),
                stranger(at, Some(b"\0\x05noise")),
                stranger(at, Some(b"\xff\xfftoo long a frame")),
            )
        };
        let (silent, noisy, garbled) = tokio::select! {
            () = connections.serve(listener) => unreachable!("it takes connections for ever"),
            ended = strangers => ended,
        };

        let welcome = FIRST_PACKET_TIMEOUT..FIRST_PACKET_TIMEOUT + Duration::from_secs(2);
        assert!(welcome.contains(&silent), "{silent:?}");
        assert!(welcome.contains(&noisy), "{noisy:?}");
        assert!(garbled < Duration::from_secs(1), "{garbled:?}");
        assert!(connections.0.borrow().is_empty(), "nothing of them is kept");
    }
}
