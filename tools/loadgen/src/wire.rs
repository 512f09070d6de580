//! A minimal HTTP/1.1 and WebSocket client (RFC 9112, RFC 6455).

use std::time::Duration;

use actix_codec::Framed;
use actix_http::ws::{Codec, Frame, Item, Message};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Failure;

/// Largest WebSocket frame accepted.
const MAX_FRAME_BYTES: usize = 4 << 20;
/// How long any reply may take.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends one request and returns the JSON of a successful response. `authorization` is the header's value.
pub(super) async fn request(
    server: &str,
    method: &str,
    path: &str,
    authorization: &str,
    body: &Value,
) -> Result<Value, Failure> {
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
    let mut response = String::new();
    tokio::time::timeout(REPLY_TIMEOUT, stream.read_to_string(&mut response)).await??;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    match head.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(serde_json::from_str(body)?),
        _ => Err(format!("{method} {path}: {}", body.trim_end()).into()),
    }
}

/// An open WebSocket.
pub(super) struct WebSocketClient {
    framed: Framed<TcpStream, Codec>,
    /// The fragments so far of a fragmented message.
    fragments: Vec<u8>,
}

impl WebSocketClient {
    /// Opens a WebSocket at `path`, with an optional subprotocol.
    pub(super) async fn open(
        server: &str,
        path: &str,
        protocol: Option<&str>,
    ) -> Result<Self, Failure> {
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
            let head = String::from_utf8_lossy(&head);
            return Err(format!("no WebSocket at {server}{path}: {head}").into());
        }
        let framed = Framed::new(stream, Codec::new().client_mode().max_size(MAX_FRAME_BYTES));
        Ok(Self { framed, fragments: Vec::new() })
    }

    /// Sends a message as a text frame.
    pub(super) async fn send(&mut self, message: &Value) -> Result<(), Failure> {
        Ok(self.framed.send(Message::Text(message.to_string().into())).await?)
    }

    /// Receives the next message; answers pings meanwhile.
    pub(super) async fn receive(&mut self) -> Result<Value, Failure> {
        loop {
            match self.framed.next().await {
                Some(Ok(Frame::Text(bytes))) => return Ok(serde_json::from_slice(&bytes)?),
                Some(Ok(Frame::Continuation(
                    Item::FirstText(part) | Item::FirstBinary(part) | Item::Continue(part),
                ))) => self.fragments.extend(part),
                Some(Ok(Frame::Continuation(Item::Last(part)))) => {
                    self.fragments.extend(part);
                    return Ok(serde_json::from_slice(&std::mem::take(&mut self.fragments))?);
                }
                Some(Ok(Frame::Ping(bytes))) => self.framed.send(Message::Pong(bytes)).await?,
                Some(Ok(Frame::Close(reason))) => {
                    let reason = reason.and_then(|it| it.description).unwrap_or_default();
                    return Err(format!("the server closed a socket: {reason}").into());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err("the server closed a socket".into()),
            }
        }
    }

    /// Receives messages until one matches, and returns that one.
    pub(super) async fn receive_matching(
        &mut self,
        matches: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let search = async {
            loop {
                let message = self.receive().await?;
                if matches(&message) {
                    return Ok(message);
                }
            }
        };
        tokio::time::timeout(REPLY_TIMEOUT, search).await?
    }
}
