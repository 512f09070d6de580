//! A connection to the broker: opened within a deadline, closed as soon as nobody uses it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use lapin::options::ExchangeDeclareOptions;
use lapin::tcp::{AMQPUriTcpExt, OwnedTLSConfig};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Event, ExchangeKind};
use socket2::{SockRef, Socket};
use tokio::time::timeout;

use super::{AmqpConfig, AmqpShared};

/// The exchange that routes by node id.
pub(super) const DIRECT: &str = "cluster.direct";
/// The exchange that fans out to all nodes.
pub(super) const EVENTS: &str = "cluster.events";

/// Requested AMQP heartbeat in seconds; two missed ones end a connection.
const HEARTBEAT_SECONDS: u16 = 5;
/// How long opening a connection or any other request to the broker may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Sent bytes that stay unacknowledged this long end a connection (`TCP_USER_TIMEOUT`).
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a publisher or consumer run ended.
#[derive(Debug, thiserror::Error)]
pub enum AmqpConnectionError {
    /// The broker or the network reported an error.
    #[error("{0}")]
    Amqp(#[from] lapin::Error),
    /// The broker did not answer in time.
    #[error("the broker did not answer in time")]
    TimedOut,
    /// The broker ended the consumer or the connection.
    #[error("the broker closed the consumer")]
    Closed,
}

/// The broker's URI with our heartbeat.
pub(super) fn broker_uri(settings: &AmqpConfig) -> Result<AMQPUri, String> {
    let mut uri: AMQPUri = settings.url.expose().parse()?;
    uri.query.heartbeat = Some(HEARTBEAT_SECONDS);
    Ok(uri)
}

/// An open connection and its event stream.
pub(super) struct AmqpConnection {
    connection: Connection,
    events: BoxStream<'static, Event>,
    _close_on_drop: CloseOnDrop,
}

/// A second handle to a connection's socket.
#[derive(Clone, Default)]
struct SocketDuplicate(Arc<Mutex<Option<Socket>>>);

impl SocketDuplicate {
    fn capture(&self, stream: &tokio::net::TcpStream) -> std::io::Result<()> {
        let socket = SockRef::from(stream);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket.try_clone()?);
        Ok(())
    }
}

/// Closes a connection for good when dropped. Otherwise the library would keep a connection with an
/// unresponsive peer, with its thread.
struct CloseOnDrop(SocketDuplicate);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(socket) = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = socket.shutdown(std::net::Shutdown::Both); // it may be closed already
        }
    }
}

impl AmqpConnection {
    /// Opens a connection; its name contains the node and `role`.
    pub(super) async fn open(shared: &AmqpShared, role: &str) -> Result<Self, AmqpConnectionError> {
        timeout(REQUEST_TIMEOUT, Self::connect(shared, role))
            .await
            .map_err(|_| AmqpConnectionError::TimedOut)?
    }

    async fn connect(shared: &AmqpShared, role: &str) -> Result<Self, AmqpConnectionError> {
        let close_on_drop = CloseOnDrop(SocketDuplicate::default());
        let tls = OwnedTLSConfig { identity: None, cert_chain: shared.config.ca_pem.clone() };
        let socket = close_on_drop.0.clone();
        let name = format!("{} {role} {}", shared.config.name, shared.me);
        let connection = Connection::connector(
            shared.uri.clone(),
            lapin::runtime::default_runtime()?,
            async move |uri, runtime| {
                let stream = uri.connect_with_config_async(tls.as_ref(), &runtime).await?;
                match &stream {
                    AsyncTcpStream::Plain(plain) => socket.capture(plain.get_ref())?,
                    AsyncTcpStream::Rustls(tls) => socket.capture(tls.get_ref().0.get_ref())?,
                    _ => {}
                }
                Ok(stream)
            },
            ConnectionProperties::default().with_connection_name(name.as_str().into()),
        )
        .await?;
        let events = connection.events_listener().boxed();
        Ok(Self { connection, events, _close_on_drop: close_on_drop })
    }

    /// Opens a channel and declares both exchanges on it.
    pub(super) async fn channel(&mut self) -> Result<Channel, AmqpConnectionError> {
        with_timeout(async {
            let channel = self.connection.create_channel().await?;
            for (name, kind) in [(DIRECT, ExchangeKind::Direct), (EVENTS, ExchangeKind::Fanout)] {
                let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
                channel.exchange_declare(name.into(), kind, durable, FieldTable::default()).await?;
            }
            Ok(channel)
        })
        .await
    }

    /// The next event of the connection; never ends.
    pub(super) async fn event(&mut self) -> Event {
        match self.events.next().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}

/// Runs a request to the broker within the deadline.
pub(super) async fn with_timeout<T>(
    request: impl Future<Output = lapin::Result<T>>,
) -> Result<T, AmqpConnectionError> {
    Ok(timeout(REQUEST_TIMEOUT, request).await.map_err(|_| AmqpConnectionError::TimedOut)??)
}
