//! The transport of one client: which paths were checked, its DTLS association, its keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dtls::{DtlsAssociation, DtlsCertificate};
use crate::ice::{self, IceCredentials};
use crate::path::{NetworkPath, TransmitBuffer};
use crate::rtp;
use crate::srtp::{OVERHEAD, ReplayWindow, SrtpContext};
use crate::ssrc_table::SsrcTable;

/// The most paths of one client that are known at a time.
const MAX_PATHS: usize = 16;
/// The most senders of RTCP in one association.
const MAX_SSRCS: usize = 64;
/// The longest packet that is sent, before its protection.
pub(crate) const MAX_RTP_BYTES: usize = 1500;

/// Keys that both sides agreed on.
pub(crate) struct SrtpKeyingMaterial {
    /// For what comes.
    pub(crate) incoming: SrtpContext,
    /// For what goes.
    pub(crate) outgoing: SrtpContext,
}

/// A path that a check came from.
struct ValidatedPath {
    path: NetworkPath,
    checked: Instant,
}

/// How a client is reached, from its first offer on.
pub(crate) struct PeerTransport {
    /// What its checks must be made with.
    pub(crate) local: IceCredentials,
    /// From before an ICE restart: still answered until a check with the new ones comes.
    pub(crate) former: Option<IceCredentials>,
    /// The client's fragment and password; they change with an ICE restart.
    pub(crate) remote: (String, String),
    /// Which of the client's peer connections this is.
    pub(crate) session: u64,
    /// The handshake.
    pub(crate) dtls: DtlsAssociation,
    /// From its end on.
    pub(crate) keys: Option<SrtpKeyingMaterial>,
    /// When it began.
    pub(crate) began: Option<Instant>,
    /// Where media go.
    pub(crate) selected: Option<NetworkPath>,
    /// What the client sends.
    pub(crate) sources: SsrcTable,
    /// The client was told gone for want of checks.
    pub(crate) silent: bool,
    last_check: Instant,
    paths: Vec<ValidatedPath>,
    senders: Vec<(u32, ReplayWindow)>,
}

/// What a check changed.
pub(crate) struct BindingCheckOutcome {
    /// The datagram that answers it.
    pub(crate) reply: Vec<u8>,
    /// Its path may be used.
    pub(crate) usable: bool,
    /// A path had to make place for it.
    pub(crate) forgotten: Option<NetworkPath>,
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// No header.
    Malformed,
    /// Not authentic, or no keys yet.
    Forged,
    /// Came before.
    Replayed,
}

/// An RTP packet that was decrypted where it lies.
pub(crate) struct DecryptedRtp {
    /// Where its SSRC is among the sources.
    pub(crate) source: usize,
    /// How long it is.
    pub(crate) length: usize,
    /// Its extended sequence number.
    pub(crate) index: u64,
}

impl PeerTransport {
    /// Waits for checks and a handshake.
    pub(crate) fn new(
        now: Instant,
        local: IceCredentials,
        identity: Arc<DtlsCertificate>,
        offer: &crate::sdp::RemoteOffer,
    ) -> Self {
        Self {
            local,
            former: None,
            remote: (offer.fragment.clone(), offer.password.clone()),
            session: offer.id,
            dtls: DtlsAssociation::new(identity, &offer.fingerprint),
            keys: None,
            began: None,
            selected: None,
            sources: SsrcTable::default(),
            silent: false,
            last_check: now,
            paths: Vec::new(),
            senders: Vec::new(),
        }
    }

