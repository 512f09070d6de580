//! Where datagrams come from and go to, and the buffer in which they leave.

use std::net::SocketAddr;

/// What carries a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransportProtocol {
    /// One datagram each.
    Udp,
    /// Framed by two bytes of length (RFC 4571), as ICE-TCP does (RFC 6544).
    Tcp,
}

/// One way between a client and the port of a media thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkPath {
    /// What carries it.
    pub transport: TransportProtocol,
    /// The client's end.
    pub remote: SocketAddr,
}

/// One datagram that lies in an [`TransmitBuffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransmitDatagram {
    /// Where it goes.
    pub to: NetworkPath,
    /// Where it begins in the buffer, in bytes.
    pub start: usize,
    /// How long it is, in bytes.
    pub length: usize,
}

/// Datagrams to send, back to back in one buffer; those of one destination lie next to each other,
/// which is what segmentation offload needs.
#[derive(Default)]
pub struct TransmitBuffer {
    pub(crate) buffer: Vec<u8>,
    pub(crate) used: usize,
    pub(crate) datagrams: Vec<TransmitDatagram>,
}

impl TransmitBuffer {
    /// What is to be sent, in order.
    pub fn datagrams(&self) -> &[TransmitDatagram] {
        &self.datagrams
    }

    /// The bytes in which [`TransmitDatagram`]s lie.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.used]
    }

    /// Forgets everything; the memory stays.
    pub fn clear(&mut self) {
        self.used = 0;
        self.datagrams.clear();
    }

    /// Room for one more datagram of up to `length` bytes.
    pub(crate) fn space(&mut self, length: usize) -> &mut [u8] {
        let end = self.used + length;
        if self.buffer.len() < end {
            self.buffer.resize(end.next_multiple_of(64 * 1024), 0);
        }
        &mut self.buffer[self.used..end]
    }

    /// Sends the first `length` bytes of what [`space`](Self::space) gave last.
    pub(crate) fn commit(&mut self, to: NetworkPath, length: usize) {
        self.datagrams.push(TransmitDatagram { to, start: self.used, length });
        self.used += length;
    }

    /// Sends a copy.
    pub(crate) fn push(&mut self, to: NetworkPath, bytes: &[u8]) {
        self.space(bytes.len()).copy_from_slice(bytes);
        self.commit(to, bytes.len());
    }
}
