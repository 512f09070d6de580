//! The sockets of one media thread, for sending: one for UDP, and one for each TCP connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use media::LocalCandidate;
use media::path::TransmitBuffer;
use metrics::{Counter, counter};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::batch::{DatagramBatch, is_udp};
use crate::limits::MAX_ICE_TCP_QUEUED_FRAMES;
use crate::telemetry::metrics::MEDIA_DROPPED;

/// The sockets of one thread.
pub(super) struct MediaSockets {
    pub(super) udp: UdpSocket,
    pub(super) connections: TcpConnections,
    pub(super) candidates: Vec<LocalCandidate>,
    pub(super) batch: RefCell<DatagramBatch>,
    pub(super) socket_full: Counter,
}

impl MediaSockets {
    /// The candidates under which clients reach these sockets.
    pub(super) fn candidates(&self) -> &[LocalCandidate] {
        &self.candidates
    }

    /// Sends everything in `out`; what the kernel does not accept is lost, as on any network.
    pub(super) fn send(&self, out: &TransmitBuffer) {
        let mut remaining = out.datagrams();
        while let Some(first) = remaining.first() {
            let same_transport =
                remaining.iter().take_while(|next| is_udp(next) == is_udp(first)).count();
            let (batch_datagrams, other_datagrams) = remaining.split_at(same_transport);
            if is_udp(first) {
                let mut batch = self.batch.borrow_mut();
                let sent = batch.send(self.udp.as_raw_fd(), out.bytes(), batch_datagrams, true);
                self.socket_full.increment(sent.dropped);
            } else {
                for datagram in batch_datagrams {
                    let end = datagram.start + datagram.length;
                    self.connections.send(datagram.to.remote, &out.bytes()[datagram.start..end]);
                }
            }
            remaining = other_datagrams;
        }
    }
}

/// The send queues of the open TCP connections, by the address of the client.
#[derive(Default)]
pub(super) struct TcpConnections(RefCell<HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>>);

impl TcpConnections {
    /// Adds a connection and returns the receiver of the frames to write to it.
    pub(super) fn insert(&self, remote: SocketAddr) -> mpsc::Receiver<Vec<u8>> {
        let (queue, receiver) = mpsc::channel(MAX_ICE_TCP_QUEUED_FRAMES);
        self.0.borrow_mut().insert(remote, queue);
        receiver
    }

    /// Removes a connection that has ended.
    pub(super) fn remove(&self, remote: SocketAddr) {
        self.0.borrow_mut().remove(&remote);
    }

    /// Queues a packet; it is lost if the connection is closed or its queue is full.
    fn send(&self, to: SocketAddr, packet: &[u8]) {
        let connections = self.0.borrow();
        let Some(queue) = connections.get(&to) else { return };
        let Ok(length) = u16::try_from(packet.len()) else { return };
        let mut frame = Vec::with_capacity(2 + packet.len());
        frame.extend(length.to_be_bytes());
        frame.extend(packet);
        if queue.try_send(frame).is_err() {
            counter!(MEDIA_DROPPED, "reason" => "connection-full").increment(1);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}