    /// Answers a check, if it is sound.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        path: NetworkPath,
        datagram: &[u8],
        identity: &DtlsCertificate,
    ) -> Option<BindingCheckOutcome> {
        let crypto = identity.provider().crypto();
        let answer = |credentials| ice::answer(datagram, credentials, path.remote, crypto);
        let (current, answer) = match answer(&self.local) {
            Some(answer) => (true, answer),
            None => (false, answer(self.former.as_ref()?)?),
        };
        let mut checked =
            BindingCheckOutcome { reply: answer.reply, usable: answer.usable, forgotten: None };
        if !answer.usable {
            return Some(checked);
        }
        self.last_check = now;
        match self.paths.iter_mut().find(|known| known.path == path) {
            Some(known) => known.checked = now,
            None => {
                if self.paths.len() == MAX_PATHS {
                    checked.forgotten = self.oldest().map(|at| self.paths.swap_remove(at).path);
                }
                self.paths.push(ValidatedPath { path, checked: now });
            }
        }
        // After a restart the first check of the new generation ends the old one; before, the old
        // path stays, whatever the client still sends with the old credentials.
        let restarted = current && self.former.take().is_some();
        if current && (answer.nominated || restarted) || self.selected.is_none() {
            self.selected = Some(path);
        }
        Some(checked)
    }

    /// The path that was not checked for longest, other than the selected one.
    fn oldest(&self) -> Option<usize> {
        let others = self.paths.iter().enumerate();
        let others = others.filter(|(_, known)| Some(known.path) != self.selected);
        others.min_by_key(|(_, known)| known.checked).map(|(at, _)| at)
    }

    /// Forgets paths that were not checked within `consent`, and says which.
    pub(crate) fn expire(&mut self, now: Instant, consent: Duration) -> Vec<NetworkPath> {
        let mut forgotten = Vec::new();
        self.paths.retain(|known| {
            let fresh = now < known.checked + consent;
            if !fresh {
                forgotten.push(known.path);
            }
            fresh
        });
        if self.selected.is_some_and(|selected| forgotten.contains(&selected)) {
            let newest = self.paths.iter().max_by_key(|known| known.checked);
            self.selected = newest.map(|known| known.path);
        }
        forgotten
    }

    /// When the oldest path expires, or the connection itself if no path was ever checked.
    pub(crate) fn next_expiry(&self, consent: Duration) -> Instant {
        let oldest = self.paths.iter().map(|known| known.checked).min();
        oldest.unwrap_or(self.last_check) + consent
    }

    /// Whether no check came for so long.
    pub(crate) fn is_silent(&self, now: Instant, consent: Duration) -> bool {
        now >= self.last_check + consent
    }

    /// Whether media can be sent and received.
    pub(crate) fn flows(&self) -> bool {
        self.keys.is_some() && self.selected.is_some()
    }

    /// All that is known.
    pub(crate) fn paths(&self) -> impl Iterator<Item = NetworkPath> {
        self.paths.iter().map(|known| known.path)
    }

    /// Authenticates and decrypts an RTP packet. An SSRC is remembered only once a packet of it proved
    /// authentic.
    pub(crate) fn open_rtp(&mut self, datagram: &mut [u8]) -> Result<DecryptedRtp, DropReason> {
        let header = rtp::header_length(datagram).map_err(|_| DropReason::Malformed)?;
        let sequence = u16::from_be_bytes([datagram[2], datagram[3]]);
        let ssrc = u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]]);
        let keys = self.keys.as_mut().ok_or(DropReason::Forged)?;
        let known = self.sources.find(ssrc);
        let window = known.and_then(|at| self.sources.get_mut(at)).map(|source| &source.window);
        let index = window.map_or(u64::from(sequence), |window| window.extend(sequence));
        if window.is_some_and(|window| !window.is_new(index)) {
            return Err(DropReason::Replayed);
        }
        let length = keys.incoming.open_rtp(datagram, header, index).ok_or(DropReason::Forged)?;
        let at = known.unwrap_or_else(|| self.sources.add(ssrc));
        if let Some(source) = self.sources.get_mut(at) {
            source.window.accept(index);
        }
        Ok(DecryptedRtp { source: at, length, index })
    }

    /// Authenticates and decrypts a compound of RTCP; gives its length.
    pub(crate) fn open_rtcp(&mut self, datagram: &mut [u8]) -> Result<usize, DropReason> {
        let keys = self.keys.as_mut().ok_or(DropReason::Forged)?;
        let ssrc = crate::rtcp::word(datagram, 4).ok_or(DropReason::Malformed)?;
        let (length, index) = keys.incoming.open_rtcp(datagram).ok_or(DropReason::Forged)?;
        let index = u64::from(index);
        let at = self.senders.iter().position(|(known, _)| *known == ssrc).unwrap_or_else(|| {
            if self.senders.len() == MAX_SSRCS {
                self.senders.remove(0);
            }
            self.senders.push((ssrc, ReplayWindow::default()));
            self.senders.len() - 1
        });
        let window = &mut self.senders[at].1;
        if !window.is_new(index) {
            return Err(DropReason::Replayed);
        }
        window.accept(index);
        Ok(length)
    }

    /// Protects a compound and puts it into `out`; false if the client cannot be reached yet.
    pub(crate) fn send_rtcp(&mut self, compound: &[u8], out: &mut TransmitBuffer) -> bool {
        let (Some(keys), Some(to)) = (self.keys.as_mut(), self.selected) else { return false };
        let space = out.space(compound.len() + OVERHEAD);
        space[..compound.len()].copy_from_slice(compound);
        let sealed = keys.outgoing.seal_rtcp(space, compound.len());
        sealed.map(|length| out.commit(to, length)).is_some()
    }
}
