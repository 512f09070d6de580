//! A client's end of the wire, as thin as it can be, so that what is measured is the server.

use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A connection that asks one thing after the other.
pub struct Http(BufReader<TcpStream>);

impl Http {
    pub async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks, and gives the answer, which must be a success.
    pub async fn ask(&mut self, method: &str, path: &str, token: &str, body: Value) -> Value {
        let (status, answer) = self.try_ask(method, path, token, Some(body)).await.unwrap();
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Makes the account of the `n`th person; gives their id and their token.
    pub async fn register(&mut self, n: usize) -> (String, String) {
        let body = json!({
            "phone": format!("+4915110{n:06}"), "password": "a long enough password",
            "name": "Ann", "device": { "name": "phone", "platform": "bench" },
        });
        let me = self.ask("POST", "/api/auth/register", "", body).await;
        let text = |at: &str| me.pointer(at).unwrap().as_str().unwrap().to_owned();
        (text("/user/id"), text("/access_token"))
    }

    /// Sends a file as a form does; gives the answer, which must be a success.
    pub async fn upload(&mut self, path: &str, token: &str, bytes: &[u8]) -> Value {
        let before = "--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\
                      content-type: application/octet-stream\r\n\r\n";
        let after = "\r\n--edge--\r\n";
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\
             content-type: multipart/form-data; boundary=edge\r\ncontent-length: {}\r\n\r\n{before}",
            before.len() + bytes.len() + after.len(),
        );
        let stream = self.0.get_mut();
        for part in [request.as_bytes(), bytes, after.as_bytes()] {
            stream.write_all(part).await.unwrap();
        }
        let (status, length) = head(&mut self.0).await.unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// Fetches a file; gives how long it is.
    pub async fn download(&mut self, path: &str, token: &str) -> usize {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).await.unwrap();
        let (status, length) = head(&mut self.0).await.unwrap();
        assert_eq!(status, 200);
        let mut body = (&mut self.0).take(length as u64);
        let copied = tokio::io::copy(&mut body, &mut tokio::io::sink()).await.unwrap();
        usize::try_from(copied).unwrap()
    }

    pub async fn try_ask(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> io::Result<(u16, Value)> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let bearer = if token.is_empty() {
            String::new()
        } else {
            format!("authorization: Bearer {token}\r\n")
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\n{bearer}content-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len(),
        );
        self.0.get_mut().write_all(request.as_bytes()).await?;
        let (status, length) = head(&mut self.0).await?;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

/// Reads the head of an answer: its status, and how long its body is.
async fn head(stream: &mut BufReader<TcpStream>) -> io::Result<(u16, usize)> {
    let (mut status, mut length, mut line) = (0, 0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = text.strip_prefix("http/1.1 ") {
            status = rest.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(0);
        } else if let Some(rest) = text.strip_prefix("content-length: ") {
            length = rest.parse().unwrap_or(0);
        } else if text.is_empty() {
            return Ok((status, length));
        }
    }
}

/// A WebSocket that carries text in single frames; it may be used from several tasks.
pub struct Socket(TcpStream);

/// What has come and was not looked at yet.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// How the socket ended, if it did.
    pub end: String,
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Socket {
    /// Opens one at `path`; the server may have spoken already.
    pub async fn open(address: &str, path: &str) -> io::Result<(Self, Inbox)> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::with_capacity(1024, stream);
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.get_mut().write_all(request.as_bytes()).await?;
        let (status, _) = head(&mut stream).await?;
        if status != 101 {
            return Err(io::Error::other(format!("no upgrade: {status}")));
        }
        let early = Inbox { bytes: stream.buffer().to_vec(), end: String::new() };
        Ok((Self(stream.into_inner()), early))
    }

    /// Opens one, says who it is, and hears what it has missed so far.
    pub async fn enter(address: &str, token: &str) -> io::Result<(Self, Inbox)> {
        let (socket, mut inbox) = Self::open(address, "/ws").await?;
        let frame = json!({ "id": 0, "event": "authenticate", "data": { "token": token } });
        socket.say(&frame.to_string()).await;
        socket.say(r#"{"id":0,"event":"sync","data":{}}"#).await;
        for _ in 0..3 {
            let frame = socket.hear(&mut inbox).await.unwrap();
            assert!(!frame.contains("\"error\""), "{frame}");
        }
        Ok((socket, inbox))
    }

    pub async fn say(&self, text: &str) {
        self.frame(TEXT, text.as_bytes()).await;
    }

    /// A masked frame; the mask is zero, which is as much work for the server as any other.
    async fn frame(&self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match u8::try_from(payload.len()) {
            Ok(short @ ..126) => frame.push(0x80 | short),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        loop {
            self.0.writable().await.unwrap();
            match self.0.try_write(&frame) {
                Ok(sent) => return assert_eq!(sent, frame.len(), "a frame fits into the kernel"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("the server ended the socket: {error}"),
            }
        }
    }

    /// The next text; pings of either protocol are answered on the way. `None` is the end.
    pub async fn hear(&self, inbox: &mut Inbox) -> Option<String> {
        loop {
            while let Some((opcode, payload)) = inbox.take() {
                match opcode {
                    TEXT if payload == b"2" => self.frame(TEXT, b"3").await,
                    TEXT => return Some(String::from_utf8(payload).unwrap()),
                    PING => self.frame(PONG, &payload).await,
                    CLOSE => {
                        inbox.end = format!("closed: {}", payload.escape_ascii());
                        return None;
                    }
                    _ => {}
                }
            }
            self.0.readable().await.unwrap();
            let mut buffer = [0; 16384];
            match self.0.try_read(&mut buffer) {
                Ok(0) => {
                    inbox.end = "ended without a word".to_owned();
                    return None;
                }
                Ok(count) => inbox.bytes.extend(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    inbox.end = error.to_string();
                    return None;
                }
            }
        }
    }
}

impl Inbox {
    /// The oldest whole frame.
    fn take(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second, ..] = self.bytes[..] else { return None };
        let (begin, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes(self.bytes.get(2..4)?.try_into().unwrap()))),
            127 => (
                10,
                usize::try_from(u64::from_be_bytes(self.bytes.get(2..10)?.try_into().unwrap()))
                    .unwrap(),
            ),
            short => (2, usize::from(short)),
        };
        let payload = self.bytes.get(begin..begin + length)?.to_vec();
        self.bytes.drain(..begin + length);
        Some((first & 0x0f, payload))
    }
}

/// The number behind `mark`, without reading the whole frame as JSON.
pub fn number(frame: &str, mark: &str) -> Option<u64> {
    let rest = frame.split_once(mark)?.1;
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}
