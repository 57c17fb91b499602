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

#[derive(Clone, Debug, Default)]
struct Life {
    /// When it came to own the session.
    began_us: Option<u64>,
    /// When it asked for it.
    asked_us: u64,
    /// When it ended. Where its client has only left it, its node goes on serving it.
    ended_us: Option<u64>,
    /// When connections that asked after this one had the session got it, and which ones.
    taken: Vec<(u64, Conn)>,
}

impl Life {
    fn superseded_us(&self) -> Option<u64> {
        self.taken.first().map(|(at_us, _)| *at_us)
    }
}

pub(super) fn check(session: &Session, index: &Index, found: &mut Vec<Violation>) {
    let mut lives = lives(session);
    forget_lost_claims(&mut lives, index);
    let mut open = lives
        .iter()
        .filter(|(_, life)| life.began_us.is_some() && life.ended_us.is_none());
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
                    if other.began_us.is_some_and(|began| began < asked_us) {
                        other.taken.push((step.at_us, step.conn));
                    }
                }
            }
            What::Closed { .. } => life.ended_us = life.ended_us.or(Some(step.at_us)),
            _ => {}
        }
    }
    lives
}

/// A claim that the store lost, of a connection that was gone before its node could write it again,
/// is nobody's knowledge: the next claim counts.
fn forget_lost_claims(lives: &mut BTreeMap<Conn, Life>, index: &Index) {
    let ended: BTreeMap<Conn, Option<u64>> = lives
        .iter()
        .map(|(conn, life)| (*conn, life.ended_us))
        .collect();
    let is_lost = |(at_us, by): &(u64, Conn)| {
        let ended_us = ended.get(by).copied().flatten().unwrap_or(u64::MAX);
        let within = |(from_us, until_us): &(u64, u64)| (*from_us..=*until_us).contains(at_us);
        ended_us < *at_us + KICK_WITHIN_US && index.outages.iter().any(within)
    };
    for life in lives.values_mut() {
        life.taken.retain(|claim| !is_lost(claim));
    }
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
        let Some(life) = lives.get(&step.conn) else {
            continue;
        };
        let is_late = |at_us| at_us + KICK_WITHIN_US < step.at_us;
        let is_left = disowned.contains(&step.conn) && life.began_us.is_some_and(is_late);
        if is_left || life.superseded_us().is_some_and(is_late) {
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
        let superseded = lives.get(&step.conn).and_then(Life::superseded_us);
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
