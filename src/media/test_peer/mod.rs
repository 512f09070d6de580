//! A client as a value: what loads a server in benchmarks, and what the tests are told with.
//!
//! It checks, shakes hands, sends synthetic media, and answers for what it receives as browsers do:
//! transport-wide feedback, receiver reports, requests for what is missing. It decodes nothing.

mod association;
mod description;
mod receiving;
mod sending;

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(crate) use association::{ClientDtls, check, own_fingerprint};
pub use description::OfferSection;
use description::RemoteDescription;
pub(crate) use description::text;
use receiving::ReceiveStreams;
pub use receiving::{PacketCounts, ReceivedPacket};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as Wire;
use sending::{PacketWriter, SendStreams};

use crate::ice::IceCredentials;
use crate::limits::MAX_OVERHEAD_BYTES;
use crate::rtcp::CompoundWriter;
use crate::srtp::SrtpContext;

/// Consent is asked for this often (RFC 7675), and a first check repeated until it is answered.
const CONSENT: Duration = Duration::from_secs(4);
const REPEAT: Duration = Duration::from_millis(50);
/// How often streams are reported.
const REPORT: Duration = Duration::from_secs(1);

/// Why a client cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestPeerError {
    /// The provider of cryptography refuses.
    Crypto(String),
    /// The server's description lacks this.
    Description(&'static str),
}

impl TestPeerError {
    fn crypto(error: impl fmt::Display) -> Self {
        Self::Crypto(error.to_string())
    }
}

impl fmt::Display for TestPeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crypto(why) => write!(f, "no secure transport: {why}"),
            Self::Description(what) => write!(f, "the server's description has no {what}"),
        }
    }
}

impl std::error::Error for TestPeerError {}

/// One peer connection to an ICE-lite server that does not check from where its clients come.
pub struct TestPeer {
    session: u64,
    ice: IceCredentials,
    remote: Option<RemoteDescription>,
    association: ClientDtls,
    keys: Option<(SrtpContext, SrtpContext)>,
    /// When the next check is due, and whether one was answered.
    check: Instant,
    checked: bool,
    report: Instant,
    /// Answers to the server's own checks.
    answers: Vec<Vec<u8>>,
    receiving: ReceiveStreams,
    sending: SendStreams,
    compound: CompoundWriter,
    buffer: Vec<u8>,
}

impl TestPeer {
    /// A client whose streams are numbered from `ssrc` on, 16 at most; offers AES-GCM first.
    ///
    /// # Errors
    /// [`TestPeerError::Crypto`].
    pub fn new(now: Instant, ssrc: u32) -> Result<Self, TestPeerError> {
        let profiles = [Wire::Srtp_Aead_Aes_128_Gcm, Wire::Srtp_Aes128_Cm_Hmac_Sha1_80];
        Ok(Self {
            session: u64::from(ssrc),
            ice: IceCredentials {
                ufrag: format!("load{ssrc:08x}"),
                password: "no+secret+of+a+load+generator".to_owned(),
            },
            answers: Vec::new(),
            remote: None,
            association: ClientDtls::new(now, &profiles)?,
            keys: None,
            check: now,
            checked: false,
            report: now + REPORT,
            receiving: ReceiveStreams::new(now),
            sending: SendStreams::new(now, ssrc),
            compound: CompoundWriter::default(),
            buffer: vec![0; 2048],
        })
    }

    /// An offer with these sections; the sending ones become streams, numbered in their order.
    ///
    /// # Errors
    /// [`TestPeerError::Crypto`].
    pub fn offer(&mut self, lines: &[OfferSection]) -> Result<String, TestPeerError> {
        self.sending.open(lines);
        let ice = (self.ice.ufrag.clone(), self.ice.password.clone());
        Ok(text(self.session, &ice, own_fingerprint()?, lines))
    }

    /// Takes the server's answer; gives where to send.
    ///
    /// # Errors
    /// [`TestPeerError::Description`], if it is not one of an ICE-lite server.
    pub fn answered(&mut self, answer: &str) -> Result<SocketAddr, TestPeerError> {
        let remote = RemoteDescription::read(answer)?;
        let address = remote.address;
        self.receiving.expect(&remote);
        self.remote = Some(remote);
        Ok(address)
    }

    /// Takes an offer of a server that sends only, and gives the answer that accepts all of it, and
    /// where to send.
    ///
    /// # Errors
    /// As [`answered`](Self::answered), or [`TestPeerError::Crypto`].
    pub fn accept(&mut self, offer: &str) -> Result<(String, SocketAddr), TestPeerError> {
        let address = self.answered(offer)?;
        Ok((description::accepting(offer, &self.ice, own_fingerprint()?), address))
    }

