//! A clean history passes; every kind of violation that is planted into it is found.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{
    Answer, Conn, Gap, History, Key, Reason, Request, Session, Step, Stored, Topic, What,
};
use super::{Rule, check, explain};

fn key(number: u32) -> Key {
    let publisher = 1;
    Key { publisher, number }
}

fn topics(names: &[&str]) -> Vec<Topic> {
    names.iter().map(|name| Topic::from(*name)).collect()
}

/// Writes a session, one millisecond per step.
#[derive(Default)]
struct Pen {
    steps: Vec<Step>,
    at_us: u64,
}

impl Pen {
    fn note(&mut self, conn: Conn, what: What) -> &mut Self {
        self.at_us += 1000;
        let at_us = self.at_us;
        self.steps.push(Step { at_us, conn, what });
        self
    }

    fn pass(&mut self, seconds: u64) -> &mut Self {
        self.at_us += seconds * 1_000_000;
        self
    }

    fn ask(&mut self, conn: Conn, id: &str, request: Request) -> &mut Self {
        let id = id.into();
        self.note(conn, What::Asked { id, request })
    }

    fn answer(&mut self, conn: Conn, id: &str, answer: Answer) -> &mut Self {
        let id = id.into();
        self.note(conn, What::Answered { id, answer })
    }

    fn publish(&mut self, conn: Conn, topic: &str, number: u32) -> &mut Self {
        let (topic, key) = (topic.into(), key(number));
        let request = Request::Publish { topic, key };
        self.ask(conn, &format!("p{number}"), request)
    }

    fn stored(&mut self, conn: Conn, number: u32, id: u64) -> &mut Self {
        self.answer(conn, &format!("p{number}"), Answer::Stored { id })
    }

    fn subscribe(&mut self, conn: Conn, frame: &str, names: &[&str]) -> &mut Self {
        let positions = topics(names).into_iter().map(|topic| (topic, 0)).collect();
        self.ask(conn, frame, Request::Subscribe(topics(names)))
            .answer(conn, frame, Answer::Subscribed(positions))
    }

    fn message(&mut self, conn: Conn, topic: &str, id: u64, number: u32) -> &mut Self {
        let (topic, key) = (topic.into(), key(number));
        self.note(conn, What::Message { topic, id, key })
    }

    fn resume(&mut self, conn: Conn, last: &[u64], gaps: Vec<Gap>) -> &mut Self {
        let last = last.to_vec();
        let dropped = Vec::new();
        self.note(conn, What::ResumeAsked { last })
            .note(conn, What::Resumed { gaps, dropped })
    }

    fn closed(&mut self, conn: Conn) -> &mut Self {
        self.note(conn, What::Closed { code: None })
    }

    fn session(&mut self) -> Session {
        Session {
            steps: std::mem::take(&mut self.steps),
            is_whole: true,
            names_one: false,
            is_replicated: false,
        }
    }
}

fn gap(topic: &str, reason: Reason, after: u64, before: u64) -> Gap {
    Gap {
        topic: topic.into(),
        reason,
        after,
        before,
    }
}

fn stored(all: &[(u64, u32)]) -> Vec<Stored> {
    let entry = |&(id, number): &(u64, u32)| Stored {
        id,
        key: key(number),
    };
    all.iter().map(entry).collect()
}

/// One session publishes 1 and 3 into `a` and 2 into `b`; another follows both, and is cut once.
fn clean() -> History {
    let publisher = Pen::default()
        .note(1, What::Connected)
        .publish(1, "a", 1)
        .stored(1, 1, 16)
        .publish(1, "b", 2)
        .stored(1, 2, 32)
        .publish(1, "a", 3)
        .closed(1)
        .resume(2, &[], Vec::new())
        .publish(2, "a", 3)
        .stored(2, 3, 48)
        .session();
    let follower = Pen::default()
        .note(1, What::Connected)
        .subscribe(1, "s", &["a", "b"])
        .message(1, "a", 16, 1)
        .closed(1)
        .resume(2, &[16], Vec::new())
        .message(2, "b", 32, 2)
        .message(2, "a", 48, 3)
        .session();
    History {
        sessions: vec![publisher, follower],
        logs: BTreeMap::from([
            ("a".into(), stored(&[(16, 1), (48, 3)])),
            ("b".into(), stored(&[(32, 2)])),
        ]),
        losses: Vec::new(),
        outages: Vec::new(),
        bounded: BTreeSet::new(),
        resume_window_us: 120_000_000,
    }
}

