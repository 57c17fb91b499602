//! Where a listing stands, and what one step of it found.

use redis::Value;

use super::reply::{list_of, number_of, text_of};
use crate::StoreError;

/// Where a walk stands: a cursor of Redis, and the last key handed out of the step that begins
/// there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) cursor: u64,
    pub(super) after: String,
}

/// What a step found.
pub(super) struct Step {
    next: u64,
    keys: Vec<String>,
    /// It is the whole index: what is behind a key stays behind it, whatever comes and goes.
    is_whole: bool,
}

impl Place {
    /// Takes from a step what fits; `None` when the walk is at its end.
    pub(super) fn take(self, mut step: Step, room: usize, into: &mut Vec<String>) -> Option<Self> {
        step.keys.sort_unstable();
        step.keys.dedup();
        step.keys.retain(|key| *key > self.after);
        if step.keys.len() > room {
            if into.is_empty() || step.is_whole {
                into.extend(step.keys.into_iter().take(room));
                let after = into.last().cloned().unwrap_or(self.after);
                return Some(Self { after, ..self });
            }
            return Some(self);
        }
        into.append(&mut step.keys);
        (step.next != 0).then(|| Self {
            cursor: step.next,
            after: String::new(),
        })
    }
}

/// Where a listing of sessions stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// Among the sessions attached to this node.
    Host(String, Place),
    /// Among those without a connection.
    Detached(Place),
}

impl Stand {
    pub(super) fn write(&self) -> String {
        match self {
            Self::Host(host, place) => format!("n{}:{}:{host}", place.cursor, place.after),
            Self::Detached(place) => format!("d{}:{}:", place.cursor, place.after),
        }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.get(1..)?.splitn(3, ':');
        let cursor = parts.next()?.parse().ok()?;
        let after = parts.next()?.to_owned();
        let host = parts.next()?.to_owned();
        let place = Place { cursor, after };
        match text.get(..1)? {
            "n" => Some(Self::Host(host, place)),
            "d" => Some(Self::Detached(place)),
            _ => None,
        }
    }
}

pub(super) fn no_page() -> StoreError {
    StoreError::Layout("no end of a page".to_owned())
}

pub(super) const CORRUPT: StoreError = StoreError::Corrupt("listing");

/// The cursor and the keys of a step; of pairs, only the first of each.
pub(super) fn read_step(answer: Value, stride: usize) -> Result<Step, StoreError> {
    let mut parts = list_of(answer).ok_or(CORRUPT)?.into_iter();
    let next = parts.next().as_ref().and_then(number_of).ok_or(CORRUPT)?;
    let keys = parts.next().and_then(list_of).ok_or(CORRUPT)?;
    let keys = keys.iter().step_by(stride);
    Ok(Step {
        next,
        keys: texts(keys),
        is_whole: false,
    })
}

/// An index that is read whole.
pub(super) fn whole(answer: Value) -> Result<Step, StoreError> {
    Ok(Step {
        next: 0,
        keys: texts(list_of(answer).ok_or(CORRUPT)?.iter()),
        is_whole: true,
    })
}

fn texts<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<String> {
    values
        .filter_map(|value| Some(text_of(value)?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(next: u64, is_whole: bool) -> Step {
        let keys = ["c", "a", "b", "a"].map(str::to_owned).to_vec();
        Step {
            next,
            keys,
            is_whole,
        }
    }

    #[test]
    fn a_page_of_a_whole_index_ends_at_a_key() {
        let mut found = vec!["x".to_owned()];
        let place = Place::default().take(step(0, true), 2, &mut found).unwrap();
        assert_eq!(found, ["x", "a", "b"]);
        assert_eq!((place.cursor, place.after.as_str()), (0, "b"));
        assert_eq!(place.take(step(0, true), 2, &mut found), None);
        assert_eq!(found, ["x", "a", "b", "c"]);
    }

    #[test]
    fn a_page_of_a_walk_ends_between_steps_unless_one_step_is_larger() {
        let start = Place {
            cursor: 3,
            after: String::new(),
        };
        let mut found = vec!["x".to_owned()];
        let place = start.clone().take(step(7, false), 2, &mut found).unwrap();
        assert_eq!(
            (place, found.len()),
            (start.clone(), 1),
            "left for the next page"
        );
        let mut found = Vec::new();
        let place = start.take(step(7, false), 2, &mut found).unwrap();
        assert_eq!((found.len(), place.cursor, &*place.after), (2, 3, "b"));
        let place = place.take(step(7, false), 2, &mut found).unwrap();
        assert_eq!((found.len(), place.cursor, &*place.after), (3, 7, ""));
    }

    #[test]
    fn stands_survive_odd_names_and_garbage_is_refused() {
        let place = Place {
            cursor: u64::MAX,
            after: "a-b".to_owned(),
        };
        for stand in [
            Stand::Host("pod:1: x".to_owned(), place.clone()),
            Stand::Detached(place),
        ] {
            assert_eq!(Stand::read(&stand.write()), Some(stand));
        }
        for bad in ["", "n", "nx:y:z", "q1:2:3", "é1:2:3", "n1:2"] {
            assert_eq!(Stand::read(bad), None, "{bad}");
        }
    }
}
