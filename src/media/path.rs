//! Network paths of datagrams, and the buffer of datagrams to transmit.

use std::net::SocketAddr;

/// Transport protocol of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransportProtocol {
    /// One datagram per packet.
    Udp,
    /// A byte stream framed by a length of two bytes (RFC 4571), as ICE-TCP uses it (RFC 6544).
    Tcp,
}

/// A path between a client and the port of a media thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkPath {
    /// UDP, or TCP with framing.
    pub transport: TransportProtocol,
    /// The client's address.
    pub remote: SocketAddr,
}

/// One datagram in a [`TransmitBuffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransmitDatagram {
    /// The destination path.
    pub to: NetworkPath,
    /// Offset of its first byte in the buffer.
    pub start: usize,
    /// Length in bytes.
    pub length: usize,
}

/// Datagrams to send, back to back in one buffer. Datagrams of one destination are adjacent, as generic
/// segmentation offload (GSO) requires.
#[derive(Default)]
pub struct TransmitBuffer {
    pub(crate) buffer: Vec<u8>,
    pub(crate) used: usize,
    pub(crate) datagrams: Vec<TransmitDatagram>,
}

impl TransmitBuffer {
    /// The datagrams to send, in order.
    pub fn datagrams(&self) -> &[TransmitDatagram] {
        &self.datagrams
    }

    /// The bytes that [`TransmitDatagram`]s point into.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.used]
    }

    /// Removes all datagrams; the memory stays allocated.
    pub fn clear(&mut self) {
        self.used = 0;
        self.datagrams.clear();
    }

    /// Returns space for one more datagram of up to `length` bytes.
    pub(crate) fn space(&mut self, length: usize) -> &mut [u8] {
        let end = self.used + length;
        if self.buffer.len() < end {
            self.buffer.resize(end.next_multiple_of(64 * 1024), 0);
        }
        &mut self.buffer[self.used..end]
    }

    /// Appends the first `length` bytes of the last [`space`](Self::space) as a datagram.
    pub(crate) fn commit(&mut self, to: NetworkPath, length: usize) {
        self.datagrams.push(TransmitDatagram { to, start: self.used, length });
        self.used += length;
    }

    /// Appends a copy of `bytes` as a datagram.
    pub(crate) fn push(&mut self, to: NetworkPath, bytes: &[u8]) {
        self.space(bytes.len()).copy_from_slice(bytes);
        self.commit(to, bytes.len());
    }
}
