//! One `redis-server` process.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{SOON, free_port, time_passes};

/// A server that dies with its handle.
pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
    directory: tempfile::TempDir,
}

impl Redis {
    /// Starts a server without persistence and waits until it answers.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with more options.
    pub(crate) async fn with(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the server");
        let started = tokio::time::Instant::now();
        let mut port = free_port();
        let mut child = spawn(port, &directory, options);
        loop {
            if cli(port, &["PING"]).trim() == "PONG" {
                return Self {
                    child,
                    port,
                    directory,
                };
            }
            // Somebody else may have taken the port in between: try the next one.
            if child.try_wait().expect("a child").is_some() {
                port = free_port();
                child = spawn(port, &directory, options);
            }
            assert!(started.elapsed() < SOON, "redis-server starts");
            time_passes(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs `redis-cli` and answers what it prints.
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        cli(self.port, words)
    }

    /// Whether a session waits for its client, as the store says.
    pub(crate) fn is_detached(&self, session: &str) -> bool {
        let keys = self.cli(&["--scan", "--pattern", "*:detached"]);
        keys.lines()
            .any(|key| self.cli(&["ZRANGE", key, "0", "-1"]).contains(session))
    }

    /// Whether a heartbeat token that is not the first of its session is the only valid one, as the
    /// store says.
    pub(crate) fn is_rotated(&self, session: &str) -> bool {
        let key = self.cli(&["--scan", "--pattern", &format!("*:sess:{session}")]);
        let generations = self.cli(&["HMGET", key.trim(), "gn", "gc"]);
        let mut generations = generations.lines();
        let newest = generations.next();
        newest.is_some_and(|newest| !["", "1"].contains(&newest)) && newest == generations.next()
    }

    /// Everything it holds, as one uncompressed file.
    pub(crate) fn dump(&self) -> Vec<u8> {
        assert_eq!(
            self.cli(&["CONFIG", "SET", "rdbcompression", "no"]).trim(),
            "OK"
        );
        assert_eq!(self.cli(&["SAVE"]).trim(), "OK");
        std::fs::read(self.directory.path().join("dump.rdb")).expect("a dump")
    }

    /// Ends it and starts it again on the same port, with nothing of what it held.
    pub(crate) async fn restart(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        let started = tokio::time::Instant::now();
        while cli(self.port, &["PING"]).trim() != "PONG" {
            if self.child.try_wait().expect("a child").is_some() {
                self.child = spawn(self.port, &self.directory, &[]);
            }
            assert!(started.elapsed() < SOON, "redis-server starts again");
            time_passes(Duration::from_millis(10)).await;
        }
    }

    /// Sends a signal such as `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// All commands that it carries out while `work` runs, one per line.
    pub(crate) async fn monitor<F: Future<Output = ()>>(&self, work: F) -> String {
        let path = self.directory.path().join("monitor");
        let file = std::fs::File::create(&path).expect("a file");
        let mut monitor = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "MONITOR"])
            .stdout(file)
            .spawn()
            .expect("redis-cli is installed");
        let seen = || std::fs::read_to_string(&path).unwrap_or_default();
        super::until_true("the monitor runs", SOON, || seen().contains("OK")).await;
        work.await;
        // The line of this command is behind all lines of the work.
        self.cli(&["ECHO", "the work is done"]);
        super::until_true("the monitor is up to date", SOON, || {
            seen().contains("the work is done")
        })
        .await;
        drop(monitor.kill());
        drop(monitor.wait());
        seen()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn cli(port: u16, words: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(words)
        .output()
        .expect("redis-cli is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn spawn(port: u16, directory: &tempfile::TempDir, options: &[&str]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .arg("--dir")
        .arg(directory.path())
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}