fn found(history: &History) -> Vec<Rule> {
    let found = check(history);
    for violation in &found {
        assert!(!explain(history, violation, 30).is_empty() || violation.session.is_none());
    }
    let rules: BTreeSet<Rule> = found.iter().map(|violation| violation.rule).collect();
    rules.into_iter().collect()
}

/// The clean history with a change is found to break exactly this rule.
#[track_caller]
fn breaks(rule: Rule, change: impl FnOnce(&mut History)) {
    let mut history = clean();
    change(&mut history);
    assert_eq!(found(&history), [rule], "{:#?}", check(&history));
}

/// The clean history with a change is still clean.
#[track_caller]
fn keeps(change: impl FnOnce(&mut History)) {
    let mut history = clean();
    change(&mut history);
    assert_eq!(check(&history), []);
}

fn follower(history: &mut History) -> &mut Vec<Step> {
    &mut history.sessions[1].steps
}

fn log<'a>(history: &'a mut History, topic: &str) -> &'a mut Vec<Stored> {
    history.logs.get_mut(topic).unwrap()
}

/// Adds steps to the follower, later than all others.
fn later(history: &mut History, write: impl FnOnce(&mut Pen)) {
    let mut pen = Pen {
        at_us: 60_000_000,
        ..Pen::default()
    };
    write(&mut pen);
    follower(history).append(&mut pen.steps);
}

/// The store may have lost something in the middle of a minute that the follower's subscription
/// is older than everything else it saw.
fn lose_later(history: &mut History) {
    let behind = follower(history).iter_mut().skip(3);
    behind.for_each(|step| step.at_us += 59_000_000);
    history.losses = vec![30_000_000];
}

#[test]
fn a_clean_history_passes() {
    assert_eq!(check(&clean()), []);
}

#[test]
fn a_message_that_never_came_is_found() {
    breaks(Rule::Lost, |history| {
        let is_it = |step: &Step| matches!(step.what, What::Message { id: 32, .. });
        follower(history).retain(|step| !is_it(step));
    });
    // Also the very last one of a log.
    breaks(Rule::Lost, |history| drop(follower(history).pop()));
}

#[test]
fn what_a_session_that_ended_early_missed_behind_its_end_is_not_owed() {
    keeps(|history| {
        follower(history).pop();
        history.sessions[1].is_whole = false;
    });
    breaks(Rule::Lost, |history| {
        let is_it = |step: &Step| matches!(step.what, What::Message { id: 32, .. });
        follower(history).retain(|step| !is_it(step));
        history.sessions[1].is_whole = false;
    });
}

#[test]
fn a_message_that_came_twice_is_found_also_over_a_resume() {
    breaks(Rule::DeliveredTwice, |history| {
        later(history, |pen| {
            pen.message(2, "a", 48, 3);
        });
    });
    breaks(Rule::DeliveredTwice, |history| {
        later(history, |pen| {
            pen.closed(2).resume(3, &[48], Vec::new());
            pen.message(3, "a", 48, 3);
        });
    });
}

#[test]
fn wrong_order_is_found_per_topic_and_over_the_topics_of_a_partition() {
    breaks(Rule::DeliveryOrder, |history| {
        let steps = follower(history);
        let last = steps.len() - 1;
        steps.swap(last, last - 1);
    });
    // Ids of another partition have an order of their own.
    keeps(|history| {
        history.logs.insert("c".into(), stored(&[(17, 4)]));
        history.sessions[0]
            .steps
            .append(&mut Pen::default().publish(2, "c", 4).stored(2, 4, 17).steps);
        later(history, |pen| {
            pen.subscribe(2, "s2", &["c"]).message(2, "c", 17, 4);
        });
    });
}

#[test]
fn a_log_out_of_order_or_with_something_twice_is_found() {
    breaks(Rule::LogOrder, |history| log(history, "a").swap(0, 1));
    breaks(Rule::StoredTwice, |history| {
        log(history, "b").extend(stored(&[(64, 2)]));
        later(history, |pen| {
            pen.note(2, What::Gap(gap("b", Reason::Rewound, 0, 48)));
            pen.message(2, "b", 64, 2);
        });
        history.losses.push(0);
    });
}

