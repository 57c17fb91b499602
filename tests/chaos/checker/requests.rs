//! Every request is answered once, with an answer of its kind: rule C13.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::history::{Answer, Conn, Request, Session, What};
use super::{Rule, Violation};

/// A connection that answers a ping sent so long after a request owes the request's answer.
const OWED_AFTER_US: u64 = 20_000_000;

struct Asked<'a> {
    at_us: u64,
    request: &'a Request,
    answers: u32,
}

pub(super) fn check(session: &Session, found: &mut Vec<Violation>) {
    let mut all: BTreeMap<(Conn, Arc<str>), Asked<'_>> = BTreeMap::new();
    // When the last ping that was answered had been sent.
    let mut alive: BTreeMap<Conn, u64> = BTreeMap::new();
    for step in &session.steps {
        match &step.what {
            What::Asked { id, request } => {
                let asked = Asked {
                    at_us: step.at_us,
                    request,
                    answers: 0,
                };
                all.insert((step.conn, id.clone()), asked);
            }
            What::Answered { id, answer } => {
                let Some(asked) = all.get_mut(&(step.conn, id.clone())) else {
                    found.push(wrong(format!("{answer:?} to {id}, which was not asked")));
                    continue;
                };
                asked.answers += 1;
                if asked.answers > 1 {
                    found.push(wrong(format!("{id} was answered again: {answer:?}")));
                }
                if !fits(asked.request, answer) {
                    found.push(wrong(format!("{:?} got {answer:?}", asked.request)));
                }
                if *asked.request == Request::Ping {
                    alive.insert(step.conn, asked.at_us);
                }
            }
            _ => {}
        }
    }
    for ((conn, id), asked) in &all {
        let alive = alive.get(conn).copied().unwrap_or_default();
        if asked.answers == 0 && asked.at_us + OWED_AFTER_US < alive {
            let request = asked.request;
            found.push(wrong(format!(
                "{id} on connection {conn} was never answered: {request:?}"
            )));
        }
    }
}

const fn fits(request: &Request, answer: &Answer) -> bool {
    matches!(
        (request, answer),
        (_, Answer::Refused { .. })
            | (Request::Ping | Request::Unsubscribe(_), Answer::Done)
            | (Request::Subscribe(_), Answer::Subscribed(_))
            | (Request::Publish { .. }, Answer::Stored { .. })
    )
}

const fn wrong(text: String) -> Violation {
    Violation {
        rule: Rule::Answers,
        session: None,
        topic: None,
        id: None,
        text,
    }
}
