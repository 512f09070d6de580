//! One connection to the broker: opened within a deadline, gone as soon as nobody holds it.

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

/// Routes by the id of a node.
pub(super) const DIRECT: &str = "cluster.direct";
/// Goes to all.
pub(super) const EVENTS: &str = "cluster.events";

/// The broker is asked for a sign of life this often, in seconds; two missed ones end a connection.
const HEARTBEAT_SECONDS: u16 = 5;
/// How long opening a connection may take, and everything else that is asked of the broker.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes that nobody acknowledges end a connection after this time.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a driver ended.
#[derive(Debug, thiserror::Error)]
pub enum AmqpConnectionError {
    /// The broker or the network said so.
    #[error("{0}")]
    Amqp(#[from] lapin::Error),
    /// The broker did not answer.
    #[error("the broker does not answer")]
    Late,
    /// The broker ended what we listened to.
    #[error("the broker ended it")]
    Ended,
}

/// The address, with our heartbeat.
pub(super) fn address(settings: &AmqpConfig) -> Result<AMQPUri, String> {
    let mut uri: AMQPUri = settings.url.expose().parse()?;
    uri.query.heartbeat = Some(HEARTBEAT_SECONDS);
    Ok(uri)
}

/// A connection.
pub(super) struct AmqpConnection {
    connection: Connection,
    events: BoxStream<'static, Event>,
    _cut: CloseOnDrop,
}

/// A second handle of a connection's socket.
#[derive(Clone, Default)]
struct SocketDuplicate(Arc<Mutex<Option<Socket>>>);

impl SocketDuplicate {
    fn hold(&self, stream: &tokio::net::TcpStream) -> std::io::Result<()> {
        let socket = SockRef::from(stream);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket.try_clone()?);
        Ok(())
    }
}

/// Ends a connection for good when it is dropped. Without it, one whose other side is silent would
/// be kept by the library, with its thread.
struct CloseOnDrop(SocketDuplicate);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(socket) = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = socket.shutdown(std::net::Shutdown::Both); // it is perhaps gone already
        }
    }
}

impl AmqpConnection {
    /// Opens a connection that names itself after the node and `role`.
    pub(super) async fn open(shared: &AmqpShared, role: &str) -> Result<Self, AmqpConnectionError> {
        timeout(DEADLINE, Self::connect(shared, role))
            .await
            .map_err(|_| AmqpConnectionError::Late)?
    }

    async fn connect(shared: &AmqpShared, role: &str) -> Result<Self, AmqpConnectionError> {
        let cut = CloseOnDrop(SocketDuplicate::default());
        let tls =
            OwnedTLSConfig { identity: None, cert_chain: shared.settings.authorities.clone() };
        let hold = cut.0.clone();
        let name = format!("{} {role} {}", shared.settings.name, shared.me);
        let connection = Connection::connector(
            shared.uri.clone(),
            lapin::runtime::default_runtime()?,
            async move |uri, runtime| {
                let stream = uri.connect_with_config_async(tls.as_ref(), &runtime).await?;
                match &stream {
                    AsyncTcpStream::Plain(plain) => hold.hold(plain.get_ref())?,
                    AsyncTcpStream::Rustls(tls) => hold.hold(tls.get_ref().0.get_ref())?,
                    _ => {}
                }
                Ok(stream)
            },
            ConnectionProperties::default().with_connection_name(name.as_str().into()),
        )
        .await?;
        let events = connection.events_listener().boxed();
        Ok(Self { connection, events, _cut: cut })
    }

    /// A channel on which both exchanges exist.
    pub(super) async fn channel(&mut self) -> Result<Channel, AmqpConnectionError> {
        within(async {
            let channel = self.connection.create_channel().await?;
            for (name, kind) in [(DIRECT, ExchangeKind::Direct), (EVENTS, ExchangeKind::Fanout)] {
                let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
                channel.exchange_declare(name.into(), kind, durable, FieldTable::default()).await?;
            }
            Ok(channel)
        })
        .await
    }

    /// What the broker says of the connection; never ends.
    pub(super) async fn event(&mut self) -> Event {
        match self.events.next().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}

/// What the broker is to answer in time.
pub(super) async fn within<T>(
    work: impl Future<Output = lapin::Result<T>>,
) -> Result<T, AmqpConnectionError> {
    Ok(timeout(DEADLINE, work).await.map_err(|_| AmqpConnectionError::Late)??)
}
