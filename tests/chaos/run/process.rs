//! Processes that are broken: nodes and servers.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// A port that was free a moment ago, with the one 10,000 above it; below those that the system
/// gives to outgoing connections.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 9_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or_default();
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + offset) % COUNT;
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}

/// A child process with a directory and a log of its own. It ends with the handle.
pub(crate) struct Process {
    child: Child,
    directory: PathBuf,
    is_stopped: bool,
}

impl Process {
    /// Starts a program in a directory; what it says goes to `log` there.
    pub(crate) fn start(
        program: &Path,
        arguments: &[String],
        directory: &Path,
        environment: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let log = File::options()
            .append(true)
            .create(true)
            .open(directory.join("log"))?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment.iter().cloned())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} starts", program.display()))?;
        Ok(Self {
            child,
            directory: directory.to_owned(),
            is_stopped: false,
        })
    }

    /// kill -9, and waits for its end.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Whether it has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Freezes it, or lets it go on.
    pub(crate) fn stop(&mut self, stop: bool) {
        self.is_stopped = stop;
        self.signal(if stop { "STOP" } else { "CONT" });
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .stderr(Stdio::null())
            .status();
        drop(sent);
    }

    /// The last lines of what it said.
    pub(crate) fn log(&self, lines: usize) -> Vec<String> {
        let all = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let all: Vec<&str> = all.lines().collect();
        let from = all.len().saturating_sub(lines);
        all.into_iter().skip(from).map(str::to_owned).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks again and again until the answer is yes.
pub(crate) async fn until<F>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = bool>,
{
    let end = Instant::now() + within;
    while !look().await {
        if Instant::now() > end {
            bail!("not within {within:?}: {what}");
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Whether a node says that it is ready.
pub(crate) async fn is_ready(port: u16) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let head = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(head).await.ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.ok()?;
        answer.ends_with(b"200").then_some(())
    };
    let asked = timeout(Duration::from_secs(1), asking).await;
    asked.ok().flatten().is_some()
}
