//! Opens connections to PostgreSQL: time limits on everything, TLS, one runtime each.

use std::borrow::{Borrow, BorrowMut};
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::TransactionManager;
use diesel_async::AsyncPgConnection;
use r2d2::ManageConnection;
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::runtime::OwnRuntime;
use super::{Conn, tls};
use crate::error::StoreError;

/// Limits that the server itself enforces; below a caller's deadline, so that the server answers
/// first.
const SERVER_LIMITS: &str = "-c statement_timeout=1400 -c lock_timeout=1000 \
                      -c idle_in_transaction_session_timeout=5000";
/// How long opening a connection may take, including all handshakes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a statement may take before the server counts as unresponsive.
const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long statements on a connection may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatementTimeout {
    /// The normal limit, for operations that a caller waits for.
    Normal,
    /// No limit, for migrations.
    Unlimited,
}

/// Opens connections to one database.
pub(crate) struct PgConnectionManager {
    config: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
}

impl PgConnectionManager {
    /// Parses a URL; see [`crate::StoreConfig::url`].
    pub(crate) fn new(url: &str) -> Result<Self, StoreError> {
        let (base_url, mode, root) = split_tls_params(url);
        let (mode, trust) = tls::policy(mode, root)?;
        let mut config: tokio_postgres::Config = base_url
            .parse()
            .map_err(|error| StoreError::Internal(format!("invalid database URL: {error}")))?;
        config
            .ssl_mode(mode)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(Duration::from_secs(2))
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(2))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(2);
        if config.get_application_name().is_none() {
            config.application_name("securevox");
        }
        let tls = match mode {
            SslMode::Disable => None,
            _ => Some(MakeRustlsConnect::new(tls::config(&trust)?)),
        };
        Ok(Self { config, tls })
    }

    /// Opens a new connection.
    pub(crate) fn open(&self, timeout: StatementTimeout) -> Result<PgConnection, StoreError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StoreError::unavailable(&error))?;
        let mut config = self.config.clone();
        if timeout == StatementTimeout::Normal {
            // Options of the URL itself come last and therefore win.
            let url_options = config.get_options().unwrap_or_default();
            config.options(format!("{SERVER_LIMITS} {url_options}"));
        }
        let timed_out = || StoreError::Unavailable("PostgreSQL did not answer in time".into());
        let (io_task, inner) = runtime.block_on(async {
            let connect = async {
                let (client, io_task) = self.connect_client(&config, &runtime).await?;
                let inner = AsyncPgConnection::try_from(client).await;
                Ok((io_task, inner.map_err(|error| StoreError::unavailable(&error))?))
            };
            tokio::time::timeout(CONNECT_TIMEOUT, connect)
                .await
                .unwrap_or_else(|_| Err(timed_out()))
        })?;
        let statement_timeout = (timeout == StatementTimeout::Normal).then_some(STATEMENT_TIMEOUT);
        let runtime = OwnRuntime { runtime: Arc::new(runtime), io_task, statement_timeout };
        runtime.clone().set_for_next_connection();
        Ok(PgConnection { conn: Conn::from(inner), runtime })
    }

    async fn connect_client(
        &self,
        config: &tokio_postgres::Config,
        runtime: &Runtime,
    ) -> Result<(Client, AbortHandle), StoreError> {
        let failed = |error: tokio_postgres::Error| StoreError::unavailable(&error);
        // If this task ends with an error, the client reports it to every pending statement.
        match &self.tls {
            Some(tls) => {
                let (client, io_task) = config.connect(tls.clone()).await.map_err(failed)?;
                let io_task = runtime.spawn(async move { drop(io_task.await) });
                Ok((client, io_task.abort_handle()))
            }
            None => {
                let (client, io_task) = config.connect(NoTls).await.map_err(failed)?;
                let io_task = runtime.spawn(async move { drop(io_task.await) });
                Ok((client, io_task.abort_handle()))
            }
        }
    }
}

/// A connection, and the runtime through which its state is checked.
pub(crate) struct PgConnection {
    conn: Conn,
    runtime: OwnRuntime,
}

impl Borrow<Conn> for PgConnection {
    fn borrow(&self) -> &Conn {
        &self.conn
    }
}

impl BorrowMut<Conn> for PgConnection {
    fn borrow_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl ManageConnection for PgConnectionManager {
    type Connection = PgConnection;
    type Error = StoreError;

    fn connect(&self) -> Result<PgConnection, StoreError> {
        self.open(StatementTimeout::Normal)
    }

    fn is_valid(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        if connection.runtime.poll_is_closed() {
            return Err(StoreError::Unavailable("PostgreSQL closed the connection".into()));
        }
        Ok(())
    }

    fn has_broken(&self, connection: &mut PgConnection) -> bool {
        type Transactions = <Conn as diesel::Connection>::TransactionManager;
        connection.runtime.is_closed()
            || Transactions::is_broken_transaction_manager(&mut connection.conn)
    }
}

/// Splits `sslmode` and `sslrootcert` off a URL: the driver does not know all their values.
fn split_tls_params(url: &str) -> (String, Option<&str>, Option<&str>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None, None) };
    let (mut mode, mut root, mut others) = (None, None, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) => root = Some(value),
            _ => others.push(pair),
        }
    }
    let separator = if others.is_empty() { "" } else { "?" };
    (format!("{base}{separator}{}", others.join("&")), mode, root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_parameters_are_split_from_postgres_url() {
        let url = "postgres://u:p@h/d?sslmode=verify-full&application_name=x&sslrootcert=/ca.pem";
        let rest = "postgres://u:p@h/d?application_name=x".to_owned();
        assert_eq!(split_tls_params(url), (rest, Some("verify-full"), Some("/ca.pem")));
        assert_eq!(split_tls_params("postgres://h/d?sslmode=disable").0, "postgres://h/d");
    }

    #[test]
    fn malformed_postgres_url_is_rejected() {
        assert!(matches!(
            PgConnectionManager::new("postgres://h:notaport/d"),
            Err(StoreError::Internal(_))
        ));
        assert!(matches!(
            PgConnectionManager::new("postgres://h/d?sslmode=maybe"),
            Err(StoreError::Internal(_))
        ));
    }
}
