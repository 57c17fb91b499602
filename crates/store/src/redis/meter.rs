//! What is counted of calls and connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sparkway_metrics::{CommandResult, LinkState, RedisMetrics, RedisOp, RedisRole};

use super::backend::Backend;
use super::fault::Fault;
use crate::StoreError;

tokio::task_local! {
    /// What the calls of this task are made for.
    static OP: RedisOp;
}

/// Runs a method of the store, so that the calls it makes are counted under its name. Calls that
/// nobody named count as [`RedisOp::Setup`].
pub(super) fn named<F: Future>(op: RedisOp, method: F) -> impl Future<Output = F::Output> {
    OP.scope(op, method)
}

/// One attempt of a call. Dropped before it ended, it counts as one that nobody answered in time.
pub(super) struct Attempt<'a> {
    metrics: &'a RedisMetrics,
    op: RedisOp,
    began: Instant,
    result: CommandResult,
}

impl<'a> Attempt<'a> {
    pub(super) fn begin(metrics: &'a RedisMetrics) -> Self {
        metrics.inflight.inc();
        Self {
            metrics,
            op: OP.try_with(|op| *op).unwrap_or(RedisOp::Setup),
            began: Instant::now(),
            result: CommandResult::Timeout,
        }
    }

    pub(super) fn end<T>(mut self, answer: &Result<T, Fault>) {
        self.result = answer.as_ref().err().map_or(CommandResult::Ok, result_of);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.metrics.inflight.dec();
        self.metrics.commands.at((self.op, self.result)).inc();
        let took = self.began.elapsed().as_secs_f64();
        self.metrics.command_duration.at(self.op).observe(took);
    }
}

fn result_of(fault: &Fault) -> CommandResult {
    match fault {
        Fault::NoScript => CommandResult::NoScript,
        Fault::Moved => CommandResult::Moved,
        Fault::NotMaster(_) => CommandResult::ReadOnly,
        Fault::Busy("server is loading") => CommandResult::Loading,
        Fault::Lost("no answer in time") => CommandResult::Timeout,
        Fault::Lost(_) => CommandResult::Connection,
        Fault::Refused(StoreError::Unavailable("server is out of memory")) => {
            CommandResult::OutOfMemory
        }
        Fault::Busy(_) | Fault::Refused(_) => CommandResult::Error,
    }
}

/// A connection that is made again whenever it breaks, in the gauges for as long as this lives.
#[derive(Debug)]
pub(super) struct LinkGauge {
    metrics: RedisMetrics,
    role: RedisRole,
    up: AtomicBool,
    was_up: AtomicBool,
}

impl LinkGauge {
    pub(super) fn new(metrics: &RedisMetrics, role: RedisRole) -> Self {
        metrics.connections.at((role, LinkState::Down)).inc();
        Self {
            metrics: metrics.clone(),
            role,
            up: AtomicBool::new(false),
            was_up: AtomicBool::new(false),
        }
    }

    /// That of a connection which listens.
    pub(super) fn of_feed(backend: &Backend) -> Arc<Self> {
        Arc::new(Self::new(backend.router.metrics(), RedisRole::Pubsub))
    }

    /// Says whether the connection works.
    pub(super) fn set(&self, up: bool) {
        if self.up.swap(up, Ordering::Relaxed) == up {
            return;
        }
        self.at(!up).dec();
        self.at(up).inc();
        if up && self.was_up.swap(true, Ordering::Relaxed) {
            self.metrics.reconnects.at(self.role).inc();
        }
    }

    fn at(&self, up: bool) -> &sparkway_metrics::Gauge {
        let state = if up { LinkState::Up } else { LinkState::Down };
        self.metrics.connections.at((self.role, state))
    }
}

impl Drop for LinkGauge {
    fn drop(&mut self) {
        self.at(self.up.load(Ordering::Relaxed)).dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_counts_under_the_method_that_makes_it_and_a_dropped_one_as_unanswered() {
        let metrics = RedisMetrics::new();
        named(RedisOp::Append, async {
            Attempt::begin(&metrics).end(&Ok(()));
            Attempt::begin(&metrics).end::<()>(&Err(Fault::Moved));
            drop(Attempt::begin(&metrics));
        })
        .await;
        for result in [
            CommandResult::Ok,
            CommandResult::Moved,
            CommandResult::Timeout,
        ] {
            assert_eq!(metrics.commands.at((RedisOp::Append, result)).get(), 1);
        }
        assert_eq!(metrics.inflight.get(), 0);
        Attempt::begin(&metrics).end(&Ok(()));
        let unnamed = (RedisOp::Setup, CommandResult::Ok);
        assert_eq!(metrics.commands.at(unnamed).get(), 1);
    }

    #[test]
    fn a_connection_is_up_or_down_and_counts_each_time_it_is_made_again() {
        let metrics = RedisMetrics::new();
        let counts = || {
            let at = |state| metrics.connections.at((RedisRole::Pubsub, state)).get();
            let again = metrics.reconnects.at(RedisRole::Pubsub).get();
            (at(LinkState::Up), at(LinkState::Down), again)
        };
        let gauge = LinkGauge::new(&metrics, RedisRole::Pubsub);
        assert_eq!(counts(), (0, 1, 0));
        gauge.set(true);
        gauge.set(true);
        assert_eq!(counts(), (1, 0, 0));
        gauge.set(false);
        gauge.set(true);
        assert_eq!(counts(), (1, 0, 1));
        drop(gauge);
        assert_eq!(counts(), (0, 0, 1));
    }
}
