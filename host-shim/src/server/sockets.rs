//! Listening sockets.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use socket2::{Domain, Socket, Type};

/// Opens a listening socket with SO_REUSEPORT, so that each thread can have its own for the same address.
///
/// # Errors
/// The system refuses the address.
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

/// Checks that an address is free. Because of SO_REUSEPORT, a second gateway would otherwise share the address and get
/// half of the connections.
///
/// # Errors
/// Something listens on the address.
pub fn refuse_taken(address: SocketAddr) -> Result<()> {
    match std::net::TcpListener::bind(address) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("cannot listen on {address}: another process listens there; stop it, or change the address")
        }
        // Other errors are reported when the address is bound.
        _ => Ok(()),
    }
}
