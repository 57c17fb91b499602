//! jemalloc, told to give memory back: after a storm of connections the process shrinks again,
//! where the system's allocator would keep the peak until it ends.

use tikv_jemalloc_ctl::{Access as _, AsName as _, Error};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How long freed pages are kept for the next allocation, in milliseconds.
const KEPT_MS: isize = 1000;
/// Where an operator says otherwise.
const VARIABLE: &str = "_RJEM_MALLOC_CONF";

/// Has freed pages returned within seconds, by a thread of jemalloc's own, unless
/// `_RJEM_MALLOC_CONF` says what is to be done.
///
/// # Errors
/// The platform's jemalloc lacks a control: memory is then given back later, or never.
pub(crate) fn give_memory_back() -> Result<(), Error> {
    if std::env::var_os(VARIABLE).is_some() {
        return Ok(());
    }
    // Of arenas that come later, and of the one that exists already.
    let later = |name: &str, ms: isize| name.name().mib::<[usize; 2]>()?.write(ms);
    let first = |name: &str, ms: isize| name.name().mib::<[usize; 3]>()?.write(ms);
    later("arenas.dirty_decay_ms\0", KEPT_MS)?;
    later("arenas.muzzy_decay_ms\0", 0)?;
    first("arena.0.dirty_decay_ms\0", KEPT_MS)?;
    first("arena.0.muzzy_decay_ms\0", 0)?;
    tikv_jemalloc_ctl::background_thread::write(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_controls_are_there_and_keep_what_they_are_told() {
        give_memory_back().unwrap();
        let name = "arena.0.dirty_decay_ms\0".name();
        let kept: isize = name.mib::<[usize; 3]>().unwrap().read().unwrap();
        assert_eq!(kept, KEPT_MS);
        assert!(tikv_jemalloc_ctl::background_thread::read().unwrap());
    }
}
