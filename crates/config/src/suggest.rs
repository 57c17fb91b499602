//! The nearest key to a misspelt one.

use crate::path::Path;
use crate::table::keys;

/// The known key that most resembles an unknown one, if any does.
pub(crate) fn nearest(unknown: &Path) -> Option<String> {
    let text = unknown.0.join(".");
    let last = unknown.0.last()?;
    // A key of the right name in another section is what was meant, however far the section is.
    let moved = keys()
        .find(|key| !key.name.contains('*') && key.name.rsplit('.').next() == Some(last.as_str()));
    let best = keys()
        .map(|key| candidate(key.name, unknown))
        .map(|name| (distance(&text, &name.0.join(".")), name))
        .min_by_key(|(steps, _)| *steps);
    match (best, moved) {
        (Some((steps, name)), _) if steps <= 2 => Some(name.to_string()),
        (_, Some(key)) => Some(key.name.to_owned()),
        (Some((steps, name)), None) if steps <= text.chars().count() / 3 => Some(name.to_string()),
        (Some(_) | None, None) => None,
    }
}

/// The pattern with its `*` replaced by what stands at that place in the unknown key.
fn candidate(pattern: &str, unknown: &Path) -> Path {
    let at = pattern.split('.').position(|part| part == "*");
    let name = at
        .and_then(|at| unknown.0.get(at))
        .map_or("NAME", String::as_str);
    Path::filled(pattern, name)
}

/// How many insertions, deletions, replacements and swaps of neighbours lead from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(200).collect();
    let to: Vec<char> = to.chars().take(200).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, symbol) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let at = |line: &[usize], at: usize| line.get(at).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&last, column) + usize::from(symbol != other);
            let mut steps = replaced
                .min(at(&last, column + 1) + 1)
                .min(at(&current, column) + 1);
            let is_swap = row > 0
                && column > 0
                && from.get(row - 1) == Some(other)
                && to.get(column - 1) == Some(symbol);
            if is_swap {
                steps = steps.min(at(&before_last, column - 1) + 1);
            }
            current.push(steps);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits_and_swaps() {
        for (from, to, steps) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "ab", 1),
            ("abc", "xabc", 1),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
            ("", "abc", 3),
        ] {
            assert_eq!(distance(from, to), steps, "{from} {to}");
            assert_eq!(distance(to, from), steps, "{to} {from}");
        }
    }

    #[test]
    fn misspelt_misplaced_and_named_keys_are_recognised() {
        for (unknown, meant) in [
            (
                "sesion.heartbeat_interval",
                Some("session.heartbeat_interval"),
            ),
            (
                "session.heartbaet_interval",
                Some("session.heartbeat_interval"),
            ),
            ("heartbeat_interval", Some("session.heartbeat_interval")),
            ("server.resume_window", Some("session.resume_window")),
            ("namespaces.room.presense", Some("namespaces.room.presence")),
            ("auth.keys.k1.algoritm", Some("auth.keys.k1.algorithm")),
            ("auth.hs256secret", Some("auth.hs256_secret")),
            ("zzz.qqq", None),
        ] {
            let path = Path::parse(unknown).unwrap();
            assert_eq!(nearest(&path).as_deref(), meant, "{unknown}");
        }
    }
}