#[test]
fn what_was_acknowledged_and_is_gone_is_found() {
    breaks(Rule::AcknowledgedGone, |history| {
        log(history, "b").clear();
        let is_it = |step: &Step| matches!(step.what, What::Message { id: 32, .. });
        follower(history).retain(|step| !is_it(step));
        history.sessions.remove(1);
    });
}

#[test]
fn an_id_that_is_not_the_stored_one_is_found() {
    breaks(Rule::WrongId, |history| {
        for step in &mut history.sessions[0].steps {
            if let What::Answered {
                answer: Answer::Stored { id },
                ..
            } = &mut step.what
                && *id == 32
            {
                *id = 80;
            }
        }
        history.sessions.remove(1);
    });
}

#[test]
fn publishes_stored_in_another_order_than_acknowledged_are_found() {
    breaks(Rule::PublishOrder, |history| {
        let pen = &mut Pen::default();
        pen.publish(2, "a", 5).stored(2, 5, 32);
        history.sessions[0].steps.append(&mut pen.steps);
        *log(history, "a") = stored(&[(16, 1), (32, 5), (48, 3)]);
        history.sessions.remove(1);
    });
}

#[test]
fn a_message_of_a_topic_that_is_not_followed_is_found() {
    breaks(Rule::WrongTopic, |history| {
        history.logs.insert("c".into(), stored(&[(64, 4)]));
        let pen = &mut Pen::default();
        pen.publish(2, "c", 4).stored(2, 4, 64);
        history.sessions[0].steps.append(&mut pen.steps);
        later(history, |pen| {
            pen.message(2, "c", 64, 4);
        });
    });
}

fn leave(pen: &mut Pen, topic: &str) {
    pen.ask(2, "u", Request::Unsubscribe(topics(&[topic])))
        .answer(2, "u", Answer::Done);
}

#[test]
fn a_message_after_the_answer_to_an_unsubscribe_is_found() {
    let publish = |history: &mut History| {
        log(history, "a").extend(stored(&[(64, 4)]));
        let pen = &mut Pen::default();
        pen.publish(2, "a", 4).stored(2, 4, 64);
        history.sessions[0].steps.append(&mut pen.steps);
    };
    breaks(Rule::WrongTopic, |history| {
        publish(history);
        later(history, |pen| {
            leave(pen, "a");
            pen.message(2, "a", 64, 4);
        });
    });
    // Not owed after it either, nor while it is under way.
    keeps(|history| {
        publish(history);
        later(history, |pen| leave(pen, "a"));
    });
    keeps(|history| {
        publish(history);
        later(history, |pen| {
            pen.ask(2, "u", Request::Unsubscribe(topics(&["a"])));
            pen.message(2, "a", 64, 4);
            pen.answer(2, "u", Answer::Done);
        });
    });
    // What stood before something that came is owed nevertheless.
    breaks(Rule::Lost, |history| {
        let is_it = |step: &Step| matches!(step.what, What::Message { id: 32, .. });
        follower(history).retain(|step| !is_it(step));
        later(history, |pen| leave(pen, "b"));
    });
}

#[test]
fn a_message_nobody_published_is_found() {
    breaks(Rule::NeverPublished, |history| {
        log(history, "b").extend(stored(&[(64, 9)]));
        later(history, |pen| {
            pen.message(2, "b", 64, 9);
        });
    });
}

#[test]
fn a_refused_resume_is_found_unless_the_window_passed_or_the_store_lost_it() {
    let refused = |history: &mut History, seconds| {
        later(history, |pen| {
            pen.note(2, What::Connected);
            pen.closed(2).pass(seconds);
            pen.note(3, What::ResumeAsked { last: vec![48] });
            pen.note(3, What::ResumeFailed);
        });
    };
    breaks(Rule::ResumeRefused, |history| refused(history, 60));
    keeps(|history| refused(history, 130));
    keeps(|history| {
        refused(history, 60);
        history.losses.push(1);
    });
}

