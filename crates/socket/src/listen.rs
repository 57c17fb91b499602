//! The listening socket.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel holds for an accept loop that is busy.
pub const BACKLOG: i32 = 4096;

/// Listens on `addr`. Clone the listener (`try_clone`) for each runtime that runs an
/// [`Acceptor`](crate::Acceptor): all clones accept from one kernel queue, so none is stranded
/// when a thread is busy. Its connections send what is written without delay. The unspecified IPv6
/// address takes IPv4 as well.
///
/// # Errors
/// When the address cannot be bound: report it with the address and end the process.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // A restarted node must not wait for old connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    // Frames are small and written whole: waiting for more would only delay them. Connections take
    // this over from the listener, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn accepted_connections_send_without_delay() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
