//! One `redis-server` process.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to answer after it was started.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// A server that dies with its handle.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    directory: tempfile::TempDir,
    options: Vec<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that was free a moment ago, and whose cluster bus port was too.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes of one test run begin in different places, so that they seldom want the same.
    let start = u16::try_from(std::process::id() % 200).unwrap() * 100;
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        let port = 20_000 + start + offset;
        let both = [port, port + 10_000];
        if both
            .iter()
            .all(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        {
            return port;
        }
    }
}

impl Server {
    /// Starts a server without persistence and waits until it answers.
    pub(crate) fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the server");
        let mut server = Self {
            child: spawn(0, directory.path(), &[]),
            port: 0,
            directory,
            options: options.iter().map(|&option| option.to_owned()).collect(),
        };
        let started = Instant::now();
        while !server.answers() {
            // Somebody else may have taken the port in between: try the next one.
            if server.child.try_wait().expect("a child").is_some() {
                server.port = free_port();
                server.child = spawn(server.port, server.directory.path(), &server.options);
            }
            assert!(started.elapsed() < START_DEADLINE, "redis-server starts");
            pause();
        }
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs `redis-cli` and answers what it prints.
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        cli(self.port, words)
    }

    /// kill -9, and waits for its end.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts it again on the same port with what its directory holds.
    pub(crate) fn restart(&mut self) {
        let started = Instant::now();
        while !self.answers() {
            if self.child.try_wait().expect("a child").is_some() {
                self.child = spawn(self.port, self.directory.path(), &self.options);
            }
            assert!(started.elapsed() < START_DEADLINE, "redis-server restarts");
            pause();
        }
    }

    /// Sends a signal such as `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    fn answers(&self) -> bool {
        let answer = if self.port == 0 {
            String::new()
        } else {
            self.cli(&["PING"])
        };
        answer.trim() == "PONG" || answer.starts_with("NOAUTH")
    }

    pub(crate) fn dump(&self) -> PathBuf {
        self.directory.path().join("dump.rdb")
    }
}

pub(crate) fn cli(port: u16, words: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(words)
        .output()
        .expect("redis-cli is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn spawn(port: u16, directory: &Path, options: &[String]) -> Child {
    if port == 0 {
        // Stands for a server that has ended: the caller picks a port and starts one.
        return Command::new("true").spawn().expect("true runs");
    }
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .arg("--dir")
        .arg(directory)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

fn pause() {
    // Between two looks at a process that has no other way to tell that it is ready.
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(Duration::from_millis(20));
}
