//! A person with one device: what they ask of the server.

use std::time::Duration;

use awc::http::Method;
use serde_json::{Value, json};

use super::{Answer, Socket};

/// The password of everybody.
pub const PASSWORD: &str = "a long enough password";

/// Somebody who asks; a stranger has no tokens.
#[derive(Clone)]
pub struct Person {
    pub address: String,
    pub name: String,
    pub phone: String,
    pub id: String,
    pub device: String,
    pub access: String,
    pub refresh: String,
    client: awc::Client,
}

impl Person {
    pub fn stranger(address: String) -> Self {
        // The server ends idle connections after 5 s: whoever uses one then may find it gone.
        let connector = awc::Connector::new().conn_keep_alive(Duration::from_secs(1));
        let builder = awc::Client::builder().connector(connector);
        let client = builder.timeout(Duration::from_secs(30)).disable_redirects().finish();
        let none = String::new;
        Self {
            address,
            name: none(),
            phone: none(),
            id: none(),
            device: none(),
            access: none(),
            refresh: none(),
            client,
        }
    }

    pub fn from_answer(address: String, name: &str, phone: &str, signed_in: Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Self {
            name: name.to_owned(),
            phone: phone.to_owned(),
            id: text(&signed_in["user"]["id"]),
            device: text(&signed_in["device"]["id"]),
            access: text(&signed_in["access_token"]),
            refresh: text(&signed_in["refresh_token"]),
            ..Self::stranger(address)
        }
    }

    pub async fn registers(&self, phone: &str, name: &str) -> Answer {
        let body = json!({
            "phone": phone, "password": PASSWORD, "name": name,
            "device": { "name": format!("{name}'s phone"), "platform": "test" },
        });
        self.post("/api/auth/register", body).await
    }

    pub async fn logs_in(&self, phone: &str) -> Answer {
        self.post("/api/auth/login", json!({ "phone": phone, "password": PASSWORD })).await
    }

    /// The same person on a second device.
    pub async fn second_device(&self) -> Self {
        let answer = self.logs_in(&self.phone).await.ok();
        Self::from_answer(self.address.clone(), &self.name, &self.phone, answer)
    }

    pub async fn befriends(&self, other: &Self) {
        self.post("/api/contacts", json!({ "user_id": other.id })).await.created();
        other.post(&format!("/api/contacts/{}/accept", self.id), json!(null)).await.done();
    }

    /// Says something; the client id is given.
    pub async fn says(&self, conversation: &str, client_id: &str, body: &str) -> Answer {
        let path = format!("/api/conversations/{conversation}/messages");
        self.post(&path, json!({ "client_id": client_id, "body": body })).await
    }

    /// Everything the person can read of a conversation, in order.
    pub async fn reads(&self, conversation: &str) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), "0".to_owned());
        loop {
            let path =
                format!("/api/conversations/{conversation}/messages?limit=200&after={after}");
            let page = self.get(&path).await.ok();
            all.extend(page["items"].as_array().expect("items").iter().cloned());
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => return all,
            }
        }
    }

    /// Says something to a server that may be gone: the message, or `None` if it is unknown what
    /// became of it.
    pub async fn tries_to_say(&self, conversation: &str, client_id: &str) -> Option<(u16, Value)> {
        let path = format!("/api/conversations/{conversation}/messages");
        self.tries(Method::POST, &path, json!({ "client_id": client_id, "body": client_id })).await
    }

    /// Asks a server that may be gone: status and body, or `None` if it is unknown what became of it.
    pub async fn tries(&self, method: Method, path: &str, body: Value) -> Option<(u16, Value)> {
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        let request = request.insert_header(("authorization", format!("Bearer {}", self.access)));
        let mut response = request.send_json(&body).await.ok()?;
        let status = response.status().as_u16();
        let bytes = response.body().await.ok()?;
        Some((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.asks(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.asks(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.asks(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.asks(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.asks(Method::DELETE, path, None).await
    }

    /// Deletes with a body: a proof of who asks.
    pub async fn deletes(&self, path: &str, body: Value) -> Answer {
        self.asks(Method::DELETE, path, Some(body)).await
    }

    /// The same person, by another node.
    pub fn at(&self, address: String) -> Self {
        Self { address, ..self.anew() }
    }

    /// The same person with new connections, as after a restart of the server.
    pub fn anew(&self) -> Self {
        let Self { client, .. } = Self::stranger(self.address.clone());
        Self { client, ..self.clone() }
    }

    /// The bytes of an answer, and its status.
    pub async fn fetches(&self, path: &str) -> (u16, Vec<u8>) {
        let request = self.client.get(format!("http://{}{path}", self.address));
        let request = request.insert_header(("authorization", format!("Bearer {}", self.access)));
        let mut response = request.send().await.expect("the server answers");
        let bytes = response.body().limit(64 << 20).await.expect("a whole body");
        (response.status().as_u16(), bytes.to_vec())
    }

    /// Asks anything; `null` is an empty body.
    pub async fn asks(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let bearer = (!self.access.is_empty()).then(|| format!("Bearer {}", self.access));
        let headers: Vec<_> = bearer.iter().map(|b| ("authorization", b.as_str())).collect();
        let body = body.filter(|body| !body.is_null());
        let text = body.map(|body| body.to_string());
        self.sends(method, path, &headers, text.map(String::into_bytes)).await
    }

    /// Sends exactly these headers and bytes; a body is called JSON unless a header says otherwise.
    pub async fn sends(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(method, url);
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        if body.is_some() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.insert_header(("content-type", "application/json"));
        }
        let sent = request.send_body(body.unwrap_or_default()).await;
        let mut response = sent.expect("the server answers");
        let headers = response.headers().iter();
        let headers = headers
            .map(|(n, v)| (n.as_str().to_owned(), v.to_str().unwrap_or("").to_owned()))
            .collect();
        let bytes = response.body().limit(16 << 20).await.expect("a whole body");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status: response.status().as_u16(), headers, body, text }
    }

    /// Opens an authenticated socket.
    pub async fn connects(&self) -> Socket {
        let mut socket = Socket::open(&self.address).await;
        socket.asks("authenticate", json!({ "token": self.access })).await.expect("a good token");
        socket.hears("authenticated").await;
        socket
    }

    /// Opens a socket that asks for everything after these cursors.
    pub async fn connects_and_syncs(&self, cursors: Value) -> Socket {
        let mut socket = self.connects().await;
        socket.asks("sync", json!({ "cursors": cursors })).await.expect("a sync");
        socket
    }
}