#[test]
fn a_loss_is_excused_only_where_it_was_told() {
    let lose = |history: &mut History| {
        log(history, "b").clear();
        lose_later(history);
    };
    breaks(Rule::LossNotTold, |history| {
        lose(history);
        // Told to somebody else, of another topic of the partition.
        let told = What::Gap(gap("a", Reason::Rewound, 16, 40));
        history.sessions[0].steps.push(Step {
            at_us: 70_000_000,
            conn: 2,
            what: told,
        });
    });
    keeps(|history| {
        lose(history);
        later(history, |pen| {
            pen.note(2, What::Gap(gap("b", Reason::Rewound, 16, 40)));
        });
    });
    // A session that never saw it has to be told as well.
    let never_saw = |history: &mut History| {
        lose(history);
        let is_it = |step: &Step| matches!(step.what, What::Message { id: 32, .. });
        follower(history).retain(|step| !is_it(step));
        let told = What::Gap(gap("a", Reason::Rewound, 16, 40));
        history.sessions[0].steps.push(Step {
            at_us: 70_000_000,
            conn: 2,
            what: told,
        });
    };
    breaks(Rule::LossNotTold, never_saw);
    // Unless the subscription was as new as what was lost: nobody knows of it any more.
    keeps(|history| {
        never_saw(history);
        history.losses = vec![1];
    });
    // And unless it is refused, or had left the topic: nothing is left to be told.
    keeps(|history| {
        lose(history);
        let told = What::Gap(gap("a", Reason::Rewound, 16, 40));
        history.sessions[0].steps.push(Step {
            at_us: 70_000_000,
            conn: 2,
            what: told,
        });
        later(history, |pen| leave(pen, "b"));
    });
}

/// The follower asks for `c`, gets a message of it, and an answer; the store then loses `c`.
fn lose_while_asked(history: &mut History, answer: Answer) {
    later(history, |pen| {
        let request = Request::Subscribe(topics(&["c"]));
        pen.ask(2, "late", request)
            .publish(2, "c", 9)
            .message(2, "c", 64, 9)
            .stored(2, 9, 64)
            .answer(2, "late", answer)
            .pass(20);
    });
    history.logs.insert("c".into(), Vec::new());
    history.losses = vec![60_010_000];
    let told = What::Gap(gap("a", Reason::Rewound, 48, 80));
    history.sessions[0].steps.push(Step {
        at_us: 70_000_000,
        conn: 2,
        what: told,
    });
}

#[test]
fn what_came_before_a_subscription_was_refused_need_not_be_told_and_otherwise_must() {
    let code = "unavailable".into();
    keeps(|history| lose_while_asked(history, Answer::Refused { code }));
    let granted = Answer::Subscribed(vec![("c".into(), 32)]);
    breaks(Rule::LossNotTold, |history| {
        lose_while_asked(history, granted);
    });
}

#[test]
fn what_came_while_its_topic_was_left_need_not_be_told_to_a_later_subscription() {
    // Lost once the topic was left; it is followed again, and then the store loses something else.
    let lose_while_left = |history: &mut History, until_again: u64| {
        later(history, |pen| {
            pen.ask(2, "u", Request::Unsubscribe(topics(&["a"])))
                .publish(2, "a", 9)
                .message(2, "a", 64, 9)
                .answer(2, "u", Answer::Done)
                .stored(2, 9, 64)
                .pass(until_again)
                .ask(2, "again", Request::Subscribe(topics(&["a"])))
                .answer(2, "again", Answer::Subscribed(vec![("a".into(), 96)]));
        });
        history.losses = vec![70_000_000, 90_000_000];
        let told = What::Gap(gap("b", Reason::Rewound, 48, 80));
        history.sessions[0].steps.push(Step {
            at_us: 95_000_000,
            conn: 2,
            what: told,
        });
    };
    keeps(|history| lose_while_left(history, 20));
    // Where it is followed again before the loss, it has to be told.
    breaks(Rule::LossNotTold, |history| lose_while_left(history, 1));
}

#[test]
fn the_loss_of_what_replicas_had_confirmed_has_no_excuse() {
    let lose = |history: &mut History| {
        log(history, "b").clear();
        history.losses.push(1);
        later(history, |pen| {
            pen.note(2, What::Gap(gap("b", Reason::Rewound, 16, 40)));
        });
    };
    keeps(lose);
    breaks(Rule::AcknowledgedGone, |history| {
        lose(history);
        history.sessions[0].is_replicated = true;
    });
}

#[test]
fn a_gap_that_is_none_is_found() {
    breaks(Rule::FalseGap, |history| {
        later(history, |pen| {
            pen.note(2, What::Gap(gap("a", Reason::Rewound, 48, 80)));
        });
    });
    breaks(Rule::FalseGap, |history| {
        later(history, |pen| {
            pen.note(2, What::Gap(gap("a", Reason::Trimmed, 0, 80)));
        });
    });
    for (after, before) in [(0, 80), (16, 48)] {
        breaks(Rule::FalseGap, |history| {
            history.bounded.insert("a".into());
            later(history, |pen| {
                pen.note(2, What::Gap(gap("a", Reason::Trimmed, after, before)));
            });
        });
    }
}

