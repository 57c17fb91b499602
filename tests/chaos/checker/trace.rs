//! The steps that explain a violation.

use super::history::{History, Request, Session, Step, Topic, What};
use super::{Rule, Violation};

/// How many steps of the session's life around the message are shown, on each side.
const AROUND: usize = 24;

pub(super) fn of(history: &History, violation: &Violation, lines: usize) -> Vec<String> {
    let mut shown = Vec::new();
    if let (Some(topic), Some(id)) = (&violation.topic, violation.id) {
        shown.extend(story_of(history, topic, id, lines / 2));
    }
    let session = violation.session.and_then(|at| history.sessions.get(at));
    if let Some(session) = session {
        shown.push("-- its session:".to_owned());
        shown.extend(life_of(session, violation));
    }
    shown.truncate(lines);
    let mut holes: Vec<(u64, u64)> = Vec::new();
    for gap in &super::index::Index::new(history).rewound {
        if !holes.contains(&(gap.after, gap.before)) {
            holes.push((gap.after, gap.before));
        }
    }
    shown.push(format!(
        "-- the store may have lost (at {:?}): {holes:?}",
        history.losses
    ));
    shown
}

fn line(session: usize, step: &Step) -> String {
    let (seconds, millis) = (step.at_us / 1_000_000, step.at_us / 1000 % 1000);
    format!(
        "{seconds:>4}.{millis:03} session {session} connection {}: {:?}",
        step.conn, step.what
    )
}

/// Who published it, what they were answered, and who received it.
fn story_of(history: &History, topic: &Topic, id: u64, lines: usize) -> Vec<String> {
    let stored = history.logs.get(topic).into_iter().flatten();
    let stored = stored.into_iter().find(|stored| stored.id == id);
    let delivered = history.sessions.iter().flat_map(|session| &session.steps);
    let key = stored.map(|stored| stored.key).or_else(|| {
        delivered.into_iter().find_map(|step| match &step.what {
            What::Message { id: came, key, .. } if *came == id => Some(*key),
            _ => None,
        })
    });
    let mut story = vec![format!("-- {topic} {id}: stored as {stored:?}")];
    let mut receivers = 0;
    for (at, session) in history.sessions.iter().enumerate() {
        let mut asked = Vec::new();
        for step in &session.steps {
            let concerns = match &step.what {
                What::Asked {
                    id: frame,
                    request: Request::Publish { key: sent, .. },
                } if Some(*sent) == key => {
                    asked.push((step.conn, frame.clone()));
                    true
                }
                What::Answered { id: frame, .. } => asked.contains(&(step.conn, frame.clone())),
                What::Message { id: came, .. } if *came == id => {
                    receivers += 1;
                    receivers <= 3
                }
                _ => false,
            };
            if concerns {
                story.push(line(at, step));
            }
        }
    }
    story.truncate(lines);
    story.push(format!("-- received {receivers} times"));
    story
}

/// The life of the session around the message.
fn life_of(session: &Session, violation: &Violation) -> Vec<String> {
    let at = violation.session.unwrap_or_default();
    let is_life = |step: &&Step| match &step.what {
        What::Message { topic, .. } => Some(topic) == violation.topic.as_ref(),
        What::Asked { request, .. } => {
            matches!(request, Request::Subscribe(_) | Request::Unsubscribe(_))
        }
        What::Answered { .. } => false,
        _ => true,
    };
    let steps: Vec<&Step> = session.steps.iter().filter(is_life).collect();
    // Where the message stands, or would stand.
    let middle = violation.id.and_then(|wanted| {
        let at_or_behind =
            |step: &&Step| matches!(&step.what, What::Message { id, .. } if *id >= wanted);
        let is_it = |step: &&Step| matches!(&step.what, What::Message { id, .. } if *id == wanted);
        match violation.rule {
            // The second time is the one that should not be.
            Rule::DeliveredTwice => steps.iter().rposition(is_it),
            _ => steps.iter().position(at_or_behind),
        }
    });
    let middle = middle.unwrap_or(steps.len());
    let (from, until) = (middle.saturating_sub(AROUND), middle + AROUND);
    let shown = steps.iter().take(until).skip(from);
    shown.map(|step| line(at, step)).collect()
}
