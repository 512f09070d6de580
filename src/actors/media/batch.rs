//! Many datagrams with one system call: `recvmmsg`, `sendmmsg`, and UDP segmentation offload.
//!
//! The only unsafe code of the house. The kernel fills and reads arrays of pointers; all of them
//! point into buffers that this file owns or borrows for the length of the call.
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

/// How many datagrams one call takes.
pub const BATCH: usize = 64;
/// No media packet is longer; what is longer is cut off by the kernel and thrown away.
const MAX_DATAGRAM_BYTES: usize = 2048;
/// What the kernel puts into one train of segments: 64 of them, and 64 KiB less headers.
const MAX_GSO_SEGMENTS: usize = 64;
const MAX_GSO_BYTES: usize = 65_000;

/// Buffers for one batch in each direction.
pub struct DatagramBatch {
    received: Box<[[u8; MAX_DATAGRAM_BYTES]]>,
    from: Box<[libc::sockaddr_storage]>,
    to: Box<[libc::sockaddr_storage]>,
    lengths: [usize; BATCH],
}

/// What became of a batch that was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SendOutcome {
    /// Datagrams that the kernel did not take.
    pub(super) dropped: u64,
}

impl Default for DatagramBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl DatagramBatch {
    pub fn new() -> Self {
        // SAFETY: all zeroes are a sockaddr_storage of no family.
        let addresses =
            || vec![unsafe { zeroed::<libc::sockaddr_storage>() }; BATCH].into_boxed_slice();
        Self {
            received: vec![[0; MAX_DATAGRAM_BYTES]; BATCH].into_boxed_slice(),
            from: addresses(),
            to: addresses(),
            lengths: [0; BATCH],
        }
    }

    /// Reads what waits, at most [`BATCH`] datagrams; gives how many.
    ///
    /// # Errors
    /// The system's; `WouldBlock` if nothing waits.
    pub fn receive(&mut self, socket: RawFd) -> io::Result<usize> {
        // SAFETY: all zeroes are valid for these plain structures; every pointer put into them
        // points to an element of `self` or of these arrays, all of which outlive the call.
        let count = unsafe {
            let mut parts: [libc::iovec; BATCH] = zeroed();
            let mut heads: [libc::mmsghdr; BATCH] = zeroed();
            for (i, head) in heads.iter_mut().enumerate() {
                parts[i] = libc::iovec {
                    iov_base: self.received[i].as_mut_ptr().cast(),
                    iov_len: MAX_DATAGRAM_BYTES,
                };
                head.msg_hdr.msg_name = from_mut(&mut self.from[i]).cast();
                head.msg_hdr.msg_namelen = length_of::<libc::sockaddr_storage>();
                head.msg_hdr.msg_iov = &raw mut parts[i];
                head.msg_hdr.msg_iovlen = 1;
            }
            let flags = libc::MSG_DONTWAIT;
            let count = libc::recvmmsg(socket, heads.as_mut_ptr(), BATCH as _, flags, null_mut());
            let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
            for (i, head) in heads.iter().take(count).enumerate() {
                let cut = head.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
                self.lengths[i] = if cut { 0 } else { head.msg_len as usize };
            }
            count
        };
        Ok(count)
    }

    /// The datagram number `i` of the last batch, and who sent it; `None` if it was too long.
    pub fn datagram(&mut self, i: usize) -> Option<(SocketAddr, &mut [u8])> {
        let length = *self.lengths.get(i)?;
        let from = address(self.from.get(i)?)?;
        let bytes = self.received.get_mut(i)?.get_mut(..length)?;
        (length > 0).then_some((from, bytes))
    }

    /// Sends datagrams over UDP. Those of one destination that lie next to each other and are of
    /// one length (the last may be shorter) go as one train where `trains` is set.
    pub(super) fn send(
        &mut self,
        socket: RawFd,
        bytes: &[u8],
        datagrams: &[TransmitDatagram],
        trains: bool,
    ) -> SendOutcome {
        let mut sent = SendOutcome::default();
        let mut rest = datagrams;
        while !rest.is_empty() {
            let (used, dropped) = self.send_batch(socket, bytes, rest, trains);
            sent.dropped += dropped;
            rest = &rest[used..];
        }
        sent
    }

