//! A client of XMPP as thin as the WebSocket beside it, for rooms of a peer (RFC 6120, XEP-0045).

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

const OPEN: &str = "<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client' \
                    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
/// How long the server may think about one step of coming in.
const PATIENCE: Duration = Duration::from_secs(20);
const ROOM: &str = "room@conference.localhost";

/// A connection of somebody without a name of their own; it may be used from several tasks.
pub struct Xmpp(TcpStream);

impl Xmpp {
    /// Connects, and enters the one room as `name`.
    pub async fn enter(address: &str, name: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let me = Self(stream);
        me.ask(OPEN, "</stream:features>").await?;
        let anonymous = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>";
        me.ask(anonymous, "<success").await?;
        me.ask(OPEN, "</stream:features>").await?;
        let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
        me.ask(bind, "</iq>").await?;
        let join = format!(
            "<presence to='{ROOM}/{name}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        );
        me.ask(&join, "<subject").await?;
        Ok(me)
    }

    /// Says something to all in the room.
    pub async fn say(&self, id: u64, body: &str) {
        self.write(&format!(
            "<message to='{ROOM}' type='groupchat' id='{id}'><body>{body}</body></message>"
        ))
        .await
        .unwrap();
    }

    /// Adds the ids of the messages that have come to `ids`; `rest` keeps what is not whole yet.
    /// False is the end.
    pub async fn hear(&self, rest: &mut Vec<u8>, ids: &mut Vec<u64>) -> bool {
        let end = b"</message>";
        if !self.read(rest).await.is_ok_and(|count| count > 0) {
            return false;
        }
        while let Some(at) = rest.windows(end.len()).position(|part| part == end) {
            let text = String::from_utf8_lossy(&rest[..at]).into_owned();
            rest.drain(..at + end.len());
            let id = text.rsplit_once(" id='").and_then(|(_, id)| id.split('\'').next());
            ids.extend(id.and_then(|id| id.parse::<u64>().ok()));
        }
        true
    }

    async fn ask(&self, stanza: &str, answer: &str) -> io::Result<()> {
        self.write(stanza).await?;
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(answer) {
            let read = tokio::time::timeout(PATIENCE, self.read(&mut heard)).await;
            if read?? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    async fn write(&self, text: &str) -> io::Result<()> {
        loop {
            self.0.writable().await?;
            match self.0.try_write(text.as_bytes()) {
                Ok(sent) => {
                    return if sent == text.len() {
                        Ok(())
                    } else {
                        Err(io::ErrorKind::WriteZero.into())
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn read(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            self.0.readable().await?;
            let mut buffer = [0; 16384];
            match self.0.try_read(&mut buffer) {
                Ok(count) => {
                    into.extend(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
