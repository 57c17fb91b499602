//! One `sparkway` process.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::{SOON, free_port, free_ports, http, until};

/// How often a process is started again because somebody took one of its ports in between.
const PORT_RACES: usize = 5;

/// A process that dies with its handle, kill -9.
pub(crate) struct Process {
    child: Child,
    directory: tempfile::TempDir,
    /// Public ports of its nodes.
    pub(crate) public: Vec<u16>,
    /// Internal ports of its nodes.
    pub(crate) internal: Vec<u16>,
}

/// A node is chatty when something is wrong, and quiet otherwise.
const LOG_LEVEL: &str = "info,sparkway_gateway=debug,sparkway_store=debug";

impl Process {
    /// `sparkway serve` with these settings, ready for clients.
    pub(crate) async fn serve(name: &str, settings: &[(&str, &str)]) -> Self {
        for _ in 0..PORT_RACES {
            let [public, internal] = free_ports();
            let mut arguments = vec!["serve".to_owned()];
            let own = [
                ("server.listen", format!("127.0.0.1:{public}")),
                ("internal.listen", format!("127.0.0.1:{internal}")),
                ("server.node_id", name.to_owned()),
                ("log.level", LOG_LEVEL.to_owned()),
            ];
            let own = own.iter().map(|(key, value)| (*key, value.as_str()));
            // The last one counts, so a test may override what stands before.
            for (key, value) in own.chain(settings.iter().copied()) {
                arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
            }
            if let Some(process) = Self::start(&arguments, vec![public], vec![internal]).await {
                return process;
            }
        }
        panic!("no free ports after {PORT_RACES} attempts");
    }

    /// `sparkway dev` with two nodes over one embedded store, ready for clients.
    pub(crate) async fn dev() -> Self {
        for _ in 0..PORT_RACES {
            let first = free_port_pair();
            let arguments = ["dev", "--nodes", "2", "--port", &first.to_string()];
            let arguments = arguments.map(str::to_owned);
            let public = vec![first, first + 1];
            let internal = vec![first + 1000, first + 1001];
            if let Some(process) = Self::start(&arguments, public, internal).await {
                return process;
            }
        }
        panic!("no free ports after {PORT_RACES} attempts");
    }

    /// None when the process ended because it could not listen.
    async fn start(arguments: &[String], public: Vec<u16>, internal: Vec<u16>) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory for the log");
        let log = File::create(directory.path().join("log")).expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_sparkway"))
            .args(arguments)
            // Nothing of the surrounding configuration may reach it.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the binary was built");
        let mut process = Self {
            child,
            directory,
            public,
            internal,
        };
        let started = tokio::time::Instant::now();
        loop {
            if process.is_ready().await {
                return Some(process);
            }
            if let Some(status) = process.child.try_wait().expect("a child") {
                let log = process.log();
                assert!(log.contains("cannot listen"), "ended with {status}: {log}");
                return None;
            }
            assert!(started.elapsed() < SOON, "not ready: {}", process.log());
            super::time_passes(Duration::from_millis(10)).await;
        }
    }

    async fn is_ready(&self) -> bool {
        for port in &self.internal {
            if http::status(*port, "/readyz").await != Some(200) {
                return false;
            }
        }
        true
    }

    /// Where clients of its node number `at` connect.
    pub(crate) fn url(&self, at: usize) -> String {
        format!("ws://127.0.0.1:{}/ws", self.public[at])
    }

    /// kill -9, and waits for its end.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends a signal such as `TERM`, `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        let child = &mut self.child;
        until("the process ends", within, || {
            std::future::ready(child.try_wait().expect("a child"))
        })
        .await
    }

    /// Private memory in bytes that is in use now.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the process runs");
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .expect("RssAnon");
        let kib = line.split_whitespace().nth(1).expect("a number");
        kib.parse::<u64>().expect("a number") * 1024
    }

    /// Everything that it wrote so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(60);
            eprintln!("--- node on {:?}, end of its log", self.public);
            lines[last..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The first of two neighbouring ports that are free together with those 1000 above.
fn free_port_pair() -> u16 {
    loop {
        let first = free_port();
        let all = [
            Some(first + 1),
            first.checked_add(1000),
            first.checked_add(1001),
        ];
        let is_free = |port: Option<u16>| {
            port.is_some_and(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
        };
        if all.into_iter().all(is_free) {
            return first;
        }
    }
}
