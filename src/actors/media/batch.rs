//! Batched datagram I/O: `recvmmsg`, `sendmmsg`, and UDP segmentation offload (GSO).
//!
//! The only unsafe code of the server. The kernel fills and reads arrays of pointers; all of them
//! point into buffers that this file owns or borrows for the duration of the call.
#![expect(
    unsafe_code,
    reason = "recvmmsg, sendmmsg and UDP_SEGMENT have no safe wrapper that fits"
)]

use std::io;
use std::mem::zeroed;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::RawFd;
use std::ptr::{from_mut, from_ref, null_mut};

use media::path::{TransmitDatagram, TransportProtocol};

use crate::limits::{MAX_GSO_BYTES, MAX_GSO_SEGMENTS, MAX_MEDIA_DATAGRAM_BYTES};

/// Maximum of datagrams per system call.
pub const BATCH: usize = 64;

/// Buffers for one batch in each direction.
pub struct DatagramBatch {
    received: Box<[[u8; MAX_MEDIA_DATAGRAM_BYTES]]>,
    from: Box<[libc::sockaddr_storage]>,
    to: Box<[libc::sockaddr_storage]>,
    lengths: [usize; BATCH],
}

/// The outcome of sending a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SendOutcome {
    /// Datagrams that the kernel did not accept.
    pub(super) dropped: u64,
}

impl Default for DatagramBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl DatagramBatch {
    /// Creates a batch with buffers for [`BATCH`] datagrams.
    pub fn new() -> Self {
        // SAFETY: all zeroes are a valid sockaddr_storage of no family.
        let addresses =
            || vec![unsafe { zeroed::<libc::sockaddr_storage>() }; BATCH].into_boxed_slice();
        Self {
            received: vec![[0; MAX_MEDIA_DATAGRAM_BYTES]; BATCH].into_boxed_slice(),
            from: addresses(),
            to: addresses(),
            lengths: [0; BATCH],
        }
    }

    /// Reads up to [`BATCH`] waiting datagrams and returns their number.
    ///
    /// # Errors
    /// The error of the system call; `WouldBlock` if nothing waits.
    pub fn receive(&mut self, socket: RawFd) -> io::Result<usize> {
        // SAFETY: all zeroes are valid for these plain structures; every pointer put into them
        // points to an element of `self` or of these arrays, all of which outlive the call.
        let count = unsafe {
            let mut iovecs: [libc::iovec; BATCH] = zeroed();
            let mut headers: [libc::mmsghdr; BATCH] = zeroed();
            for (i, header) in headers.iter_mut().enumerate() {
                iovecs[i] = libc::iovec {
                    iov_base: self.received[i].as_mut_ptr().cast(),
                    iov_len: MAX_MEDIA_DATAGRAM_BYTES,
                };
                header.msg_hdr.msg_name = from_mut(&mut self.from[i]).cast();
                header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_storage>();
                header.msg_hdr.msg_iov = &raw mut iovecs[i];
                header.msg_hdr.msg_iovlen = 1;
            }
            let flags = libc::MSG_DONTWAIT;
            let count = libc::recvmmsg(socket, headers.as_mut_ptr(), BATCH as _, flags, null_mut());
            let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
            for (i, header) in headers.iter().take(count).enumerate() {
                let is_truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
                self.lengths[i] = if is_truncated { 0 } else { header.msg_len as usize };
            }
            count
        };
        Ok(count)
    }

    /// Datagram `i` of the last batch, with its source; `None` if it was too long.
    pub fn datagram(&mut self, i: usize) -> Option<(SocketAddr, &mut [u8])> {
        let length = *self.lengths.get(i)?;
        let from = address(self.from.get(i)?)?;
        let bytes = self.received.get_mut(i)?.get_mut(..length)?;
        (length > 0).then_some((from, bytes))
    }

    /// Sends datagrams over UDP. With `use_gso`, adjacent datagrams of one destination and one
    /// length (the last may be shorter) are sent as one GSO batch.
    pub(super) fn send(
        &mut self,
        socket: RawFd,
        bytes: &[u8],
        datagrams: &[TransmitDatagram],
        use_gso: bool,
    ) -> SendOutcome {
        let mut sent = SendOutcome::default();
        let mut remaining = datagrams;
        while !remaining.is_empty() {
            let (used, dropped) = self.send_batch(socket, bytes, remaining, use_gso);
            sent.dropped += dropped;
            remaining = &remaining[used..];
        }
        sent
    }

