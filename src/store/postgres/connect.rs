//! Opening connections to PostgreSQL: limits on everything, TLS, one runtime each.

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

/// What the server itself enforces; below the deadline of a caller, so that it answers first.
const LIMITS: &str = "-c statement_timeout=1400 -c lock_timeout=1000 \
                      -c idle_in_transaction_session_timeout=5000";
/// How long a connection may take to come up, all handshakes included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a statement may take before we take the server for dead.
const STATEMENT_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long statements may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatementTimeout {
    /// As people who wait for an answer need it.
    Short,
    /// As a migration needs it.
    Endless,
}

/// Opens connections to one database.
pub(crate) struct PgConnectionManager {
    config: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
}

impl PgConnectionManager {
    /// Understands a URL; see [`crate::StoreConfig::url`].
    pub(crate) fn new(url: &str) -> Result<Self, StoreError> {
        let (rest, mode, root) = split(url);
        let (mode, trust) = tls::policy(mode, root)?;
        let mut config: tokio_postgres::Config = rest
            .parse()
            .map_err(|error| StoreError::Internal(format!("the database URL: {error}")))?;
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

    /// A new connection.
    pub(crate) fn open(&self, patience: StatementTimeout) -> Result<PgConnection, StoreError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StoreError::unavailable(&error))?;
        let mut config = self.config.clone();
        if patience == StatementTimeout::Short {
            // What the URL itself says comes last and so wins.
            let own = config.get_options().unwrap_or_default();
            config.options(format!("{LIMITS} {own}"));
        }
        let late = || StoreError::Unavailable("PostgreSQL did not answer in time".into());
        let (wire, inner) = runtime.block_on(async {
            let opening = async {
                let (client, wire) = self.dial(&config, &runtime).await?;
                let inner = AsyncPgConnection::try_from(client).await;
                Ok((wire, inner.map_err(|error| StoreError::unavailable(&error))?))
            };
            tokio::time::timeout(CONNECT_TIMEOUT, opening).await.unwrap_or_else(|_| Err(late()))
        })?;
        let patience = (patience == StatementTimeout::Short).then_some(STATEMENT_TIMEOUT);
        let runtime = OwnRuntime { runtime: Arc::new(runtime), wire, patience };
        runtime.clone().hand_over();
        Ok(PgConnection { conn: Conn::from(inner), runtime })
    }

    async fn dial(
        &self,
        config: &tokio_postgres::Config,
        runtime: &Runtime,
    ) -> Result<(Client, AbortHandle), StoreError> {
        let failed = |error: tokio_postgres::Error| StoreError::unavailable(&error);
        // What the task ends with is also the answer to whatever was asked meanwhile.
        match &self.tls {
            Some(tls) => {
                let (client, wire) = config.connect(tls.clone()).await.map_err(failed)?;
                let wire = runtime.spawn(async move { drop(wire.await) });
                Ok((client, wire.abort_handle()))
            }
            None => {
                let (client, wire) = config.connect(NoTls).await.map_err(failed)?;
                let wire = runtime.spawn(async move { drop(wire.await) });
                Ok((client, wire.abort_handle()))
            }
        }
    }
}

/// A connection, and the runtime through which to see whether it still is one.
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
        self.open(StatementTimeout::Short)
    }

    fn is_valid(&self, line: &mut PgConnection) -> Result<(), StoreError> {
        if line.runtime.finds_itself_cut() {
            return Err(StoreError::Unavailable("PostgreSQL closed the connection".into()));
        }
        Ok(())
    }

    fn has_broken(&self, line: &mut PgConnection) -> bool {
        type Transactions = <Conn as diesel::Connection>::TransactionManager;
        line.runtime.is_cut() || Transactions::is_broken_transaction_manager(&mut line.conn)
    }
}

/// Takes `sslmode` and `sslrootcert` out of a URL: the driver does not know all their words.
fn split(url: &str) -> (String, Option<&str>, Option<&str>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None, None) };
    let (mut mode, mut root, mut rest) = (None, None, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) => root = Some(value),
            _ => rest.push(pair),
        }
    }
    let mark = if rest.is_empty() { "" } else { "?" };
    (format!("{base}{mark}{}", rest.join("&")), mode, root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_parameters_are_split_from_postgres_url() {
        let url = "postgres://u:p@h/d?sslmode=verify-full&application_name=x&sslrootcert=/ca.pem";
        let rest = "postgres://u:p@h/d?application_name=x".to_owned();
        assert_eq!(split(url), (rest, Some("verify-full"), Some("/ca.pem")));
        assert_eq!(split("postgres://h/d?sslmode=disable").0, "postgres://h/d");
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
