//! One `redis-server` process.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to answer after it was started.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Sentinel,
}

/// A server that dies with its handle.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    kind: Kind,
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
    // Both below the ports that the system gives to outgoing connections.
    let start = u16::try_from(std::process::id() % 100).unwrap() * 100;
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        let port = 10_000 + start + offset;
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
        Self::launch(Kind::Data, options)
    }

    /// Starts a sentinel that watches nobody yet.
    pub(crate) fn sentinel() -> Self {
        Self::launch(Kind::Sentinel, &[])
    }

    fn launch(kind: Kind, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the server");
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let port = free_port();
        let child = spawn(kind, port, directory.path(), &options);
        let mut server = Self {
            child,
            port,
            kind,
            directory,
            options,
        };
        // Somebody else may have taken the port in between: try the next one.
        server.await_answer(|server| server.port = free_port());
        server
    }

    fn await_answer(&mut self, before_retry: impl Fn(&mut Self)) {
        let started = Instant::now();
        while !self.answers() {
            if self.child.try_wait().expect("a child").is_some() {
                before_retry(self);
                let directory = self.directory.path();
                self.child = spawn(self.kind, self.port, directory, &self.options);
            }
            assert!(started.elapsed() < START_DEADLINE, "redis-server starts");
            pause();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
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
        self.await_answer(|_| {});
    }

    /// Sends a signal such as `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Whether this very process answers: another one may have the port.
    fn answers(&self) -> bool {
        let told = self.cli(&["INFO", "server"]);
        told.contains(&format!("process_id:{}\r", self.child.id())) || told.starts_with("NOAUTH")
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

fn spawn(kind: Kind, port: u16, directory: &Path, options: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    match kind {
        Kind::Data => {
            command
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
                .arg("--dir")
                .arg(directory)
                .args(options);
        }
        Kind::Sentinel => {
            // A sentinel writes what it learns into its file.
            let file = directory.join("sentinel.conf");
            let place = directory.display();
            let settings = format!("port {port}\nbind 127.0.0.1\ndir {place}\n");
            std::fs::write(&file, settings).expect("a file for the sentinel");
            command.arg(&file).arg("--sentinel");
        }
    }
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

pub(crate) fn pause() {
    // Between two looks at a process that has no other way to tell that it is ready.
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(Duration::from_millis(20));
}
