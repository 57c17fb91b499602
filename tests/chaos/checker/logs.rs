//! The logs, and what was acknowledged: rules C1, C4, C5, C6 and C7.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Answer, History, Key, Request, Session, Stored, Topic, What, partition_of};
use super::index::Index;
use super::{Rule, Violation};

/// The first id that does not fit.
const TOO_LARGE: u64 = 1 << 53;

pub(super) fn check(history: &History, index: &Index, found: &mut Vec<Violation>) {
    for (topic, log) in &history.logs {
        check_log(topic, log, index, found);
    }
    for (at, session) in history.sessions.iter().enumerate() {
        let mut own = Vec::new();
        check_acknowledged(history, session, index, &mut own);
        check_order(session, index, &mut own);
        for violation in &mut own {
            violation.session = Some(at);
        }
        found.append(&mut own);
    }
}

pub(super) fn of_message(rule: Rule, topic: &Topic, id: u64, text: String) -> Violation {
    Violation {
        rule,
        session: None,
        topic: Some(topic.clone()),
        id: Some(id),
        text,
    }
}

fn check_log(topic: &Topic, log: &[Stored], index: &Index, found: &mut Vec<Violation>) {
    let mut keys = BTreeSet::new();
    let mut last = 0;
    let partition = log.first().map(|first| partition_of(first.id));
    for Stored { id, key } in log {
        if *id <= last || Some(partition_of(*id)) != partition || *id >= TOO_LARGE {
            let text = format!("{topic}: {id} stands behind {last}");
            found.push(of_message(Rule::LogOrder, topic, *id, text));
        }
        last = *id;
        if !keys.insert(*key) {
            let text = format!("{topic}: {key:?} is stored twice, again as {id}");
            found.push(of_message(Rule::StoredTwice, topic, *id, text));
        }
        if !index.published.contains(&(topic.clone(), *key)) {
            let text = format!("{topic}: {id} {key:?} is stored and was never published");
            found.push(of_message(Rule::NeverPublished, topic, *id, text));
        }
    }
}

/// What was acknowledged is there under its id; or the store lost it, which somebody was told, and
/// no replica had been asked to confirm it.
fn check_acknowledged(
    history: &History,
    session: &Session,
    index: &Index,
    found: &mut Vec<Violation>,
) {
    for (topic, key, id) in acknowledged(session) {
        if index.at(&topic, id) == Some(key) {
            continue;
        }
        let is_excused = index.is_in_a_hole(id) && !session.is_replicated;
        if index.is_trimmed(history, &topic, id) || is_excused {
            continue;
        }
        let log = index.stored.get(&topic).into_iter().flatten();
        let others: Vec<u64> = log.filter(|(_, k)| **k == key).map(|(id, _)| *id).collect();
        let (rule, text) = match others.as_slice() {
            [] => (
                Rule::AcknowledgedGone,
                format!("{topic} {id} {key:?} was acknowledged and is gone"),
            ),
            _ => (
                Rule::WrongId,
                format!("{topic} {key:?} was acknowledged as {id} and is stored as {others:?}"),
            ),
        };
        found.push(of_message(rule, &topic, id, text));
    }
}

/// All answers to publishes: topic, what, id.
fn acknowledged(session: &Session) -> Vec<(Topic, Key, u64)> {
    let mut asked = BTreeMap::new();
    let mut answers = Vec::new();
    for step in &session.steps {
        match &step.what {
            What::Asked {
                id,
                request: Request::Publish { topic, key },
            } => {
                asked.insert((step.conn, id.clone()), (topic.clone(), *key));
            }
            What::Answered {
                id,
                answer: Answer::Stored { id: stored },
            } => {
                if let Some((topic, key)) = asked.get(&(step.conn, id.clone())) {
                    answers.push((topic.clone(), *key, *stored));
                }
            }
            _ => {}
        }
    }
    answers
}

/// A publish that was sent after the answer to another one stands behind it.
fn check_order(session: &Session, index: &Index, found: &mut Vec<Violation>) {
    let mut asked = BTreeMap::new();
    // The newest id that was acknowledged in a topic, and the one that was so when a key was first
    // sent.
    let mut newest: BTreeMap<Topic, u64> = BTreeMap::new();
    let mut floors: BTreeMap<Key, u64> = BTreeMap::new();
    for step in &session.steps {
        match &step.what {
            What::Asked {
                id,
                request: Request::Publish { topic, key },
            } => {
                let floor = newest.get(topic).copied().unwrap_or_default();
                floors.entry(*key).or_insert(floor);
                asked.insert((step.conn, id.clone()), (topic.clone(), *key));
            }
            What::Answered {
                id,
                answer: Answer::Stored { id: stored },
            } => {
                let Some((topic, key)) = asked.get(&(step.conn, id.clone())) else {
                    continue;
                };
                let floor = floors.get(key).copied().unwrap_or_default();
                if *stored <= floor && index.at(topic, *stored).is_some() {
                    let text = format!(
                        "{topic} {key:?} is stored as {stored}, before {floor} which was acknowledged first"
                    );
                    found.push(of_message(Rule::PublishOrder, topic, *stored, text));
                }
                let newest = newest.entry(topic.clone()).or_default();
                *newest = (*newest).max(*stored);
            }
            _ => {}
        }
    }
}
