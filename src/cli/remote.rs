//! Client for the admin API of a running server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base::secret::Secret;
use serde::Deserialize;

use super::CliError;
use crate::config::Config;

/// The server's address and the operator's credentials.
#[derive(clap::Args)]
pub(super) struct RemoteArgs {
    /// Host and port of a plain-HTTP listener; http.bind of the settings if omitted.
    #[arg(long)]
    server: Option<String>,
    /// An operator's or administrator's phone number; the password is prompted for.
    #[arg(long, required_unless_present = "token")]
    phone: Option<String>,
    /// An access token, instead of a phone number.
    #[arg(long, env = "SECUREVOX_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[derive(Deserialize)]
struct LoginReply {
    access_token: Secret<String>,
}

/// Advice for listeners that speak TLS.
const PLAIN_HTTP_HINT: &str = "use --server with the host and port of a plain-HTTP listener on this \
                     machine, such as one behind a proxy that terminates TLS";

/// Exit code if nobody accepts connections (sysexits.h).
pub(super) const EX_UNAVAILABLE: u8 = 69;

/// A server and an access token for it.
pub(super) struct AdminClient {
    server: String,
    token: Secret<String>,
}

impl AdminClient {
    /// Checks the server's protocol and signs in.
    pub(super) fn open(args: &RemoteArgs, config: &Config) -> Result<Self, CliError> {
        let server = match &args.server {
            Some(server) => server.clone(),
            None if config.http.has_tls() => {
                let message =
                    "the configured server speaks TLS, which this command does not support";
                return Err(CliError(format!("{message}: {PLAIN_HTTP_HINT}"), 64)); // EX_USAGE
            }
            None => config.http.bind.to_string(),
        };
        probe(&server)?;
        let token = match (&args.token, &args.phone) {
            (Some(token), _) => Secret::new(token.clone()),
            (None, Some(phone)) => sign_in(&server, phone, &super::password()?)?,
            (None, None) => return Err(CliError("--phone or --token is required".to_owned(), 64)), // EX_USAGE
        };
        Ok(Self { server, token })
    }

    /// Requests `path` with GET and parses the response.
    pub(super) fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let body = send(&self.server, "GET", path, Some(&self.token), "")?;
        Ok(serde_json::from_str(&body)?)
    }

    /// Requests `path` with POST.
    pub(super) fn post(&self, path: &str) -> Result<(), CliError> {
        send(&self.server, "POST", path, Some(&self.token), "").map(drop)
    }

    /// Whether the server accepts connections.
    pub(super) fn accepts_connections(&self) -> bool {
        TcpStream::connect(&self.server).is_ok()
    }
}

fn sign_in(
    server: &str,
    phone: &str,
    password: &Secret<String>,
) -> Result<Secret<String>, CliError> {
    let device = serde_json::json!({ "name": "securevox", "platform": "cli" });
    let login =
        serde_json::json!({ "phone": phone, "password": password.expose(), "device": device });
    let body = send(server, "POST", "/api/auth/login", None, &login.to_string())?;
    let signed_in: LoginReply = serde_json::from_str(&body)?;
    Ok(signed_in.access_token)
}

/// Checks that the server speaks plain HTTP, before anything secret is sent.
fn probe(server: &str) -> Result<(), CliError> {
    let response = exchange(connect(server)?, server, "GET", "/health/live", None, "");
    let problem = match response {
        Ok((status, _)) if status.starts_with('2') => return Ok(()),
        Ok((status, _)) => format!("answered {status} to the liveness probe"),
        Err(_) => "does not speak plain HTTP".to_owned(),
    };
    Err(CliError(format!("{server} {problem}; no credentials were sent: {PLAIN_HTTP_HINT}"), 76)) // EX_PROTOCOL
}

fn send(
    server: &str,
    method: &str,
    path: &str,
    token: Option<&Secret<String>>,
    body: &str,
) -> Result<String, CliError> {
    let (status, body) = exchange(connect(server)?, server, method, path, token, body)?;
    if status.starts_with('2') {
        Ok(body)
    } else {
        Err(CliError(format!("{server} answered {status}: {body}"), 1))
    }
}

fn connect(server: &str) -> Result<TcpStream, CliError> {
    let stream = TcpStream::connect(server)
        .map_err(|error| CliError(format!("no server at {server}: {error}"), EX_UNAVAILABLE))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// Sends one HTTP/1.1 request and returns status and body of the response. It only talks to servers
/// of its own kind, on this machine or a trusted network, so no client library is needed.
fn exchange(
    mut stream: TcpStream,
    server: &str,
    method: &str,
    path: &str,
    token: Option<&Secret<String>>,
    body: &str,
) -> Result<(String, String), CliError> {
    let token =
        token.map_or_else(String::new, |t| format!("Authorization: Bearer {}\r\n", t.expose()));
    let length = body.len();
    // Sent in one write: a server that answers after a part of it may not read the rest.
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{token}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    if !head.starts_with("HTTP/1.") {
        return Err(CliError(format!("{server} does not speak HTTP"), 76)); // EX_PROTOCOL
    }
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        unchunk(body)
    } else {
        body.to_owned()
    };
    Ok((status, body))
}

/// Decodes chunked transfer coding (RFC 9112 §7.1).
fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = after.get(..size).filter(|chunk| !chunk.is_empty()) else { break };
        body.push_str(chunk);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    body
}
