//! The sockets of one media thread, an actor at `/node/media/<n>`.
//!
//! Its only state are its sockets: rooms survive its restart.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, WrapFuture};
use media::LocalCandidate;
use media::path::{NetworkPath, TransportProtocol};
use metrics::counter;
use tokio::io::Interest;
use tokio::net::{TcpListener, UdpSocket};

use super::batch::{BATCH, DatagramBatch};
use super::dispatcher::{RoomDispatcher, now};
use super::sockets::{MediaSockets, TcpConnections};
use super::tcp;
use crate::actors::supervision::SupervisedContext;
use crate::limits::{MAX_BATCHES_PER_WAKE, MAX_BIND_ATTEMPTS, MAX_MEDIA_POLL_INTERVAL};
use crate::telemetry::metrics::MEDIA_DROPPED;

/// Socket buffer size in bytes: it must hold a burst of key frames to many clients. The default of
/// some 200 KiB lost a fifth of one.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// How often the counters of the rooms are exported to the metrics.
const METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// Where a mux listens, and the addresses clients use.
#[derive(Clone)]
pub struct IceMuxConfig {
    /// The address to bind.
    pub bind: IpAddr,
    /// The port of both UDP and TCP; 0 means any.
    pub port: u16,
    /// The addresses under which clients reach it.
    pub addresses: Arc<[IpAddr]>,
}

/// The actor of the sockets of one media thread.
pub struct IceMux {
    config: IceMuxConfig,
}

crate::actors::supervision::supervised!(IceMux);

impl IceMux {
    /// A mux with this configuration.
    pub const fn new(config: IceMuxConfig) -> Self {
        Self { config }
    }
}

impl Actor for IceMux {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let dispatcher = RoomDispatcher::current_thread();
        match bind_sockets(&self.config) {
            Ok((sockets, listener)) => {
                let sockets = Rc::new(sockets);
                dispatcher.set_sockets(Some(Rc::clone(&sockets)));
                ctx.run_interval(METRICS_INTERVAL, |_, _| {
                    RoomDispatcher::current_thread().export()
                });
                ctx.spawn(run_io_loop(dispatcher, Rc::clone(&sockets)).into_actor(self));
                ctx.spawn(
                    async move { tcp::serve(&sockets.connections, listener).await }
                        .into_actor(self),
                );
            }
            Err(error) => {
                let IceMuxConfig { bind, port, .. } = &self.config;
                ctx.fail(format!("media cannot listen on {bind} port {port}: {error}"));
            }
        }
    }
}

impl Drop for IceMux {
    fn drop(&mut self) {
        RoomDispatcher::current_thread().set_sockets(None);
    }
}

fn bind_sockets(config: &IceMuxConfig) -> io::Result<(MediaSockets, TcpListener)> {
    let attempts = if config.port == 0 { MAX_BIND_ATTEMPTS } else { 1 };
    let mut opened = bind_pair(config);
    for _ in 1..attempts {
        if opened.is_ok() {
            break;
        }
        opened = bind_pair(config);
    }
    let (udp, tcp) = opened?;
    udp.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    udp.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    let udp = UdpSocket::from_std(udp.into())?;
    let port = udp.local_addr()?.port();
    let listener = TcpListener::from_std(tcp.into())?;
    let candidates =
        [TransportProtocol::Udp, TransportProtocol::Tcp].into_iter().flat_map(|transport| {
            let addresses = config.addresses.iter();
            addresses
                .map(move |ip| LocalCandidate { transport, address: SocketAddr::new(*ip, port) })
        });
    let sockets = MediaSockets {
        udp,
        connections: TcpConnections::default(),
        candidates: candidates.collect(),
        batch: RefCell::new(DatagramBatch::new()),
        socket_full: counter!(MEDIA_DROPPED, "reason" => "socket-full"),
    };
    Ok((sockets, listener))
}

/// Binds UDP and TCP to the same port.
fn bind_pair(config: &IceMuxConfig) -> io::Result<(socket2::Socket, socket2::Socket)> {
    let udp = bind(config, config.port, socket2::Type::DGRAM)?;
    let address = udp.local_addr()?.as_socket();
    let port = address.map_or(config.port, |address| address.port());
    let tcp = bind(config, port, socket2::Type::STREAM)?;
    tcp.listen(128)?;
    Ok((udp, tcp))
}

fn bind(config: &IceMuxConfig, port: u16, kind: socket2::Type) -> io::Result<socket2::Socket> {
    let address = SocketAddr::new(config.bind, port);
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), kind, None)?;
    if kind == socket2::Type::STREAM {
        socket.set_reuse_address(true)?; // a restart must not wait for old connections
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Reads what arrives, calls rooms at their timeouts, and sends what they have. It does not wait
/// for more packets: what arrives during one iteration is one batch for the next, so GSO batches
/// grow with the load by themselves. Waiting a millisecond for more saved 8 % of CPU time at 22,000
/// packets per second, and 10 to 30 % at 180,000, but the 99th percentile of the delay grew from 4
/// to 18 ms there.
async fn run_io_loop(dispatcher: Rc<RoomDispatcher>, sockets: Rc<MediaSockets>) {
    let mut batch = DatagramBatch::new();
    loop {
        let due = dispatcher.next_timeout().unwrap_or_else(|| now() + MAX_MEDIA_POLL_INTERVAL);
        tokio::select! {
            ready = sockets.udp.readable() => {
                if let Err(error) = ready {
                    tracing::warn!(%error, "media socket error");
                }
                read_batches(&dispatcher, &sockets.udp, &mut batch);
            }
            () = tokio::time::sleep_until(due.into()) => {}
            () = dispatcher.wake.notified() => continue,
        }
        let now = now();
        dispatcher.timeouts(now);
        dispatcher.flush(now);
    }
}

fn read_batches(dispatcher: &RoomDispatcher, udp: &UdpSocket, batch: &mut DatagramBatch) {
    for _ in 0..MAX_BATCHES_PER_WAKE {
        let received = udp.try_io(Interest::READABLE, || batch.receive(udp.as_raw_fd()));
        let Ok(count) = received else { return }; // nothing waits, or the next iteration gets the error
        let now = now();
        for i in 0..count {
            if let Some((remote, datagram)) = batch.datagram(i) {
                dispatcher.receive(
                    now,
                    NetworkPath { transport: TransportProtocol::Udp, remote },
                    datagram,
                );
            }
        }
        if count < BATCH {
            return;
        }
    }
}
