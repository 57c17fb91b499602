//! A master, a replica, and a sentinel that watches them.

use super::cluster::until;
use super::server::Server;

/// Servers that die with it.
pub(crate) struct Watched {
    pub(crate) master: Server,
    pub(crate) replica: Server,
    pub(crate) sentinel: Server,
}

impl Watched {
    /// Starts all three and waits until the replica follows and the sentinel knows it.
    pub(crate) fn start() -> Self {
        let master = Server::start(&["--repl-diskless-sync-delay", "0"]);
        let port = master.port.to_string();
        let replica = Server::start(&[
            "--replicaof",
            &format!("127.0.0.1 {port}"),
            "--repl-diskless-sync-delay",
            "0",
        ]);
        until("the replica follows", || {
            let text = replica.cli(&["INFO", "replication"]);
            text.contains("master_link_status:up")
        });
        let sentinel = Server::sentinel();
        for words in [
            &["SENTINEL", "MONITOR", "mymaster", "127.0.0.1", &port, "1"][..],
            &[
                "SENTINEL",
                "SET",
                "mymaster",
                "down-after-milliseconds",
                "1000",
            ],
            &["SENTINEL", "SET", "mymaster", "failover-timeout", "3000"],
        ] {
            assert_eq!(sentinel.cli(words).trim(), "OK");
        }
        let watched = Self {
            master,
            replica,
            sentinel,
        };
        until("the sentinel knows the replica", || {
            let known = watched.sentinel.cli(&["SENTINEL", "REPLICAS", "mymaster"]);
            known.contains(&watched.replica.port.to_string())
        });
        watched
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/mymaster", self.sentinel.port)
    }
}