    fn send_batch(
        &mut self,
        socket: RawFd,
        bytes: &[u8],
        mut rest: &[TransmitDatagram],
        trains: bool,
    ) -> (usize, u64) {
        let (mut used, mut dropped, mut count) = (0, 0, 0);
        let mut cars = [0usize; BATCH];
        // SAFETY: as in `receive`; the ancillary buffers are aligned for a cmsghdr (u64) and hold
        // CMSG_SPACE(2) bytes (24 on 64-bit Linux).
        unsafe {
            let mut parts: [libc::iovec; BATCH] = zeroed();
            let mut heads: [libc::mmsghdr; BATCH] = zeroed();
            let mut extras = [[0u64; 3]; BATCH];
            while count < BATCH
                && let Some(first) = rest.first()
            {
                let (train, total) = if trains { train(rest) } else { (1, first.length) };
                let Some(slice) = bytes.get(first.start..first.start + total) else { break };
                parts[count] =
                    libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: total };
                let head = &mut heads[count].msg_hdr;
                head.msg_namelen = store(first.to.remote, &mut self.to[count]);
                head.msg_name = from_mut(&mut self.to[count]).cast();
                head.msg_iov = &raw mut parts[count];
                head.msg_iovlen = 1;
                if train > 1 {
                    head.msg_control = extras[count].as_mut_ptr().cast();
                    head.msg_controllen = size_of::<[u64; 3]>() as _;
                    let extra: *mut libc::cmsghdr = extras[count].as_mut_ptr().cast();
                    (*extra).cmsg_level = libc::SOL_UDP;
                    (*extra).cmsg_type = libc::UDP_SEGMENT;
                    (*extra).cmsg_len = libc::CMSG_LEN(2) as _;
                    #[expect(clippy::cast_possible_truncation, reason = "at most SIZE")]
                    libc::CMSG_DATA(extra).cast::<u16>().write_unaligned(first.length as u16);
                }
                cars[count] = train;
                rest = &rest[train..];
                used += train;
                count += 1;
            }
            let mut done = 0;
            while done < count {
                let heads = heads[done..].as_mut_ptr();
                let taken = libc::sendmmsg(socket, heads, (count - done) as _, 0);
                match usize::try_from(taken) {
                    Ok(taken) if taken > 0 => done += taken,
                    // A full buffer or a way that leads nowhere: like a loss on the way.
                    _ => {
                        dropped += cars[done] as u64;
                        done += 1;
                    }
                }
            }
        }
        if used == 0 {
            return (rest.len(), rest.len() as u64); // a datagram outside its buffer: never
        }
        (used, dropped)
    }
}

/// How many of the first datagrams make one train, and how many bytes they are.
fn train(datagrams: &[TransmitDatagram]) -> (usize, usize) {
    let Some(first) = datagrams.first() else { return (0, 0) };
    let (mut cars, mut total) = (1, first.length);
    for next in &datagrams[1..] {
        let fits = next.to == first.to
            && next.start == first.start + total
            && next.length <= first.length
            && cars < MAX_GSO_SEGMENTS
            && total + next.length <= MAX_GSO_BYTES;
        if !fits {
            break;
        }
        total += next.length;
        cars += 1;
        if next.length < first.length {
            break;
        }
    }
    (cars, total)
}

fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

fn store(address: SocketAddr, to: &mut libc::sockaddr_storage) -> libc::socklen_t {
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
    // SAFETY: as in `store`; the family says which kind the kernel has written.
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

/// Whether a datagram goes over UDP.
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
        assert_eq!(train(&datagrams(&[100, 100, 40, 40], to)), (3, 240));
        assert_eq!(train(&datagrams(&[40, 100], to)), (1, 40));
        assert_eq!(train(&datagrams(&[1200; 80], to)).1 / 1200, 54);
    }

    #[test]
    fn gso_batch_arrives_as_separate_datagrams() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let lengths = [300, 300, 300, 120, 500, 20];
        let bytes: Vec<u8> = (0..lengths.iter().sum()).map(|n: usize| n as u8).collect();
        let all = datagrams(&lengths, receiver.local_addr().unwrap());
        for trains in [false, true] {
            let sent = DatagramBatch::new().send(sender.as_raw_fd(), &bytes, &all, trains);
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
