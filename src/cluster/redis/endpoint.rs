//! Redis endpoints: parsing of the URL, and connecting.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisResult, TlsCertificates, TlsMode};
use tokio::sync::Mutex;

/// How long connecting and a response may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(400);

/// A Redis endpoint by topology.
pub(super) enum RedisEndpoint {
    /// One server.
    Single(Box<Client>),
    /// The primary that the Sentinels name.
    Sentinel(Box<Mutex<SentinelClient>>),
    /// A Redis Cluster, where each server has a part of the keys.
    Cluster(Box<ClusterClient>),
}

/// An open connection.
#[derive(Clone)]
pub(super) enum RedisLink {
    /// To one server.
    Single(MultiplexedConnection),
    /// To a Redis Cluster.
    Cluster(ClusterConnection),
}

/// The parts of a URL: `scheme://user:password@host:port,host:port/name`.
struct RedisUrl<'a> {
    login: Option<(&'a str, &'a str)>,
    hosts: Vec<(String, u16)>,
    name: &'a str,
}

fn parse_parts(rest: &str, port: u16) -> Result<RedisUrl<'_>, String> {
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (Some(login.split_once(':').unwrap_or(("", login))), rest),
        None => (None, rest),
    };
    let (hosts, name) = rest.split_once('/').unwrap_or((rest, ""));
    let hosts = hosts
        .split(',')
        .map(|host| match host.rsplit_once(':') {
            Some((host, port)) => Ok((host.to_owned(), port.parse().map_err(|_| "invalid port")?)),
            None if host.is_empty() => Err("missing host"),
            None => Ok((host.to_owned(), port)),
        })
        .collect::<Result<_, &str>>()?;
    Ok(RedisUrl { login, hosts, name })
}

impl RedisEndpoint {
    /// Parses a Redis URL.
    pub(super) fn parse(url: &str, ca_pem: Option<&str>) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("the URL has no scheme")?;
        let (transport, kind) = scheme.split_once('+').unwrap_or((scheme, "single"));
        let tls = match transport {
            "redis" => false,
            "rediss" => true,
            _ => return Err(format!("unknown scheme {transport}: expected redis or rediss")),
        };
        let certificates = ca_pem.filter(|_| tls).map(|pem| TlsCertificates {
            client_tls: None,
            root_cert: Some(pem.as_bytes().to_vec()),
        });
        let to_text = |error: redis::RedisError| error.to_string();
        match kind {
            "single" => match certificates {
                Some(certificates) => Client::build_with_tls(url, certificates),
                None => Client::open(url),
            }
            .map(|client| Self::Single(Box::new(client)))
            .map_err(to_text),
            "sentinel" => sentinel(&parse_parts(rest, 26_379)?, tls, certificates).map_err(to_text),
            "cluster" => cluster(&parse_parts(rest, 6379)?, tls, certificates).map_err(to_text),
            _ => Err(format!("unknown topology {kind}: expected sentinel or cluster")),
        }
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> RedisResult<RedisLink> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(CONNECT_TIMEOUT));
        Ok(match self {
            Self::Single(client) => RedisLink::Single(
                client.get_multiplexed_async_connection_with_config(&config).await?,
            ),
            Self::Sentinel(client) => {
                let mut client = client.lock().await;
                RedisLink::Single(client.get_async_connection_with_config(&config).await?)
            }
            Self::Cluster(client) => RedisLink::Cluster(client.get_async_connection().await?),
        })
    }
}

fn sentinel(
    parts: &RedisUrl<'_>,
    tls: bool,
    certificates: Option<TlsCertificates>,
) -> RedisResult<RedisEndpoint> {
    let address = |(host, port): &(String, u16)| ConnectionAddr::Tcp(host.clone(), *port);
    let name = if parts.name.is_empty() { "mymaster" } else { parts.name };
    let sentinels = parts.hosts.iter().map(address);
    let mut builder = SentinelClientBuilder::new(sentinels, name, SentinelServerType::Master)?;
    if let Some((user, password)) = parts.login {
        builder = builder.set_client_to_redis_password(password);
        if !user.is_empty() {
            builder = builder.set_client_to_redis_username(user);
        }
    }
    if tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build().map(|client| RedisEndpoint::Sentinel(Box::new(Mutex::new(client))))
}

fn cluster(
    parts: &RedisUrl<'_>,
    tls: bool,
    certificates: Option<TlsCertificates>,
) -> RedisResult<RedisEndpoint> {
    let scheme = if tls { "rediss" } else { "redis" };
    let url = |(host, port): &(String, u16)| format!("{scheme}://{host}:{port}");
    let mut builder = ClusterClient::builder(parts.hosts.iter().map(url))
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(CONNECT_TIMEOUT)
        .retries(2);
    if let Some((user, password)) = parts.login {
        builder = builder.password(password);
        if !user.is_empty() {
            builder = builder.username(user);
        }
    }
    if let Some(certificates) = certificates {
        builder = builder.certs(certificates);
    }
    builder.build().map(|client| RedisEndpoint::Cluster(Box::new(client)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_url_scheme_selects_topology() {
        let read = |url| RedisEndpoint::parse(url, None);
        assert!(matches!(read("redis://:secret@cache:6379/1"), Ok(RedisEndpoint::Single(_))));
        assert!(matches!(read("rediss://cache"), Ok(RedisEndpoint::Single(_))));
        assert!(matches!(read("redis+sentinel://a:1,b:2/main"), Ok(RedisEndpoint::Sentinel(_))));
        assert!(matches!(
            read("rediss+cluster://user:p@ss@a,b:7001"),
            Ok(RedisEndpoint::Cluster(_))
        ));
        for invalid in ["", "cache:6379", "http://cache", "redis+raft://a", "redis+cluster://a:x"] {
            assert!(read(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn redis_url_password_may_contain_separators() {
        let parts = parse_parts("user:p@s:s@a:1,b/main", 9).unwrap();
        assert_eq!(parts.login, Some(("user", "p@s:s")));
        assert_eq!(parts.hosts, [("a".to_owned(), 1), ("b".to_owned(), 9)]);
        assert_eq!(parts.name, "main");
    }
}
