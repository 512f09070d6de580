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
use crate::error::Error;

/// What the server itself enforces; below the deadline of a caller, so that it answers first.
const LIMITS: &str = "-c statement_timeout=1400 -c lock_timeout=1000 \
                      -c idle_in_transaction_session_timeout=5000";
/// How long a connection may take to come up, all handshakes included.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a statement may take before we take the server for dead.
const STATEMENT: Duration = Duration::from_millis(1500);

/// How long statements may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As people who wait for an answer need it.
    Short,
    /// As a migration needs it.
    Endless,
}

/// Opens connections to one database.
pub(crate) struct Manager {
    config: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
}

impl Manager {
    /// Understands a URL; see [`crate::Config::url`].
    pub(crate) fn new(url: &str) -> Result<Self, Error> {
        let (rest, mode, root) = split(url);
        let (mode, trust) = tls::policy(mode, root)?;
        let mut config: tokio_postgres::Config =
            rest.parse().map_err(|error| Error::Internal(format!("the database URL: {error}")))?;
        config
            .ssl_mode(mode)
            .connect_timeout(CONNECT)
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
    pub(crate) fn open(&self, patience: Patience) -> Result<Line, Error> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::unavailable(&error))?;
        let mut config = self.config.clone();
        if patience == Patience::Short {
            // What the URL itself says comes last and so wins.
            let own = config.get_options().unwrap_or_default();
            config.options(format!("{LIMITS} {own}"));
        }
        let late = || Error::Unavailable("PostgreSQL did not answer in time".into());
        let (wire, inner) = runtime.block_on(async {
            let opening = async {
                let (client, wire) = self.dial(&config, &runtime).await?;
                let inner = AsyncPgConnection::try_from(client).await;
                Ok((wire, inner.map_err(|error| Error::unavailable(&error))?))
            };
            tokio::time::timeout(CONNECT, opening).await.unwrap_or_else(|_| Err(late()))
        })?;
        let patience = (patience == Patience::Short).then_some(STATEMENT);
        let runtime = OwnRuntime { runtime: Arc::new(runtime), wire, patience };
        runtime.clone().hand_over();
        Ok(Line { conn: Conn::from(inner), runtime })
    }

    async fn dial(
        &self,
        config: &tokio_postgres::Config,
        runtime: &Runtime,
    ) -> Result<(Client, AbortHandle), Error> {
        let failed = |error: tokio_postgres::Error| Error::unavailable(&error);
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
pub(crate) struct Line {
    conn: Conn,
    runtime: OwnRuntime,
}

impl Borrow<Conn> for Line {
    fn borrow(&self) -> &Conn {
        &self.conn
    }
}

impl BorrowMut<Conn> for Line {
    fn borrow_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl ManageConnection for Manager {
    type Connection = Line;
    type Error = Error;

    fn connect(&self) -> Result<Line, Error> {
        self.open(Patience::Short)
    }

    fn is_valid(&self, line: &mut Line) -> Result<(), Error> {
        if line.runtime.finds_itself_cut() {
            return Err(Error::Unavailable("PostgreSQL closed the connection".into()));
        }
        Ok(())
    }

    fn has_broken(&self, line: &mut Line) -> bool {
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
    fn the_words_about_tls_leave_the_url() {
        let url = "postgres://u:p@h/d?sslmode=verify-full&application_name=x&sslrootcert=/ca.pem";
        let rest = "postgres://u:p@h/d?application_name=x".to_owned();
        assert_eq!(split(url), (rest, Some("verify-full"), Some("/ca.pem")));
        assert_eq!(split("postgres://h/d?sslmode=disable").0, "postgres://h/d");
    }

    #[test]
    fn a_url_that_is_none_is_refused() {
        assert!(matches!(Manager::new("postgres://h:notaport/d"), Err(Error::Internal(_))));
        assert!(matches!(Manager::new("postgres://h/d?sslmode=maybe"), Err(Error::Internal(_))));
    }
}
