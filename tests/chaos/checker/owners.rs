//! One connection owns a session: rule C12.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Conn, Key, Request, Session, Topic, What};
use super::index::Index;
use super::logs::of_message;
use super::{Rule, Violation};

/// For so long after another connection took the session over the old one may still be told
/// things: its node may have been stopped, or cut off.
const KICK_WITHIN_US: u64 = 12_000_000;

/// So long after the store may have lost a claim its publishes are not judged.
const FORGOTTEN_US: u64 = 30_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Life {
    /// When it came to own the session.
    began_us: Option<u64>,
    /// When it asked for it.
    asked_us: u64,
    ended: bool,
    /// When a connection that asked after this one had the session got it.
    superseded_us: Option<u64>,
}

pub(super) fn check(session: &Session, index: &Index, found: &mut Vec<Violation>) {
    let lives = lives(session);
    let mut open = lives
        .iter()
        .filter(|(_, life)| life.began_us.is_some() && !life.ended);
    if let (Some((first, _)), Some((second, _))) = (open.next(), open.next()) {
        let text = format!("connections {first} and {second} both have it in the end");
        found.push(Violation {
            rule: Rule::TwoOwners,
            session: None,
            topic: None,
            id: None,
            text,
        });
    }
    check_deliveries(session, &lives, found);
    check_publishes(session, &lives, index, found);
}

fn lives(session: &Session) -> BTreeMap<Conn, Life> {
    let mut lives: BTreeMap<Conn, Life> = BTreeMap::new();
    for step in &session.steps {
        let life = lives.entry(step.conn).or_default();
        match &step.what {
            What::Connected => life.began_us = Some(step.at_us),
            What::ResumeAsked { .. } => life.asked_us = step.at_us,
            What::Resumed { .. } => {
                life.began_us = Some(step.at_us);
                let asked_us = life.asked_us;
                let others = lives.iter_mut().filter(|(conn, _)| **conn != step.conn);
                for (_, other) in others {
                    let had_it = other.began_us.is_some_and(|began| began < asked_us);
                    if had_it && other.superseded_us.is_none() {
                        other.superseded_us = Some(step.at_us);
                    }
                }
            }
            What::Closed { .. } => life.ended = true,
            _ => {}
        }
    }
    lives
}

fn check_deliveries(session: &Session, lives: &BTreeMap<Conn, Life>, found: &mut Vec<Violation>) {
    let mut disowned = BTreeSet::new();
    for step in &session.steps {
        if step.what == What::Disowned {
            disowned.insert(step.conn);
        }
        if !matches!(step.what, What::Message { .. } | What::Answered { .. }) {
            continue;
        }
        let life = lives.get(&step.conn).copied().unwrap_or_default();
        let is_late = |at_us| at_us + KICK_WITHIN_US < step.at_us;
        let is_left = disowned.contains(&step.conn) && life.began_us.is_some_and(is_late);
        if is_left || life.superseded_us.is_some_and(is_late) {
            found.push(Violation {
                rule: Rule::TwoOwners,
                session: None,
                topic: None,
                id: None,
                text: format!(
                    "connection {} is served long after it lost the session: {:?}",
                    step.conn, step.what
                ),
            });
            return;
        }
    }
}

/// What was sent only on connections that had lost the session is not stored.
fn check_publishes(
    session: &Session,
    lives: &BTreeMap<Conn, Life>,
    index: &Index,
    found: &mut Vec<Violation>,
) {
    let mut fenced: BTreeSet<(Topic, Key)> = BTreeSet::new();
    let mut owned: BTreeSet<(Topic, Key)> = BTreeSet::new();
    // A store that forgot the claim knows no better until the owner writes it again.
    let is_forgotten = |at_us: u64| {
        let near = |loss: &u64| *loss <= at_us && at_us < *loss + FORGOTTEN_US;
        index.losses.iter().any(near)
    };
    for step in &session.steps {
        let What::Asked {
            request: Request::Publish { topic, key },
            ..
        } = &step.what
        else {
            continue;
        };
        let superseded = lives.get(&step.conn).and_then(|life| life.superseded_us);
        let is_fenced = superseded.is_some_and(|at_us| at_us < step.at_us);
        let set = if is_fenced && !is_forgotten(step.at_us) {
            &mut fenced
        } else {
            &mut owned
        };
        set.insert((topic.clone(), *key));
    }
    for (topic, key) in fenced.difference(&owned) {
        let log = index.stored.get(topic).into_iter().flatten();
        for (id, _) in log.filter(|(_, stored)| *stored == key) {
            let text = format!(
                "{topic} {id} {key:?} was stored for a connection that had lost the session"
            );
            found.push(of_message(Rule::TwoOwners, topic, *id, text));
        }
    }
}
