//! How participants join a room of SecureVOX or of Janus' videoroom.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use media::test_peer::{OfferSection, TestPeer};
use media::{MediaKind, TrackId};
use serde_json::{Value, json};

use crate::Failure;
use crate::wire::{self, WebSocketClient};

/// A participant that the server has admitted to a room.
pub(super) struct JoinedParticipant {
    /// Its signalling connection.
    pub(super) socket: WebSocketClient,
    /// The server's address for media.
    pub(super) address: SocketAddr,
    /// When it asked to join.
    pub(super) joined_at: Instant,
}

/// The server under load, and the credentials for it.
pub(super) enum TargetServer {
    /// Every participant is a device of one user, with a call token made under this `Authorization` header.
    SecureVox { server: String, authorization: String, user: String, run: String },
    /// Janus over its WebSocket interface; `feeds` are the published feeds as room and feed id.
    Janus { server: String, feeds: std::sync::Mutex<Vec<(usize, u64)>>, run: u64 },
}

static TRANSACTION: AtomicU64 = AtomicU64::new(1);

/// The clock of media: tokio's monotonic time.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl TargetServer {
    /// Joins a room as the publisher of a camera and a microphone.
    pub(super) async fn publish(
        &self,
        room: usize,
        client: &mut TestPeer,
        local: SocketAddr,
    ) -> Result<JoinedParticipant, Failure> {
        let sections = [
            OfferSection::new("0", MediaKind::Video).with_formats(&[96, 97]).sending(),
            OfferSection::new("1", MediaKind::Audio).with_formats(&[111]).sending(),
        ];
        match self {
            Self::SecureVox { .. } => {
                let (mut socket, joined_at, _) = self.join(room).await?;
                let data = json!({ "sdp": client.offer(&sections)? });
                let address = offer(&mut socket, &data, client).await?;
                Ok(JoinedParticipant { socket, address, joined_at })
            }
            Self::Janus { server, feeds, run } => {
                let mut videoroom = JanusHandle::attach(server).await?;
                let number = run + room as u64;
                let create = json!({
                    "request": "create", "room": number, "publishers": 100, "videocodec": "vp8",
                    "audiocodec": "opus", "bitrate": 0, "audiolevel_ext": true,
                    "transport_wide_cc_ext": true,
                });
                videoroom.request(create, None).await?; // fails for all but the first publisher, since the room exists
                let joined_at = now();
                // With actpass Janus would take the DTLS client role, which the test peer always has.
                let sdp = client.offer(&sections)?.replace("a=setup:actpass", "a=setup:active");
                let sdp = with_candidate(&sdp, local);
                let join = json!({
                    "request": "joinandconfigure", "ptype": "publisher", "room": number,
                    "audio": true, "video": true,
                });
                let (data, answer) =
                    videoroom.request(join, Some(json!({ "type": "offer", "sdp": sdp }))).await?;
                let address = client.answered(&answer.ok_or_else(|| data.to_string())?)?;
                let feed = data["id"].as_u64().ok_or("Janus names no feed")?;
                feeds.lock().map_err(|_| "a client failed")?.push((room, feed));
                Ok(JoinedParticipant { socket: videoroom.socket, address, joined_at })
            }
        }
    }

    /// Joins a room as a subscriber of everything in it.
    pub(super) async fn subscribe(
        &self,
        room: usize,
        client: &mut TestPeer,
        local: SocketAddr,
    ) -> Result<JoinedParticipant, Failure> {
        match self {
            Self::SecureVox { .. } => {
                let (mut socket, joined_at, joined) = self.join(room).await?;
                let mut receive = serde_json::Map::new();
                let mut sections = Vec::new();
                for track in joined["tracks"].as_array().into_iter().flatten() {
                    let mid = sections.len().to_string();
                    receive.insert(mid.clone(), track["track_id"].clone());
                    let video = track["kind"] == "video";
                    let kind = if video { MediaKind::Video } else { MediaKind::Audio };
                    let formats: &[u8] = if video { &[96, 97] } else { &[111] };
                    let section = OfferSection::new(&mid, kind).with_formats(formats);
                    sections.push(section.receiving(TrackId(0))); // `receive` names the track
                }
                let data = json!({ "sdp": client.offer(&sections)?, "receive": receive });
                let address = offer(&mut socket, &data, client).await?;
                Ok(JoinedParticipant { socket, address, joined_at })
            }
            Self::Janus { server, feeds, run } => {
                let streams: Vec<Value> = {
                    let feeds = feeds.lock().map_err(|_| "a client failed")?;
                    let feeds = feeds.iter().filter(|(of, _)| *of == room);
                    feeds.map(|(_, feed)| json!({ "feed": feed })).collect()
                };
                let mut videoroom = JanusHandle::attach(server).await?;
                let joined_at = now();
                let join = json!({
                    "request": "join", "ptype": "subscriber", "room": run + room as u64,
                    "streams": streams,
                });
                let (data, offer) = videoroom.request(join, None).await?;
                let (answer, address) = client.accept(&offer.ok_or_else(|| data.to_string())?)?;
                let answer = json!({ "type": "answer", "sdp": with_candidate(&answer, local) });
                videoroom.request(json!({ "request": "start" }), Some(answer)).await?;
                Ok(JoinedParticipant { socket: videoroom.socket, address, joined_at })
            }
        }
    }

    /// Joins as a new device; returns the socket, when it asked to join, and the reply.
    async fn join(&self, room: usize) -> Result<(WebSocketClient, Instant, Value), Failure> {
        let Self::SecureVox { server, authorization, user, run } = self else {
            return Err("the target is not SecureVOX".into());
        };
        let session = format!("{run}-{room}");
        let body = json!({ "userId": user, "sessionId": session });
        let token = wire::request(server, "POST", "/api/call/token", authorization, &body).await?;
        let mut socket = WebSocketClient::open(server, "/ws", None).await?;
        request(&mut socket, "authenticate", &json!({ "token": token["token"] })).await?;
        let joined_at = now();
        let joined = request(&mut socket, "join_call", &json!({ "sessionId": session })).await?;
        Ok((socket, joined_at, joined))
    }
}

