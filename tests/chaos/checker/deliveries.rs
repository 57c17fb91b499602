//! What a session was owed and what it got: rules C3, C4, C8 and C10.

use std::collections::BTreeMap;

use super::history::{Gap, History, Key, Reason, Session, Step, Topic, What};
use super::index::Index;
use super::logs::of_message;
use super::view::View;
use super::{Rule, Violation};

pub(super) fn check(
    history: &History,
    session: &Session,
    index: &Index,
    view: &View,
    found: &mut Vec<Violation>,
) {
    // To be refused is to be told: nothing is left of the session that could be.
    let refused = |step: &Step| step.what == What::ResumeFailed;
    let is_refused = session.steps.iter().any(refused);
    for (topic, taken) in &view.taken {
        check_taken(history, index, (view, topic, taken, is_refused), found);
    }
    for (topic, spans) in &view.spans {
        let is_owed = |id: u64| {
            let within = |span: &super::view::Span| {
                let is_within = id > span.from && span.until.is_none_or(|until| id <= until);
                is_within && !view.is_undone(span, index)
            };
            spans.iter().any(within)
        };
        let log = index.stored.get(topic).into_iter().flatten();
        for (&id, key) in log.filter(|(id, _)| is_owed(**id)) {
            let came = view
                .taken
                .get(topic)
                .is_some_and(|taken| taken.contains_key(&id));
            if !came && !told(view, topic, id, None) {
                let text = format!("{topic} {id} {key:?} never came");
                found.push(of_message(Rule::Lost, topic, id, text));
            }
        }
        // Acknowledged or seen by others, and gone: whoever followed must have been told.
        for &id in index.known.get(topic).into_iter().flatten() {
            let gone = index.at(topic, id).is_none();
            let came = view
                .taken
                .get(topic)
                .is_some_and(|taken| taken.contains_key(&id));
            let is_later = spans.iter().any(|span| id > span.floor);
            if gone && is_owed(id) && is_later && !came && !told(view, topic, id, None) {
                let text = format!("{topic} {id} is gone, never came and was not told");
                found.push(of_message(Rule::LossNotTold, topic, id, text));
            }
        }
    }
}

fn told(view: &View, topic: &Topic, id: u64, reason: Option<Reason>) -> bool {
    let of_it = |gap: &&Gap| {
        gap.topic == *topic && gap.covers(id) && reason.is_none_or(|reason| gap.reason == reason)
    };
    view.gaps.iter().any(|gap| of_it(&gap))
}

fn check_taken(
    history: &History,
    index: &Index,
    (view, topic, taken, is_refused): (&View, &Topic, &BTreeMap<u64, Key>, bool),
    found: &mut Vec<Violation>,
) {
    let mut by_key: BTreeMap<Key, u64> = BTreeMap::new();
    let is_told = |id: u64| {
        let spans = view.spans.get(topic).into_iter().flatten();
        let mut undone = spans.filter(|span| view.is_undone(span, index));
        let left = is_refused || view.has_left(topic, id) || undone.any(|span| id > span.from);
        // It came while a request was under way that was refused in the end: nobody held it.
        let left = left || !view.is_held(topic, id, index);
        left || told(view, topic, id, Some(Reason::Rewound))
    };
    for (&id, &key) in taken {
        if !index.published.contains(&(topic.clone(), key)) {
            let text = format!("{topic} {id} {key:?} came and was never published");
            found.push(of_message(Rule::NeverPublished, topic, id, text));
        }
        if index.at(topic, id) != Some(key) && !index.is_trimmed(history, topic, id) && !is_told(id)
        {
            let text = format!("{topic} {id} {key:?} came, is not in the log and was not told");
            found.push(of_message(Rule::LossNotTold, topic, id, text));
        }
        let is_gone = |id: u64| index.at(topic, id) != Some(key);
        if let Some(earlier) = by_key.insert(key, id)
            && !told(view, topic, earlier, Some(Reason::Rewound))
            && !(is_gone(earlier) && is_told(earlier))
        {
            let text = format!("{topic} {key:?} came as {earlier} and again as {id}");
            found.push(of_message(Rule::DeliveredTwice, topic, id, text));
        }
    }
}
