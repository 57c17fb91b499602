//! One file descriptor in reserve: without it a process that has none left could not even tell a
//! client to come again.

use std::{fs::File, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The answer to whoever comes meanwhile.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\n\
    Content-Length: 0\r\n\r\n";
/// How long one of them is served: the loop does nothing else.
const PATIENCE: Duration = Duration::from_millis(100);
/// `EMFILE` and `ENFILE`: the process, or the system, has no descriptor left.
const EXHAUSTED: [i32; 2] = [24, 23];

/// A descriptor that is given up for a moment when there is no other.
#[derive(Debug)]
pub(super) struct Spare(Option<File>);

impl Spare {
    pub(super) fn take() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Whether there was one to give up.
    pub(super) fn give_up(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Takes one again, if there is one.
    pub(super) fn refill(&mut self) {
        if self.0.is_none() {
            *self = Self::take();
        }
    }
}

pub(super) fn is_exhausted(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| EXHAUSTED.contains(&code))
}

/// Tells a client to come again. A request that is not read would turn the end of the connection
/// into a reset, which may destroy the answer.
pub(super) async fn turn_away(mut tcp: TcpStream) {
    let talk = async {
        let mut request = [0; 1024];
        let _some = tcp.read(&mut request).await?;
        tcp.write_all(BUSY).await?;
        tcp.shutdown().await?;
        while tcp.read(&mut request).await? > 0 {}
        io::Result::Ok(())
    };
    // Late, or gone: it is dropped either way.
    let _ = timeout(PATIENCE, talk).await;
}
