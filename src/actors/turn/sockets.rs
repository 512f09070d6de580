//! The listening sockets, bound before anything starts, so that a port conflict is reported at
//! once.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use crate::config::TurnConfig;

/// Socket buffer size in bytes; it must hold a burst of media of many clients.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// The listening sockets; every incarnation of the server uses duplicates of them.
pub struct TurnSockets {
    udp: UdpSocket,
    tcp: TcpListener,
    tls: Option<TcpListener>,
}

/// Duplicates of the sockets, registered with the runtime.
pub(super) struct RegisteredSockets {
    pub(super) udp: tokio::net::UdpSocket,
    pub(super) tcp: tokio::net::TcpListener,
    pub(super) tls: Option<tokio::net::TcpListener>,
}

impl TurnSockets {
    /// Binds the sockets.
    ///
    /// # Errors
    /// A message that states which address cannot be used, why, and what to do.
    pub fn bind(config: &TurnConfig, tls: bool) -> Result<Self, String> {
        let listen_error = |setting: &'static str, port: u16| {
            move |error: io::Error| {
                let hint = match error.kind() {
                    io::ErrorKind::AddrInUse => format!(
                        ": another program listens there, coturn perhaps; set {setting}, or \
                         turn.embedded = \"off\""
                    ),
                    io::ErrorKind::PermissionDenied => {
                        ": ports below 1024 need a privilege".to_owned()
                    }
                    _ => String::new(),
                };
                let address = SocketAddr::new(config.bind, port);
                format!("TURN cannot listen on {address}: {error}{hint}")
            }
        };
        let (udp, tcp) = bind_pair(config).map_err(listen_error("turn.port", config.port))?;
        let tls = tls
            .then(|| bind_tcp(SocketAddr::new(config.bind, config.tls_port)))
            .transpose()
            .map_err(listen_error("turn.tls_port", config.tls_port))?;
        Ok(Self { udp, tcp, tls })
    }

    /// The port of UDP and TCP.
    pub fn port(&self) -> u16 {
        self.udp.local_addr().map_or(0, |address| address.port())
    }

    /// The port of TLS, if it is enabled.
    pub fn tls_port(&self) -> Option<u16> {
        Some(self.tls.as_ref()?.local_addr().ok()?.port())
    }

    /// Duplicates the sockets for one incarnation.
    pub(super) fn open(&self) -> io::Result<RegisteredSockets> {
        let tls = self.tls.as_ref().map(TcpListener::try_clone).transpose()?;
        Ok(RegisteredSockets {
            udp: tokio::net::UdpSocket::from_std(self.udp.try_clone()?)?,
            tcp: tokio::net::TcpListener::from_std(self.tcp.try_clone()?)?,
            tls: tls.map(tokio::net::TcpListener::from_std).transpose()?,
        })
    }
}

/// Binds UDP and TCP to one port; with port 0, to the first one that is free for both.
fn bind_pair(config: &TurnConfig) -> io::Result<(UdpSocket, TcpListener)> {
    let mut attempts = 0;
    loop {
        let udp = bind_udp(SocketAddr::new(config.bind, config.port))?;
        attempts += 1;
        match bind_tcp(udp.local_addr()?) {
            Err(error)
                if config.port == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && attempts < 64 => {}
            tcp => return Ok((udp, tcp?)),
        }
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?; // a restart must not wait for old connections
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turn_port_in_use_error_names_setting_to_change() {
        let mut config = crate::config::load("", []).unwrap().turn;
        config.bind = [127, 0, 0, 1].into();
        config.port = 0;
        let first = TurnSockets::bind(&config, false).unwrap();
        config.port = first.port();

        let error = TurnSockets::bind(&config, false).err().unwrap();

        assert!(error.contains("set turn.port") && error.contains("another program"));
    }
}
