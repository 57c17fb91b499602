//! Gaps that were told are gaps, and sessions inside their window are not refused: rules C9 and
//! C11.

use super::history::{Gap, History, Reason, Session, Step, What};
use super::index::Index;
use super::logs::of_message;
use super::{Rule, Violation};

pub(super) fn check(
    history: &History,
    session: &Session,
    index: &Index,
    found: &mut Vec<Violation>,
) {
    let mut alive_us = 0;
    for step in &session.steps {
        match &step.what {
            What::Gap(gap) => check_gap(history, index, step.at_us, gap, found),
            What::Resumed { gaps, dropped } => {
                for gap in gaps {
                    check_gap(history, index, step.at_us, gap, found);
                }
                if !dropped.is_empty() {
                    let text = format!("topics were dropped: {dropped:?}");
                    found.push(refused(text));
                }
            }
            What::ResumeFailed => {
                let in_window = step.at_us < alive_us + history.resume_window_us;
                if in_window && !index.may_have_lost_by(step.at_us) {
                    found.push(refused("refused inside its window".to_owned()));
                }
            }
            _ => {}
        }
        if is_life(step) {
            alive_us = step.at_us;
        }
    }
}

/// Whether the server said something of the session.
const fn is_life(step: &Step) -> bool {
    matches!(
        step.what,
        What::Connected | What::Resumed { .. } | What::Message { .. } | What::Answered { .. }
    )
}

const fn refused(text: String) -> Violation {
    Violation {
        rule: Rule::ResumeRefused,
        session: None,
        topic: None,
        id: None,
        text,
    }
}

fn check_gap(history: &History, index: &Index, at_us: u64, gap: &Gap, found: &mut Vec<Violation>) {
    let topic = &gap.topic;
    let wrong = match gap.reason {
        Reason::Rewound if !index.may_have_lost_by(at_us) => Some("the store lost nothing"),
        Reason::Rewound => None,
        Reason::Trimmed | Reason::Expired if !history.bounded.contains(topic) => {
            Some("the log keeps everything")
        }
        Reason::Trimmed | Reason::Expired => {
            let log = index.stored.get(topic).into_iter().flatten();
            let known = index.known.get(topic).into_iter().flatten();
            if log.into_iter().any(|(id, _)| gap.covers(*id)) {
                Some("something in it is still there")
            } else if !known.into_iter().any(|id| gap.covers(*id))
                && !index.may_have_held_more(topic, at_us)
            {
                Some("nothing was ever in it")
            } else {
                None
            }
        }
    };
    if let Some(wrong) = wrong {
        let text = format!("{gap:?} was told, and {wrong}");
        found.push(of_message(Rule::FalseGap, topic, gap.before, text));
    }
}
