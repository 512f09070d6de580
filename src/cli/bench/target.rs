//! How participants get into a room: of SecureVOX, or of Janus' videoroom.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use media::client::{OfferSection, TestPeer};
use media::{MediaKind, TrackId};
use serde_json::{Value, json};

use super::wire::{WebSocketClient, ask, wrong};
use crate::cli::CliError;

/// Somebody who is let in.
pub(super) struct JoinedParticipant {
    /// Where signals come.
    pub(super) socket: WebSocketClient,
    /// Where to send media.
    pub(super) address: SocketAddr,
    /// When the room was asked for.
    pub(super) asked: Instant,
}

/// Which server, and with what right.
pub(super) enum TargetServer {
    /// Call tokens are made for one person, with this header; each is a device of its own.
    SecureVox { server: String, authorization: String, user: String, run: String },
    /// Over its WebSockets. The feeds of its rooms, as room and id.
    Janus { server: String, feeds: std::sync::Mutex<Vec<(usize, u64)>>, run: u64 },
}

static TRANSACTION: AtomicU64 = AtomicU64::new(1);

/// The time, as media counts it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl TargetServer {
    /// Opens a room's door for a publisher of a camera and a microphone.
    pub(super) async fn publish(
        &self,
        room: usize,
        client: &mut TestPeer,
        local: SocketAddr,
    ) -> Result<JoinedParticipant, CliError> {
        let lines = [
            OfferSection::new("0", MediaKind::Video).with_formats(&[96, 97]).sending(),
            OfferSection::new("1", MediaKind::Audio).with_formats(&[111]).sending(),
        ];
        match self {
            Self::SecureVox { .. } => {
                let (mut socket, asked, _) = self.join(room).await?;
                let data = json!({ "sdp": client.offer(&lines)? });
                let address = offer(&mut socket, &data, client).await?;
                Ok(JoinedParticipant { socket, address, asked })
            }
            Self::Janus { server, feeds, run } => {
                let mut plugin = JanusHandle::attach(server).await?;
                let number = run + room as u64;
                let create = json!({
                    "request": "create", "room": number, "publishers": 100, "videocodec": "vp8",
                    "audiocodec": "opus", "bitrate": 0, "audiolevel_ext": true,
                    "transport_wide_cc_ext": true,
                });
                plugin.ask(create, None).await?; // whoever comes second hears that it exists
                let asked = now();
                // Given the choice, Janus begins the handshake; a client of ours begins always.
                let sdp = client.offer(&lines)?.replace("a=setup:actpass", "a=setup:active");
                let sdp = with_candidate(&sdp, local);
                let join = json!({
                    "request": "joinandconfigure", "ptype": "publisher", "room": number,
                    "audio": true, "video": true,
                });
                let (data, answer) =
                    plugin.ask(join, Some(json!({ "type": "offer", "sdp": sdp }))).await?;
                let address = client.answered(&answer.ok_or_else(|| wrong(data.to_string()))?)?;
                let feed = data["id"].as_u64().ok_or_else(|| wrong("Janus names no feed"))?;
                feeds.lock().map_err(|_| wrong("a client failed"))?.push((room, feed));
                Ok(JoinedParticipant { socket: plugin.socket, address, asked })
            }
        }
    }

    /// Lets somebody in who receives everything in the room.
    pub(super) async fn subscribe(
        &self,
        room: usize,
        client: &mut TestPeer,
        local: SocketAddr,
    ) -> Result<JoinedParticipant, CliError> {
        match self {
            Self::SecureVox { .. } => {
                let (mut socket, asked, joined) = self.join(room).await?;
                let mut receive = serde_json::Map::new();
                let mut lines = Vec::new();
                for track in joined["tracks"].as_array().into_iter().flatten() {
                    let mid = lines.len().to_string();
                    receive.insert(mid.clone(), track["track_id"].clone());
                    let video = track["kind"] == "video";
                    let kind = if video { MediaKind::Video } else { MediaKind::Audio };
                    let formats: &[u8] = if video { &[96, 97] } else { &[111] };
                    let line = OfferSection::new(&mid, kind).with_formats(formats);
                    lines.push(line.receiving(TrackId(0))); // which one, `receive` says
                }
                let data = json!({ "sdp": client.offer(&lines)?, "receive": receive });
                let address = offer(&mut socket, &data, client).await?;
                Ok(JoinedParticipant { socket, address, asked })
            }
            Self::Janus { server, feeds, run } => {
                let streams: Vec<Value> = {
                    let feeds = feeds.lock().map_err(|_| wrong("a client failed"))?;
                    let here = feeds.iter().filter(|(of, _)| *of == room);
                    here.map(|(_, feed)| json!({ "feed": feed })).collect()
                };
                let mut plugin = JanusHandle::attach(server).await?;
                let asked = now();
                let join = json!({
                    "request": "join", "ptype": "subscriber", "room": run + room as u64,
                    "streams": streams,
                });
                let (data, offer) = plugin.ask(join, None).await?;
                let (answer, address) =
                    client.accept(&offer.ok_or_else(|| wrong(data.to_string()))?)?;
                let answer = json!({ "type": "answer", "sdp": with_candidate(&answer, local) });
                plugin.ask(json!({ "request": "start" }), Some(answer)).await?;
                Ok(JoinedParticipant { socket: plugin.socket, address, asked })
            }
        }
    }

    /// A new device joins; gives when it asked, and the reply.
    async fn join(&self, room: usize) -> Result<(WebSocketClient, Instant, Value), CliError> {
        let Self::SecureVox { server, authorization, user, run } = self else {
            return Err(wrong("not a door of SecureVOX"));
        };
        let session = format!("{run}-{room}");
        let new = json!({ "userId": user, "sessionId": session });
        let token = ask(server, "POST", "/api/call/token", authorization, &new).await?;
        let mut socket = WebSocketClient::open(server, "/ws", None).await?;
        request(&mut socket, "authenticate", &json!({ "token": token["token"] })).await?;
        let asked = now();
        let joined = request(&mut socket, "join_call", &json!({ "sessionId": session })).await?;
        Ok((socket, asked, joined))
    }
}