    fn send_batch(
        &mut self,
        socket: RawFd,
        bytes: &[u8],
        mut remaining: &[TransmitDatagram],
        use_gso: bool,
    ) -> (usize, u64) {
        let (mut used, mut dropped, mut count) = (0, 0, 0);
        let mut segments = [0usize; BATCH];
        // SAFETY: as in `receive`; the ancillary buffers are aligned for a cmsghdr (u64) and hold
        // CMSG_SPACE(2) bytes (24 on 64-bit Linux).
        unsafe {
            let mut iovecs: [libc::iovec; BATCH] = zeroed();
            let mut headers: [libc::mmsghdr; BATCH] = zeroed();
            let mut control_buffers = [[0u64; 3]; BATCH];
            while count < BATCH
                && let Some(first) = remaining.first()
            {
                let (segment_count, total) =
                    if use_gso { gso_batch(remaining) } else { (1, first.length) };
                let Some(slice) = bytes.get(first.start..first.start + total) else { break };
                iovecs[count] =
                    libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: total };
                let header = &mut headers[count].msg_hdr;
                header.msg_namelen = write_address(first.to.remote, &mut self.to[count]);
                header.msg_name = from_mut(&mut self.to[count]).cast();
                header.msg_iov = &raw mut iovecs[count];
                header.msg_iovlen = 1;
                if segment_count > 1 {
                    header.msg_control = control_buffers[count].as_mut_ptr().cast();
                    header.msg_controllen = size_of::<[u64; 3]>() as _;
                    let control: *mut libc::cmsghdr = control_buffers[count].as_mut_ptr().cast();
                    (*control).cmsg_level = libc::SOL_UDP;
                    (*control).cmsg_type = libc::UDP_SEGMENT;
                    (*control).cmsg_len = libc::CMSG_LEN(2) as _;
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "at most MAX_MEDIA_DATAGRAM_BYTES"
                    )]
                    libc::CMSG_DATA(control).cast::<u16>().write_unaligned(first.length as u16);
                }
                segments[count] = segment_count;
                remaining = &remaining[segment_count..];
                used += segment_count;
                count += 1;
            }
            let mut sent_count = 0;
            while sent_count < count {
                let headers = headers[sent_count..].as_mut_ptr();
                let accepted = libc::sendmmsg(socket, headers, (count - sent_count) as _, 0);
                match usize::try_from(accepted) {
                    Ok(accepted) if accepted > 0 => sent_count += accepted,
                    // A full buffer or an unreachable destination counts as packet loss.
                    _ => {
                        dropped += segments[sent_count] as u64;
                        sent_count += 1;
                    }
                }
            }
        }
        if used == 0 {
            // a datagram outside its buffer, which cannot happen
            return (remaining.len(), remaining.len() as u64);
        }
        (used, dropped)
    }
}

/// How many of the first datagrams form one GSO batch, and their total length in bytes.
fn gso_batch(datagrams: &[TransmitDatagram]) -> (usize, usize) {
    let Some(first) = datagrams.first() else { return (0, 0) };
    let (mut segments, mut total) = (1, first.length);
    for next in &datagrams[1..] {
        let fits = next.to == first.to
            && next.start == first.start + total
            && next.length <= first.length
            && segments < MAX_GSO_SEGMENTS
            && total + next.length <= MAX_GSO_BYTES;
        if !fits {
            break;
        }
        total += next.length;
        segments += 1;
        if next.length < first.length {
            break;
        }
    }
    (segments, total)
}

fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

