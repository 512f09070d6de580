//! A running server, as operators speak to it from the command line.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base::secret::Secret;
use serde::Deserialize;

use super::CliError;
use crate::config::Config;

/// Where the server is and who asks.
#[derive(clap::Args)]
pub(super) struct RemoteArgs {
    /// The server's host and port, where it speaks plain HTTP; http.bind of the settings where it
    /// is left out.
    #[arg(long)]
    server: Option<String>,
    /// An operator's or administrator's phone number; the password is asked for.
    #[arg(long, required_unless_present = "token")]
    phone: Option<String>,
    /// An access token instead.
    #[arg(long, env = "SECUREVOX_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[derive(Deserialize)]
struct LoginReply {
    access_token: Secret<String>,
}

/// What to do where TLS is spoken.
const PLAIN: &str = "give with --server the host and port of a listener for plain HTTP on this \
                     machine, as behind a proxy that ends TLS";

/// Nobody takes connections there (sysexits.h).
pub(super) const EX_UNAVAILABLE: u8 = 69;

/// A server that was signed in to.
pub(super) struct AdminClient {
    server: String,
    token: Secret<String>,
}

impl AdminClient {
    /// Finds the server and signs in.
    pub(super) fn open(at: &RemoteArgs, config: &Config) -> Result<Self, CliError> {
        let server = match &at.server {
            Some(server) => server.clone(),
            None if config.http.has_tls() => {
                let words = "the server of these settings speaks TLS, which this command does not";
                return Err(CliError(format!("{words}: {PLAIN}"), 64)); // EX_USAGE
            }
            None => config.http.bind.to_string(),
        };
        probe(&server)?;
        let token = match (&at.token, &at.phone) {
            (Some(token), _) => Secret::new(token.clone()),
            (None, Some(phone)) => sign_in(&server, phone, &super::password()?)?,
            (None, None) => return Err(CliError("give --phone or --token".to_owned(), 64)), // EX_USAGE
        };
        Ok(Self { server, token })
    }

    /// What the server shows at `path`.
    pub(super) fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let body = ask(&self.server, "GET", path, Some(&self.token), "")?;
        Ok(serde_json::from_str(&body)?)
    }

    /// Has the server do something.
    pub(super) fn post(&self, path: &str) -> Result<(), CliError> {
        ask(&self.server, "POST", path, Some(&self.token), "").map(drop)
    }

    /// Whether a server takes connections there.
    pub(super) fn is_there(&self) -> bool {
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
    let body = ask(server, "POST", "/api/auth/login", None, &login.to_string())?;
    let signed_in: LoginReply = serde_json::from_str(&body)?;
    Ok(signed_in.access_token)
}

/// Learns whether it is plain HTTP that is spoken there, before anything secret is sent.
fn probe(server: &str) -> Result<(), CliError> {
    let answer = exchange(connect(server)?, server, "GET", "/health/live", None, "");
    let wrong = match answer {
        Ok((status, _)) if status.starts_with('2') => return Ok(()),
        Ok((status, _)) => format!("answered {status} when it was asked whether it lives"),
        Err(_) => "does not speak plain HTTP".to_owned(),
    };
    Err(CliError(format!("{server} {wrong}; nothing secret was sent to it: {PLAIN}"), 76)) // EX_PROTOCOL
}

fn ask(
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
    let stream = TcpStream::connect(server).map_err(|error| {
        CliError(format!("no server answers at {server}: {error}"), EX_UNAVAILABLE)
    })?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// One HTTP/1.1 request, and the status and body of its answer; this program speaks to its own kind
/// only, on this machine or a trusted network, so no client library is needed.
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
    // Written at once: whoever answers a part of it would not hear the rest.
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{token}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.") {
        return Err(CliError(format!("{server} does not answer in HTTP"), 76)); // EX_PROTOCOL
    }
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        unchunk(body)
    } else {
        body.to_owned()
    };
    Ok((status, body))
}

/// Chunked coding (RFC 9112 §7.1).
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