#[test]
fn a_gap_may_hold_what_was_published_and_never_answered() {
    let told = |history: &mut History, again: bool| {
        history.bounded.insert("a".into());
        later(history, |pen| {
            let code = "not_replicated".into();
            pen.publish(2, "a", 7)
                .answer(2, "p7", Answer::Refused { code });
            if again {
                pen.publish(2, "a", 7).stored(2, 7, 96);
            }
            pen.note(2, What::Gap(gap("a", Reason::Trimmed, 16, 48)));
        });
    };
    keeps(|history| told(history, false));
    // What was answered with an id in the end has that one.
    let gap_that_is_none = |history: &History| found(history).contains(&Rule::FalseGap);
    let mut history = clean();
    told(&mut history, true);
    assert!(gap_that_is_none(&history));
    // Not where the store may have lost the first try.
    history.losses = vec![1];
    assert!(!gap_that_is_none(&history));
}

#[test]
fn a_trimmed_log_is_excused_only_where_it_was_told() {
    let trim = |history: &mut History| {
        history.bounded.insert("a".into());
        log(history, "a").remove(0);
        let is_it = |step: &Step| matches!(step.what, What::Message { id: 16, .. });
        follower(history).retain(|step| !is_it(step));
    };
    let tell = |history: &mut History| {
        for step in follower(history) {
            if let What::Resumed { gaps, .. } = &mut step.what {
                gaps.push(gap("a", Reason::Trimmed, 0, 48));
            }
        }
    };
    keeps(|history| {
        trim(history);
        tell(history);
    });
    breaks(Rule::LossNotTold, trim);
}

#[test]
fn recovered_across_a_hole_is_found() {
    // The store lost 48, which the session had seen; the resume said nothing of it.
    breaks(Rule::LossNotTold, |history| {
        log(history, "a").pop();
        lose_later(history);
        let told = What::Gap(gap("b", Reason::Rewound, 32, 96));
        history.sessions[0].steps.push(Step {
            at_us: 70_000_000,
            conn: 2,
            what: told,
        });
        later(history, |pen| {
            pen.closed(2).resume(3, &[48], Vec::new());
        });
    });
}

#[test]
fn a_request_without_an_answer_of_its_own_is_found() {
    let ping = |pen: &mut Pen, id: &str| {
        pen.ask(2, id, Request::Ping).answer(2, id, Answer::Done);
    };
    breaks(Rule::Answers, |history| {
        later(history, |pen| {
            pen.ask(2, "late", Request::Ping).pass(30);
            ping(pen, "ping");
        });
    });
    // A connection that says nothing at all owes nothing.
    keeps(|history| {
        later(history, |pen| {
            pen.ask(2, "late", Request::Ping).pass(30).closed(2);
        });
    });
    breaks(Rule::Answers, |history| {
        later(history, |pen| {
            pen.answer(2, "who", Answer::Done);
        });
    });
    breaks(Rule::Answers, |history| {
        later(history, |pen| {
            ping(pen, "ping");
            pen.answer(2, "ping", Answer::Done);
        });
    });
    breaks(Rule::Answers, |history| {
        later(history, |pen| {
            pen.ask(2, "ping", Request::Ping);
            pen.answer(2, "ping", Answer::Stored { id: 48 });
        });
    });
}

#[test]
fn two_owners_are_found() {
    // Both connections are there in the end.
    breaks(Rule::TwoOwners, |history| {
        later(history, |pen| {
            pen.resume(3, &[48], Vec::new());
        });
    });
    // The old connection goes on receiving.
    breaks(Rule::TwoOwners, |history| {
        log(history, "a").extend(stored(&[(64, 4)]));
        let pen = &mut Pen::default();
        pen.publish(2, "a", 4).stored(2, 4, 64);
        history.sessions[0].steps.append(&mut pen.steps);
        later(history, |pen| {
            pen.note(2, What::Left).resume(3, &[48], Vec::new());
            pen.pass(20).message(3, "a", 64, 4);
            pen.message(2, "a", 64, 4).closed(2);
        });
    });
    // The old connection's publish is stored.
    breaks(Rule::TwoOwners, |history| {
        log(history, "b").extend(stored(&[(64, 4)]));
        later(history, |pen| {
            pen.note(2, What::Left).resume(3, &[48], Vec::new());
            pen.publish(2, "b", 4).closed(2).message(3, "b", 64, 4);
        });
    });
    // One that was under way when it lost the session is another matter.
    keeps(|history| {
        log(history, "b").extend(stored(&[(64, 4)]));
        later(history, |pen| {
            pen.publish(2, "b", 4).note(2, What::Left);
            pen.resume(3, &[48], Vec::new());
            pen.closed(2).message(3, "b", 64, 4);
        });
    });
}

