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
    arguments: Vec<String>,
    directory: tempfile::TempDir,
    /// Public ports of its nodes.
    pub(crate) public: Vec<u16>,
    /// Internal ports of its nodes.
    pub(crate) internal: Vec<u16>,
}

/// A first argument that begins so is a limit of descriptors and not for the process.
const DESCRIPTORS: &str = "descriptors:";

/// A node is chatty when something is wrong, and quiet otherwise.
const LOG_LEVEL: &str = "info,sparkway_gateway=debug,sparkway_store=debug";

impl Process {
    /// Runs the binary until it ends; how, and what it said.
    pub(crate) fn run(arguments: &[&str]) -> (ExitStatus, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_sparkway"))
            .args(arguments)
            .env_clear()
            .output()
            .expect("the binary was built");
        let text = [output.stdout, output.stderr].concat();
        (output.status, String::from_utf8_lossy(&text).into_owned())
    }

    /// `sparkway serve` with these settings, ready for clients.
    pub(crate) async fn serve(name: &str, settings: &[(&str, &str)]) -> Self {
        Self::serve_with(&[], name, settings).await
    }

    /// The same with at most so many file descriptors.
    pub(crate) async fn serve_with_descriptors(
        name: &str,
        settings: &[(&str, &str)],
        most: u32,
    ) -> Self {
        Self::serve_within(Some(most), &[], name, settings).await
    }

    /// As [`Process::serve`], with further arguments.
    pub(crate) async fn serve_with(
        further: &[&str],
        name: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::serve_within(None, further, name, settings).await
    }

    async fn serve_within(
        descriptors: Option<u32>,
        further: &[&str],
        name: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        for _ in 0..PORT_RACES {
            let [public, internal] = free_ports();
            let limit = descriptors.map(|most| format!("{DESCRIPTORS}{most}"));
            let mut arguments: Vec<String> = limit.into_iter().collect();
            arguments.push("serve".to_owned());
            arguments.extend(further.iter().map(|word| (*word).to_owned()));
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
        let mut process = Self {
            child: spawn(arguments, &directory),
            arguments: arguments.to_vec(),
            directory,
            public,
            internal,
        };
        process.comes_up().await.then_some(process)
    }

    /// Waits until it is ready; false when it ended because it could not listen.
    async fn comes_up(&mut self) -> bool {
        let started = tokio::time::Instant::now();
        loop {
            if self.is_ready().await {
                return true;
            }
            if let Some(status) = self.child.try_wait().expect("a child") {
                let log = self.log();
                assert!(log.contains("cannot listen"), "ended with {status}: {log}");
                return false;
            }
            assert!(started.elapsed() < SOON, "not ready: {}", self.log());
            super::time_passes(Duration::from_millis(10)).await;
        }
    }

    /// Starts it again after its end, with the same settings on the same ports.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let started = tokio::time::Instant::now();
        loop {
            self.child = spawn(&self.arguments, &self.directory);
            if self.comes_up().await {
                return;
            }
            // Connections of the one before may still hold the port for a moment.
            assert!(started.elapsed() < SOON, "its ports are taken");
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

    /// CPU time that it has used so far.
    pub(crate) fn cpu(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).expect("the process runs");
        // Behind the name, which is in parentheses: user and system time are numbers 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks
            .map(|field| field.parse::<u64>().expect("ticks"))
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// A series of its metrics, such as `sparkway_handshakes_total{result="limit"}`.
    /// In whole numbers.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let page = http::body(self.internal[0], "/metrics").await;
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no series {series}"));
        value.parse().expect("a number")
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

fn spawn(arguments: &[String], directory: &tempfile::TempDir) -> Child {
    let log = File::options()
        .append(true)
        .create(true)
        .open(directory.path().join("log"))
        .expect("a log file");
    let binary = env!("CARGO_BIN_EXE_sparkway");
    let limit = arguments
        .first()
        .and_then(|first| first.strip_prefix(DESCRIPTORS));
    let (mut command, arguments) = match limit {
        None => (Command::new(binary), arguments),
        Some(most) => {
            let mut shell = Command::new("sh");
            let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
            shell.args(["-c", &script, binary]);
            (shell, &arguments[1..])
        }
    };
    command
        .args(arguments)
        // Nothing of the surrounding configuration may reach it.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("the binary was built")
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
