//! What clients sent and saw, and whether the gateway kept its word. The judge knows nothing of
//! the gateway but the logs that any client can read.

use std::collections::{BTreeMap, BTreeSet};

/// One step of a session, as its client saw it on the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// `ws:connect_ack`.
    Began,
    /// The client asked to go on behind these ids, one per partition.
    Resuming { last: Vec<u64> },
    /// `ws:resume_ack`, with how many gaps and dropped topics.
    Resumed { gaps: usize, dropped: usize },
    /// `ws:resume_failed`.
    ResumeFailed,
    /// `ws:replay_done`.
    ReplayDone,
    /// `topic:message`.
    Message(Delivery),
    /// `topic:gap`.
    Gap,
    /// `ws:drain`, in milliseconds.
    Drain { reconnect_after: u64 },
    /// The connection ended with this code.
    Closed(Option<u16>),
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) topic: String,
    pub(crate) id: u64,
    /// Who published it, and which of theirs it is.
    pub(crate) key: Key,
}

/// Publisher, and number among theirs. A publisher sends the next one after the answer.
pub(crate) type Key = (u32, u32);

/// What one session followed and saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub(crate) topics: BTreeSet<String>,
    pub(crate) steps: Vec<Step>,
}

/// A publish that was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) topic: String,
    pub(crate) key: Key,
    pub(crate) id: u64,
}

/// Everything that is judged.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) sessions: Vec<Session>,
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// The logs afterwards: ids and keys, oldest first.
    pub(crate) logs: BTreeMap<String, Vec<(u64, Key)>>,
}

impl History {
    /// Everything that is wrong with it; empty when every session saw every message once, in
    /// order.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (topic, log) in &self.logs {
            check_log(topic, log, &mut faults);
        }
        for publish in &self.acknowledged {
            self.check_publish(publish, &mut faults);
        }
        for (at, session) in self.sessions.iter().enumerate() {
            let mut found = Vec::new();
            check_steps(session, &mut found);
            self.check_deliveries(session, &mut found);
            faults.extend(
                found
                    .into_iter()
                    .map(|fault| format!("session {at}: {fault}")),
            );
        }
        faults
    }

    fn check_publish(&self, publish: &Acknowledged, faults: &mut Vec<String>) {
        let stored = self.logs.get(&publish.topic).into_iter().flatten();
        let ids: Vec<u64> = stored
            .filter(|(_, key)| *key == publish.key)
            .map(|(id, _)| *id)
            .collect();
        if ids != [publish.id] {
            faults.push(format!("{publish:?} is stored as {ids:?}"));
        }
    }

    /// Each entry of each followed topic came exactly once, in id order over all topics of the
    /// partition, and nothing else came.
    fn check_deliveries(&self, session: &Session, faults: &mut Vec<String>) {
        let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
        let mut seen: BTreeSet<(&str, u64, Key)> = BTreeSet::new();
        for step in &session.steps {
            let Step::Message(Delivery { topic, id, key }) = step else {
                continue;
            };
            if !session.topics.contains(topic) {
                faults.push(format!("{topic} {id} came and is not followed"));
            }
            if !seen.insert((topic, *id, *key)) {
                faults.push(format!("{topic} {id} came twice"));
                continue;
            }
            let newest = newest.entry(id & 0xf).or_default();
            if *id <= *newest {
                faults.push(format!("{topic} {id} came after {newest}"));
            }
            *newest = (*newest).max(*id);
        }
        for topic in &session.topics {
            for (id, key) in self.logs.get(topic).into_iter().flatten() {
                if !seen.remove(&(topic, *id, *key)) {
                    faults.push(format!("{topic} {id} never came"));
                }
            }
        }
        for (topic, id, key) in seen {
            faults.push(format!("{topic} {id} {key:?} came and is not in the log"));
        }
    }

    /// How many messages came in all.
    pub(crate) fn deliveries(&self) -> usize {
        let steps = self.sessions.iter().flat_map(|session| &session.steps);
        steps
            .filter(|step| matches!(step, Step::Message(_)))
            .count()
    }

    /// How often sessions went on on a new connection.
    pub(crate) fn resumes(&self) -> usize {
        self.sessions.iter().map(Session::resumes).sum()
    }
}

impl Session {
    /// How often it went on on a new connection.
    pub(crate) fn resumes(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| matches!(step, Step::Resumed { .. }))
            .count()
    }
}

