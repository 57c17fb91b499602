//! What the kernel says about the processes under test.

use std::fs;

/// CPU nanoseconds that the processes have used so far, all threads together.
///
/// `schedstat` is exact to the nanosecond where `stat` counts in ticks of 10 ms; both are the same
/// account. Threads that have ended are not in it: servers here keep theirs.
pub(crate) fn cpu_ns(pids: &[u32]) -> u64 {
    pids.iter().map(|&pid| cpu_of(pid)).sum()
}

/// As [`cpu_ns`], of this process.
pub(crate) fn own_cpu_ns() -> u64 {
    cpu_of(std::process::id())
}

/// Anonymous resident memory of the processes, in bytes: heap and stacks, without the program.
pub(crate) fn rss_anon(pids: &[u32]) -> u64 {
    pids.iter()
        .map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("RssAnon:"));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            kib.unwrap_or(0) * 1024
        })
        .sum()
}

fn cpu_of(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    threads
        .flatten()
        .filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}
