//! A device's bare WebSocket.

use std::collections::VecDeque;

use actix_codec::Framed;
use awc::BoxedSocket;
use awc::ws::{Codec, Frame, Message};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};

use super::soon;

/// One open socket; events that nobody waited for yet are kept in order.
pub struct Socket {
    framed: Framed<BoxedSocket, Codec>,
    events: VecDeque<Value>,
    next: u64,
}

/// How a socket ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// With a close frame.
    Closed(u16, String),
    /// Without one.
    Lost,
}

impl Socket {
    pub async fn open(address: &str) -> Self {
        Self::try_open(address, &[]).await.expect("the server upgrades")
    }

    pub async fn try_open(address: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let client = awc::Client::new();
        let mut request = client.ws(format!("ws://{address}/ws")).max_frame_size(1 << 20);
        for (name, value) in headers {
            request = request.set_header(*name, *value);
        }
        match soon("the upgrade", request.connect()).await {
            Ok((_, framed)) => Ok(Self { framed, events: VecDeque::new(), next: 1 }),
            Err(awc::error::WsClientError::InvalidResponseStatus(status)) => Err(status.as_u16()),
            Err(_) => Err(0), // nobody listens
        }
    }

    /// Sends a text as it is.
    pub async fn sends_text(&mut self, text: impl Into<String>) {
        let _ = self.framed.send(Message::Text(text.into().into())).await; // the end is seen on reading
    }

    /// Sends any message.
    pub async fn sends(&mut self, message: Message) {
        let _ = self.framed.send(message).await;
    }

    /// Sends a request without waiting for its reply; gives its id.
    pub async fn says(&mut self, event: &str, data: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        self.sends_text(json!({ "id": id, "event": event, "data": data }).to_string()).await;
        id
    }

    /// Sends a request and waits for its reply: the data, or the problem.
    pub async fn asks(&mut self, event: &str, data: Value) -> Result<Value, Value> {
        let id = self.says(event, data).await;
        self.reply(json!(id)).await
    }

    /// Waits for the reply to a request.
    pub async fn reply(&mut self, id: Value) -> Result<Value, Value> {
        let is_it = |frame: &Value| frame.get("reply") == Some(&id);
        let frame = self.frame("a reply", is_it).await.expect("the socket stays");
        match frame.get("data") {
            Some(data) => Ok(data.clone()),
            None => Err(frame["error"].clone()),
        }
    }

    /// Waits for the next event of this name.
    pub async fn hears(&mut self, event: &str) -> Value {
        let is_it = |frame: &Value| frame["event"] == event;
        let frame = self.frame(event, is_it).await.expect("the socket stays");
        frame["data"].clone()
    }

    /// Waits for `count` messages, and gives their places in the order.
    pub async fn hears_messages(&mut self, count: usize) -> Vec<Value> {
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            all.push(self.hears("message").await);
        }
        all
    }

    /// Waits for any frame, from a server that may be gone.
    pub async fn next(&mut self) -> Result<Value, End> {
        self.frame("any frame", |_| true).await
    }

    /// Events of this name that have come and that nobody waited for. To be called after something
    /// that was certainly sent later has been heard.
    pub fn unheard(&self, event: &str) -> usize {
        self.events.iter().filter(|frame| frame["event"] == event).count()
    }

    /// Waits until the server ends the socket.
    pub async fn ends(&mut self) -> End {
        match self.frame("the end", |_| false).await {
            Ok(_) => unreachable!("nothing fits"),
            Err(end) => end,
        }
    }

    /// Goes away without a word, as a phone in a tunnel.
    pub fn vanishes(self) {
        drop(self);
    }

    async fn frame(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value, End> {
        if let Some(at) = self.events.iter().position(&is_it) {
            return Ok(self.events.remove(at).expect("it was there"));
        }
        soon(what, async {
            loop {
                match self.framed.next().await {
                    Some(Ok(Frame::Text(bytes))) => {
                        let frame = serde_json::from_slice(&bytes).expect("a JSON frame");
                        if is_it(&frame) {
                            return Ok(frame);
                        }
                        self.events.push_back(frame);
                    }
                    Some(Ok(Frame::Ping(bytes))) => self.sends(Message::Pong(bytes)).await,
                    Some(Ok(Frame::Close(reason))) => {
                        let reason = reason.expect("the server gives a reason");
                        let text = reason.description.unwrap_or_default();
                        return Err(End::Closed(reason.code.into(), text));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(End::Lost),
                }
            }
        })
        .await
    }
}
