//! Plain HTTP and WebSockets of a client, as little of them as it needs.

use std::time::Duration;

use actix_codec::Framed;
use actix_http::ws::{Codec, Frame, Item, Message};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cli::CliError;

/// Longer frames are no answers.
const LONGEST: usize = 4 << 20;
/// How long any answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn wrong(words: impl Into<String>) -> CliError {
    CliError(words.into(), 1)
}

/// Asks once and gives the answer, which must be a success. `authorization` is the whole header.
pub(super) async fn ask(
    server: &str,
    method: &str,
    path: &str,
    authorization: &str,
    body: &Value,
) -> Result<Value, CliError> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let authorization = match authorization {
        "" => String::new(),
        header => format!("authorization: {header}\r\n"),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {server}\r\n{authorization}connection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len(),
    );
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    match head.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(serde_json::from_str(body)?),
        _ => Err(wrong(format!("{method} {path}: {}", body.trim_end()))),
    }
}

/// An open WebSocket.
pub(super) struct WebSocketClient {
    framed: Framed<TcpStream, Codec>,
    /// A message of which more is to come.
    begun: Vec<u8>,
}

impl WebSocketClient {
    /// Opens one at `path`.
    pub(super) async fn open(
        server: &str,
        path: &str,
        protocol: Option<&str>,
    ) -> Result<Self, CliError> {
        let mut stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let protocol = protocol.map(|it| format!("sec-websocket-protocol: {it}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {server}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             {}sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            protocol.unwrap_or_default(),
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 {
            head.push(stream.read_u8().await?); // byte by byte: frames may follow at once
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            let words = String::from_utf8_lossy(&head);
            return Err(wrong(format!("no WebSocket at {server}{path}: {words}")));
        }
        let framed = Framed::new(stream, Codec::new().client_mode().max_size(LONGEST));
        Ok(Self { framed, begun: Vec::new() })
    }

    pub(super) async fn say(&mut self, message: &Value) -> Result<(), CliError> {
        Ok(self.framed.send(Message::Text(message.to_string().into())).await?)
    }

    /// The next message; pings are answered on the way.
    pub(super) async fn hear(&mut self) -> Result<Value, CliError> {
        loop {
            match self.framed.next().await {
                Some(Ok(Frame::Text(bytes))) => return Ok(serde_json::from_slice(&bytes)?),
                Some(Ok(Frame::Continuation(
                    Item::FirstText(part) | Item::FirstBinary(part) | Item::Continue(part),
                ))) => self.begun.extend(part),
                Some(Ok(Frame::Continuation(Item::Last(part)))) => {
                    self.begun.extend(part);
                    return Ok(serde_json::from_slice(&std::mem::take(&mut self.begun))?);
                }
                Some(Ok(Frame::Ping(bytes))) => self.framed.send(Message::Pong(bytes)).await?,
                Some(Ok(Frame::Close(reason))) => {
                    let reason = reason.and_then(|it| it.description).unwrap_or_default();
                    return Err(wrong(format!("the server ended a socket: {reason}")));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(wrong("the server closed a socket")),
            }
        }
    }

    /// The next message that is looked for.
    pub(super) async fn wait(&mut self, is_it: impl Fn(&Value) -> bool) -> Result<Value, CliError> {
        let search = async {
            loop {
                let message = self.hear().await?;
                if is_it(&message) {
                    return Ok(message);
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await?
    }
}
