//! Runs one target for a while.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::mutate::{Dice, mutate};

/// How long a target runs unless `FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 10;
/// Longest time for one input.
const STALL: Duration = Duration::from_secs(5);
/// Most inputs that are kept.
const CORPUS: usize = 2000;

/// Says what was running when a target panics.
struct Running<'a> {
    name: &'a str,
    seed: u64,
    round: u64,
    input: Vec<u8>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut hex = String::new();
            for byte in &self.input {
                let _ = write!(hex, "{byte:02x}");
            }
            let (name, seed, round) = (self.name, self.seed, self.round);
            {
                eprintln!("fuzz: {name} round {round}: FUZZ_SEED={seed} input {hex}");
            }
        }
    }
}

/// Feeds `target` with mutations of `corpus` until the time is over. The target answers what kind
/// of outcome an input had: one with a new kind of outcome is mutated further.
pub(crate) fn fuzz(
    name: &str,
    corpus: &[&[u8]],
    words: &[&[u8]],
    mut target: impl FnMut(&[u8]) -> String,
) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("FUZZ_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) << 32 | now.as_secs()
    });
    let end = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(SECONDS));
    let mut dice = Dice::new(seed);
    let mut kinds = HashSet::new();
    let mut corpus: Vec<Vec<u8>> = corpus.iter().map(|input| input.to_vec()).collect();
    let mut running = Running {
        name,
        seed,
        round: 0,
        input: Vec::new(),
    };
    for input in &corpus {
        running.input.clone_from(input);
        kinds.insert(target(input));
    }
    while !running.round.is_multiple_of(64) || Instant::now() < end {
        running.round += 1;
        running.input.clone_from(&corpus[dice.below(corpus.len())]);
        mutate(&mut running.input, &corpus, words, &mut dice);
        let began = Instant::now();
        let kind = target(&running.input);
        assert!(began.elapsed() < STALL, "{name} took {:?}", began.elapsed());
        if corpus.len() < CORPUS && kinds.insert(kind) {
            corpus.push(running.input.clone());
        }
    }
    {
        eprintln!(
            "fuzz: {name}: {} rounds, {} kinds of outcome, seed {seed}",
            running.round,
            kinds.len()
        );
    }
    assert!(running.round > 0);
}