fn check_log(topic: &str, log: &[(u64, Key)], faults: &mut Vec<String>) {
    let mut keys = BTreeSet::new();
    let mut last: BTreeMap<u32, u32> = BTreeMap::new();
    for pair in log.windows(2) {
        if pair[0].0 >= pair[1].0 {
            faults.push(format!(
                "{topic}: {} stands before {}",
                pair[0].0, pair[1].0
            ));
        }
    }
    for (id, key) in log {
        if !keys.insert(*key) {
            faults.push(format!("{topic}: {key:?} is stored twice, again as {id}"));
        }
        let last = last.entry(key.0).or_default();
        if key.1 < *last {
            faults.push(format!("{topic}: {key:?} is stored behind number {last}"));
        }
        *last = (*last).max(key.1);
    }
}

/// One session from its begin to its end, resumed each time behind the last message, with no gap.
fn check_steps(session: &Session, faults: &mut Vec<String>) {
    let mut begun = 0;
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    for step in &session.steps {
        match step {
            Step::Began => begun += 1,
            Step::Message(Delivery { id, .. }) => {
                let newest = newest.entry(id & 0xf).or_default();
                *newest = (*newest).max(*id);
            }
            Step::Resuming { last } if !newest.values().all(|id| last.contains(id)) => {
                faults.push(format!("resumed behind {last:?} and had seen {newest:?}"));
            }
            Step::Resumed { gaps, dropped } if gaps + dropped > 0 => {
                faults.push(format!("told of {gaps} gaps and {dropped} dropped topics"));
            }
            Step::ResumeFailed => faults.push("could not resume".to_owned()),
            Step::Gap => faults.push("told of a gap".to_owned()),
            Step::Resuming { .. }
            | Step::Resumed { .. }
            | Step::ReplayDone
            | Step::Drain { .. }
            | Step::Closed(_) => {}
        }
    }
    if begun != 1 {
        faults.push(format!("began {begun} times"));
    }
}

mod tests {
    use super::*;

    fn message(topic: &str, id: u64, key: Key) -> Step {
        Step::Message(Delivery {
            topic: topic.to_owned(),
            id,
            key,
        })
    }

    /// Two topics, three messages, one session that was cut in between.
    fn flawless() -> History {
        let steps = vec![
            Step::Began,
            message("a", 16, (0, 0)),
            Step::Resuming { last: vec![16] },
            Step::Resumed {
                gaps: 0,
                dropped: 0,
            },
            message("b", 32, (1, 0)),
            Step::ReplayDone,
            message("a", 48, (0, 1)),
        ];
        let topics = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let logs = BTreeMap::from([
            ("a".to_owned(), vec![(16, (0, 0)), (48, (0, 1))]),
            ("b".to_owned(), vec![(32, (1, 0))]),
        ]);
        let acknowledged = vec![Acknowledged {
            topic: "a".to_owned(),
            key: (0, 1),
            id: 48,
        }];
        History {
            sessions: vec![Session { topics, steps }],
            acknowledged,
            logs,
        }
    }

    #[test]
    fn the_judge_finds_nothing_in_a_flawless_history() {
        assert_eq!(flawless().faults(), Vec::<String>::new());
    }

    #[test]
    fn the_judge_finds_every_planted_fault() {
        type Plant = (&'static str, fn(&mut History));
        fn steps(history: &mut History) -> &mut Vec<Step> {
            &mut history.sessions[0].steps
        }
        fn log<'a>(history: &'a mut History, topic: &str) -> &'a mut Vec<(u64, Key)> {
            history.logs.get_mut(topic).unwrap()
        }
        let plants: &[Plant] = &[
            ("never came", |h| drop(steps(h).remove(4))),
            ("came twice", |h| steps(h).push(message("b", 32, (1, 0)))),
            ("came after", |h| steps(h).swap(4, 6)),
            ("not in the log", |h| {
                steps(h).push(message("a", 64, (0, 2)));
            }),
            ("is not followed", |h| {
                steps(h).push(message("c", 64, (0, 2)));
            }),
            ("is stored as []", |h| log(h, "a").truncate(1)),
            ("is stored as [64]", |h| log(h, "a")[1] = (64, (0, 1))),
            ("stored twice", |h| log(h, "b").push((64, (1, 0)))),
            ("stands before", |h| log(h, "a").swap(0, 1)),
            ("stored behind", |h| log(h, "a")[0] = (16, (0, 5))),
            ("had seen", |h| {
                steps(h)[2] = Step::Resuming { last: vec![15] }
            }),
            ("1 gaps", |h| {
                steps(h)[3] = Step::Resumed {
                    gaps: 1,
                    dropped: 0,
                }
            }),
            ("told of a gap", |h| steps(h).push(Step::Gap)),
            ("could not resume", |h| steps(h).push(Step::ResumeFailed)),
            ("began 2 times", |h| steps(h).push(Step::Began)),
        ];
        for (fault, plant) in plants {
            let mut history = flawless();
            plant(&mut history);
            let faults = history.faults();
            assert!(
                faults.iter().any(|found| found.contains(fault)),
                "{fault}: {faults:?}"
            );
        }
    }
}
