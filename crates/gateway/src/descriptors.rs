//! How the file descriptors of the process are shared out.

/// Descriptors for what is no client: the store, files, the internal listener.
const OWN: u64 = 64;
/// Most connections of one accept loop that are not upgraded yet.
const HANDSHAKES: u64 = 1024;
/// One part in so many of all descriptors is for connections that are not upgraded yet.
const HANDSHAKES_PART: u64 = 8;

/// What one node takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Connections that speak WebSocket; none: no limit is known.
    pub(crate) connections: Option<u32>,
    /// Connections of one accept loop that are not upgraded yet.
    pub(crate) handshakes: usize,
}

impl Descriptors {
    /// Shares out what the operating system lets this process have.
    pub(crate) fn of_process(loops: usize) -> Self {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self::share(soft_limit(&limits), loops)
    }

    fn share(limit: Option<u64>, loops: usize) -> Self {
        let loops = (loops as u64).max(1);
        let Some(limit) = limit else {
            return Self {
                connections: None,
                handshakes: usize::try_from(HANDSHAKES).unwrap_or(usize::MAX),
            };
        };
        let handshakes = (limit / HANDSHAKES_PART / loops).clamp(8, HANDSHAKES);
        let connections = limit.saturating_sub(OWN + handshakes * loops).max(1);
        Self {
            connections: Some(u32::try_from(connections).unwrap_or(u32::MAX)),
            handshakes: usize::try_from(handshakes).unwrap_or(usize::MAX),
        }
    }
}

/// The soft limit, which is what counts; none when there is no limit or it cannot be told.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_together_stays_below_the_limit() {
        for limit in [256, 1024, 4096, 65_536, 1_048_576] {
            for loops in [1, 2, 8] {
                let shared = Descriptors::share(Some(limit), loops);
                let all =
                    u64::from(shared.connections.unwrap()) + (shared.handshakes * loops) as u64;
                assert!(all < limit, "{limit} {loops}: {shared:?}");
                assert!(u64::from(shared.connections.unwrap()) >= limit / 2);
            }
        }
        assert_eq!(Descriptors::share(None, 2).connections, None);
    }

    #[test]
    fn the_soft_limit_is_read() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(
            soft_limit("Max open files   unlimited unlimited files\n"),
            None
        );
        assert_eq!(soft_limit(""), None);
    }
}