async fn request(
    socket: &mut WebSocketClient,
    event: &str,
    data: &Value,
) -> Result<Value, CliError> {
    let id = TRANSACTION.fetch_add(1, Ordering::Relaxed);
    socket.say(&json!({ "id": id, "event": event, "data": data })).await?;
    let reply = socket.wait(|frame| frame["reply"] == id).await?;
    match reply.get("error") {
        Some(problem) => Err(wrong(format!("{event}: {problem}"))),
        None => Ok(reply["data"].clone()),
    }
}

/// Offers to a server of SecureVOX, which may answer before it replies.
async fn offer(
    socket: &mut WebSocketClient,
    data: &Value,
    client: &mut TestPeer,
) -> Result<SocketAddr, CliError> {
    socket.say(&json!({ "event": "offer", "data": data })).await?;
    let heard =
        socket.wait(|frame| frame["event"] == "answer" || frame.get("error").is_some()).await?;
    let answer = heard["data"]["sdp"].as_str();
    Ok(client.answered(answer.ok_or_else(|| wrong(heard.to_string()))?)?)
}

/// Janus waits for a client's candidate; the real address it learns from the checks.
fn with_candidate(sdp: &str, local: SocketAddr) -> String {
    let port = local.port();
    let candidate = format!(
        "a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host\r\na=end-of-candidates\r\na=mid:"
    );
    sdp.replace("a=mid:", &candidate)
}

/// One handle of Janus' videoroom, with a session of its own.
struct JanusHandle {
    socket: WebSocketClient,
    session: Value,
    handle: Value,
}

impl JanusHandle {
    async fn attach(server: &str) -> Result<Self, CliError> {
        let socket = WebSocketClient::open(server, "/", Some("janus-protocol")).await?;
        let mut plugin = Self { socket, session: Value::Null, handle: Value::Null };
        plugin.session = plugin.tell(json!({ "janus": "create" })).await?["data"]["id"].clone();
        let attach = json!({ "janus": "attach", "plugin": "janus.plugin.videoroom" });
        plugin.handle = plugin.tell(attach).await?["data"]["id"].clone();
        Ok(plugin)
    }

    /// Asks the room; gives what it says, and its description.
    async fn ask(
        &mut self,
        body: Value,
        jsep: Option<Value>,
    ) -> Result<(Value, Option<String>), CliError> {
        let mut message = json!({ "janus": "message", "body": body });
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        let answer = self.tell(message).await?;
        let sdp = answer["jsep"]["sdp"].as_str().map(str::to_owned);
        Ok((answer["plugindata"]["data"].clone(), sdp))
    }

    async fn tell(&mut self, mut message: Value) -> Result<Value, CliError> {
        let transaction = TRANSACTION.fetch_add(1, Ordering::Relaxed).to_string();
        message["transaction"] = json!(transaction);
        for (name, id) in [("session_id", &self.session), ("handle_id", &self.handle)] {
            if !id.is_null() {
                message[name] = id.clone();
            }
        }
        self.socket.say(&message).await?;
        let is_it = |it: &Value| it["transaction"] == transaction && it["janus"] != "ack";
        let answer = self.socket.wait(is_it).await?;
        match answer.get("error") {
            Some(error) => Err(wrong(format!("Janus: {error}"))),
            None => Ok(answer),
        }
    }
}
