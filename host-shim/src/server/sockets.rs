//! The sockets that listen.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use socket2::{Domain, Socket, Type};

/// A socket that several threads can listen on, each with its own.
///
/// # Errors
/// The system's.
pub(super) fn bind(address: SocketAddr) -> Result<Socket> {
    let open = || -> std::io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    open().with_context(|| format!("cannot listen on {address}"))
}

/// Says what to do about an address that something else has: with SO_REUSEPORT a second gateway would share it, and get
/// half of its connections.
///
/// # Errors
/// When something listens there.
pub fn refuse_taken(address: SocketAddr) -> Result<()> {
    match std::net::TcpListener::bind(address) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("cannot listen on {address}: something listens there already; stop it, or change the address")
        }
        // Another error is told when the address is bound.
        _ => Ok(()),
    }
}