fn write_address(address: SocketAddr, to: &mut libc::sockaddr_storage) -> libc::socklen_t {
    // SAFETY: a sockaddr_storage is large and aligned enough for every kind of address.
    unsafe {
        match address {
            SocketAddr::V4(address) => {
                let to: *mut libc::sockaddr_in = from_mut(to).cast();
                (*to).sin_family = libc::AF_INET as _;
                (*to).sin_port = address.port().to_be();
                (*to).sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
                length_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(address) => {
                let to: *mut libc::sockaddr_in6 = from_mut(to).cast();
                (*to).sin6_family = libc::AF_INET6 as _;
                (*to).sin6_port = address.port().to_be();
                (*to).sin6_flowinfo = address.flowinfo();
                (*to).sin6_addr.s6_addr = address.ip().octets();
                (*to).sin6_scope_id = address.scope_id();
                length_of::<libc::sockaddr_in6>()
            }
        }
    }
}

fn address(from: &libc::sockaddr_storage) -> Option<SocketAddr> {
    // SAFETY: as in `write_address`; the family says which kind of address the kernel has written.
    unsafe {
        match i32::from(from.ss_family) {
            libc::AF_INET => {
                let from: *const libc::sockaddr_in = from_ref(from).cast();
                let ip = (*from).sin_addr.s_addr.to_ne_bytes();
                Some(SocketAddr::from((ip, u16::from_be((*from).sin_port))))
            }
            libc::AF_INET6 => {
                let from: *const libc::sockaddr_in6 = from_ref(from).cast();
                let ip = Ipv6Addr::from((*from).sin6_addr.s6_addr);
                let (port, scope) = (u16::from_be((*from).sin6_port), (*from).sin6_scope_id);
                Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)))
            }
            _ => None,
        }
    }
}

/// Whether a datagram is sent over UDP.
pub(super) fn is_udp(datagram: &TransmitDatagram) -> bool {
    datagram.to.transport == TransportProtocol::Udp
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use media::path::NetworkPath;

    use super::*;

    fn datagrams(lengths: &[usize], remote: SocketAddr) -> Vec<TransmitDatagram> {
        let to = NetworkPath { transport: TransportProtocol::Udp, remote };
        let mut start = 0;
        let datagram = |length: &usize| {
            let datagram = TransmitDatagram { to, start, length: *length };
            start += length;
            datagram
        };
        lengths.iter().map(datagram).collect()
    }

    #[test]
    fn gso_batch_ends_at_shorter_datagram() {
        let to = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(gso_batch(&datagrams(&[100, 100, 40, 40], to)), (3, 240));
        assert_eq!(gso_batch(&datagrams(&[40, 100], to)), (1, 40));
        assert_eq!(gso_batch(&datagrams(&[1200; 80], to)).1 / 1200, 54);
    }

    #[test]
    fn gso_batch_arrives_as_separate_datagrams() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let lengths = [300, 300, 300, 120, 500, 20];
        let bytes: Vec<u8> = (0..lengths.iter().sum()).map(|n: usize| n as u8).collect();
        let all = datagrams(&lengths, receiver.local_addr().unwrap());
        for use_gso in [false, true] {
            let sent = DatagramBatch::new().send(sender.as_raw_fd(), &bytes, &all, use_gso);
            assert_eq!(sent.dropped, 0);
            for datagram in &all {
                let mut buffer = [0; 1000];
                let (n, _) = receiver.recv_from(&mut buffer).unwrap();
                assert_eq!(buffer[..n], bytes[datagram.start..datagram.start + datagram.length]);
            }
        }
    }

    #[test]
    fn receive_batch_reports_source_and_payload() {
        let receiver = UdpSocket::bind("[::1]:0").unwrap();
        let sender = UdpSocket::bind("[::1]:0").unwrap();
        for n in 0..5u8 {
            sender.send_to(&[n; 10], receiver.local_addr().unwrap()).unwrap();
        }
        let mut batch = DatagramBatch::new();
        let count = batch.receive(receiver.as_raw_fd()).unwrap();

        assert_eq!(count, 5);
        for n in 0..5u8 {
            let (from, bytes) = batch.datagram(usize::from(n)).unwrap();
            assert_eq!((from, &*bytes), (sender.local_addr().unwrap(), &[n; 10][..]));
        }
        let nothing = batch.receive(receiver.as_raw_fd()).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn oversized_datagram_is_dropped() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(&[0; 3000], receiver.local_addr().unwrap()).unwrap();
        let mut batch = DatagramBatch::new();

        assert_eq!(batch.receive(receiver.as_raw_fd()).unwrap(), 1);
        assert!(batch.datagram(0).is_none());
    }
}