    /// Whether media can flow.
    pub fn is_connected(&self) -> bool {
        self.keys.is_some()
    }

    /// Whether the server asked for a key frame since the last one was sent.
    pub fn wants_key_frame(&self) -> bool {
        self.sending.key_wanted
    }

    /// What came so far.
    pub fn tally(&self) -> PacketCounts {
        self.receiving.tally
    }

    /// When [`timeout`](Self::timeout) is due.
    pub fn next_timeout(&self) -> Instant {
        let due = self.check.min(self.report);
        self.receiving.arrivals.next_due().into_iter().fold(due, Instant::min)
    }

    /// Does what is due. To be called also after datagrams came.
    pub fn timeout(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        let Some(remote) = &self.remote else { return };
        self.answers.drain(..).for_each(|answer| send(&answer));
        if now >= self.check {
            let username = format!("{}:{}", remote.fragment, self.ice.ufrag);
            if let Ok(check) = check(&username, &remote.password, true) {
                send(&check);
            }
            self.check = now + if self.is_connected() { CONSENT } else { REPEAT };
        }
        let Some((_, keys)) = &mut self.keys else {
            if self.checked {
                self.association.timeout(now);
            }
            return self.shake_hands(send);
        };
        self.compound.clear();
        if now >= self.report {
            self.report = now + REPORT;
            self.receiving.report(&mut self.compound);
        }
        self.receiving.request(&mut self.compound);
        seal(keys, &self.compound, &mut self.buffer, &mut send);
        if self.receiving.arrivals.next_due().is_some_and(|due| due <= now) {
            self.receiving.arrivals.write(1, 1, self.compound.start_external());
            seal(keys, &self.compound, &mut self.buffer, &mut send);
        }
        self.sending.repair(&mut PacketWriter { keys, buffer: &mut self.buffer }, &mut send);
        self.shake_hands(send);
    }

    fn shake_hands(&mut self, mut send: impl FnMut(&[u8])) {
        if self.checked {
            std::iter::from_fn(|| self.association.transmit()).for_each(|datagram| send(&datagram));
        }
    }

    /// Takes a datagram, which is decrypted where it lies. Gives what it says if it is media.
    pub fn receive(&mut self, now: Instant, datagram: &mut [u8]) -> Option<ReceivedPacket> {
        match *datagram {
            [0, 1, ..] => {
                let from = self.remote.as_ref()?.address;
                self.answers.extend(association::confirm(datagram, &self.ice, from));
            }
            [1, 1, ..] if !self.checked => (self.checked, self.check) = (true, now + CONSENT),
            [0..=3, ..] => {}
            [20..=63, ..] => {
                if let Some(keys) = self.association.receive(now, datagram) {
                    self.keys = Some(keys);
                }
            }
            [_, 192..=223, ..] => {
                let (incoming, _) = self.keys.as_mut()?;
                let (length, _) = incoming.decrypt_rtcp(datagram)?;
                self.sending.told(datagram.get(..length)?);
            }
            [_, _, ..] => {
                let (incoming, _) = self.keys.as_mut()?;
                return self.receiving.media(now, incoming, datagram);
            }
            _ => {}
        }
        None
    }

    /// Sends one packet of a stream, with a number in it that [`ReceivedPacket`] tells. `begins` and `ends`
    /// say whether it is the first and the last of its picture.
    pub fn publish(
        &mut self,
        now: Instant,
        stream: usize,
        stamp: u64,
        (begins, ends): (bool, bool),
        send: impl FnOnce(&[u8]),
    ) {
        let Some((_, keys)) = &mut self.keys else { return };
        let pen = PacketWriter { keys, buffer: &mut self.buffer };
        let sealed = self.sending.publish(now, stream, stamp, (begins, ends), pen);
        if let Some(packet) = sealed {
            send(packet);
        }
    }
}

/// Protects and sends a compound, if there is anything in it.
fn seal(
    keys: &mut SrtpContext,
    compound: &CompoundWriter,
    buffer: &mut Vec<u8>,
    send: &mut impl FnMut(&[u8]),
) {
    let bytes = compound.bytes();
    if bytes.is_empty() {
        return;
    }
    buffer.resize(buffer.len().max(bytes.len() + MAX_OVERHEAD_BYTES), 0);
    let Some(place) = buffer.get_mut(..bytes.len()) else { return };
    place.copy_from_slice(bytes);
    let Some(length) = keys.encrypt_rtcp(buffer, bytes.len()) else { return };
    buffer.get(..length).into_iter().for_each(send);
}

#[cfg(test)]
mod tests;