async fn request(
    socket: &mut WebSocketClient,
    event: &str,
    data: &Value,
) -> Result<Value, Failure> {
    let id = TRANSACTION.fetch_add(1, Ordering::Relaxed);
    socket.send(&json!({ "id": id, "event": event, "data": data })).await?;
    let reply = socket.receive_matching(|frame| frame["reply"] == id).await?;
    match reply.get("error") {
        Some(problem) => Err(format!("{event}: {problem}").into()),
        None => Ok(reply["data"].clone()),
    }
}

/// Sends an offer to SecureVOX; its `answer` event may arrive before the reply.
async fn offer(
    socket: &mut WebSocketClient,
    data: &Value,
    client: &mut TestPeer,
) -> Result<SocketAddr, Failure> {
    socket.send(&json!({ "event": "offer", "data": data })).await?;
    let frame = socket
        .receive_matching(|frame| frame["event"] == "answer" || frame.get("error").is_some())
        .await?;
    let answer = frame["data"]["sdp"].as_str();
    Ok(client.answered(answer.ok_or_else(|| frame.to_string())?)?)
}

/// Adds a candidate, without which Janus does not start; it learns the real address from connectivity checks.
fn with_candidate(sdp: &str, local: SocketAddr) -> String {
    let port = local.port();
    let candidate = format!(
        "a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host\r\na=end-of-candidates\r\na=mid:"
    );
    sdp.replace("a=mid:", &candidate)
}

/// One plugin handle of Janus' videoroom, in a session of its own.
struct JanusHandle {
    socket: WebSocketClient,
    session: Value,
    handle: Value,
}

impl JanusHandle {
    async fn attach(server: &str) -> Result<Self, Failure> {
        let socket = WebSocketClient::open(server, "/", Some("janus-protocol")).await?;
        let mut videoroom = Self { socket, session: Value::Null, handle: Value::Null };
        videoroom.session =
            videoroom.transact(json!({ "janus": "create" })).await?["data"]["id"].clone();
        let attach = json!({ "janus": "attach", "plugin": "janus.plugin.videoroom" });
        videoroom.handle = videoroom.transact(attach).await?["data"]["id"].clone();
        Ok(videoroom)
    }

    /// Sends a request to the plugin; returns its data and session description.
    async fn request(
        &mut self,
        body: Value,
        jsep: Option<Value>,
    ) -> Result<(Value, Option<String>), Failure> {
        let mut message = json!({ "janus": "message", "body": body });
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        let reply = self.transact(message).await?;
        let sdp = reply["jsep"]["sdp"].as_str().map(str::to_owned);
        Ok((reply["plugindata"]["data"].clone(), sdp))
    }

    async fn transact(&mut self, mut message: Value) -> Result<Value, Failure> {
        let transaction = TRANSACTION.fetch_add(1, Ordering::Relaxed).to_string();
        message["transaction"] = json!(transaction);
        for (name, id) in [("session_id", &self.session), ("handle_id", &self.handle)] {
            if !id.is_null() {
                message[name] = id.clone();
            }
        }
        self.socket.send(&message).await?;
        let is_reply = |it: &Value| it["transaction"] == transaction && it["janus"] != "ack";
        let reply = self.socket.receive_matching(is_reply).await?;
        match reply.get("error") {
            Some(error) => Err(format!("Janus: {error}").into()),
            None => Ok(reply),
        }
    }
}
