//! What it costs on this machine to touch memory that nobody has touched for a while: the floor of
//! whatever is done for a connection that is idle.
//!
//! Touches one of 15,000 pages after the other, one in one and a half milliseconds, so that each has
//! rested for some 25 seconds when its turn comes again; and before it a page that is always in use.

use std::hint::black_box;
use std::io::{self, Write as _};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
const PAGES: usize = 15_000;
/// Between two pages.
const PAUSE: Duration = Duration::from_micros(1500);
/// No neighbours in turn: what a processor reads ahead is of no use.
const STRIDE: usize = 7919;

#[expect(clippy::disallowed_methods, reason = "that memory rests is the point")]
fn main() -> io::Result<()> {
    let mut memory = vec![1_u8; PAGES * PAGE];
    let mut out = io::stdout().lock();
    for round in 1..=2 {
        let (mut used, mut rested) = (Duration::ZERO, Duration::ZERO);
        for turn in 0..PAGES {
            let page = turn * STRIDE % PAGES;
            used += touch(&mut memory, 0);
            rested += touch(&mut memory, page);
            sleep(PAUSE);
        }
        let each = |all: Duration| all.as_secs_f64() * 1e6 / PAGES as f64;
        writeln!(
            out,
            "round {round}: a page in use {:.2} us, one that has rested {:.2} us",
            each(used),
            each(rested)
        )?;
    }
    Ok(())
}

fn touch(memory: &mut [u8], page: usize) -> Duration {
    let began = Instant::now();
    if let Some(byte) = memory.get_mut(page * PAGE + 128) {
        *byte = black_box(byte.wrapping_add(1));
    }
    began.elapsed()
}