/// The store lost the claim, and who had it was gone before it could be written again: the former
/// connection learns of the next one.
#[test]
fn who_is_served_on_after_a_claim_that_is_lost_is_no_second_owner() {
    let change = |history: &mut History, ended_after_s, may_be_lost| {
        let mut claimed_us = 0;
        later(history, |pen| {
            pen.note(2, What::Left).resume(3, &[48], Vec::new());
            claimed_us = pen.at_us;
            pen.note(3, What::Left).pass(ended_after_s).closed(3);
            pen.pass(14).ask(2, "ping", Request::Ping);
            pen.answer(2, "ping", Answer::Done);
            pen.resume(4, &[48], Vec::new()).closed(2);
        });
        if may_be_lost {
            history.outages.push((claimed_us - 1, claimed_us + 1));
        }
    };
    keeps(|history| change(history, 1, true));
    breaks(Rule::TwoOwners, |history| change(history, 1, false));
    breaks(Rule::TwoOwners, |history| change(history, 13, true));
}

#[test]
fn what_came_on_a_connection_that_lost_a_race_does_not_count() {
    keeps(|history| {
        log(history, "a").extend(stored(&[(64, 4)]));
        let pen = &mut Pen::default();
        pen.publish(2, "a", 4).stored(2, 4, 64);
        history.sessions[0].steps.append(&mut pen.steps);
        later(history, |pen| {
            let last = vec![48];
            let resumed = What::Resumed {
                gaps: Vec::new(),
                dropped: Vec::new(),
            };
            pen.closed(2);
            pen.note(3, What::ResumeAsked { last: last.clone() });
            pen.note(4, What::ResumeAsked { last });
            pen.note(3, resumed.clone()).message(3, "a", 64, 4);
            pen.note(4, resumed).message(4, "a", 64, 4);
            pen.closed(3).note(3, What::Disowned);
        });
    });
}

#[test]
fn what_a_client_that_names_one_id_has_of_other_partitions_may_come_again() {
    let change = |history: &mut History, names_one| {
        history.logs.insert("c".into(), stored(&[(65, 4)]));
        let pen = &mut Pen::default();
        pen.publish(2, "c", 4).stored(2, 4, 65);
        history.sessions[0].steps.append(&mut pen.steps);
        later(history, |pen| {
            pen.subscribe(2, "s2", &["c"]).message(2, "c", 65, 4);
            pen.closed(2).resume(3, &[65], Vec::new());
            pen.message(3, "a", 48, 3);
        });
        history.sessions[1].names_one = names_one;
    };
    keeps(|history| change(history, true));
    let mut history = clean();
    change(&mut history, false);
    assert_eq!(found(&history), [Rule::DeliveredTwice, Rule::Driver]);
}

#[test]
fn a_connection_that_is_served_on_after_it_lost_a_race_is_found() {
    breaks(Rule::TwoOwners, |history| {
        later(history, |pen| {
            let last = vec![48];
            let resumed = What::Resumed {
                gaps: Vec::new(),
                dropped: Vec::new(),
            };
            pen.closed(2);
            pen.note(3, What::ResumeAsked { last: last.clone() });
            pen.note(4, What::ResumeAsked { last });
            pen.note(3, resumed.clone()).note(4, resumed);
            pen.pass(14).note(3, What::Disowned);
            pen.ask(3, "ping", Request::Ping);
            pen.answer(3, "ping", Answer::Done).closed(3);
        });
    });
}

#[test]
fn a_driver_that_names_another_position_is_found() {
    breaks(Rule::Driver, |history| {
        later(history, |pen| {
            pen.closed(2).resume(3, &[16], Vec::new());
        });
    });
}
