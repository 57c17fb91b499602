//! Random lives of a session, with a gateway that answers in any order and fails at will.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sparkway_protocol::{AckId, CloseReason, Code, Refused};

use super::*;
use crate::AuthFailure;

/// One thing that happens; `u16` chooses among its variants.
#[derive(Clone, Copy, Debug)]
enum Op {
    Connect,
    Resume(u16),
    Heartbeat(u16),
    Ack(u16),
    Simple(u16),
    Topics(u16),
    Publish(u16),
    Malformed,
    /// The gateway answers one of the effects it owes an answer to.
    Answer(u16, u16),
    Pass(u16),
    News(u16),
    Disconnect(u16),
    End(u16),
}

fn op() -> impl Strategy<Value = Op> {
    let any = any::<u16>;
    prop_oneof![
        1 => Just(Op::Connect),
        1 => any().prop_map(Op::Resume),
        6 => any().prop_map(Op::Heartbeat),
        5 => any().prop_map(Op::Ack),
        5 => any().prop_map(Op::Simple),
        5 => any().prop_map(Op::Topics),
        5 => any().prop_map(Op::Publish),
        1 => Just(Op::Malformed),
        20 => (any(), any()).prop_map(|(which, how)| Op::Answer(which, how)),
        8 => any().prop_map(Op::Pass),
        2 => any().prop_map(Op::News),
        1 => any().prop_map(Op::Disconnect),
        1 => any().prop_map(Op::End),
    ]
}

/// What is known from outside of the session, from which every promise is judged.
struct World {
    bench: Bench,
    /// Effects that are owed an answer.
    owed: Vec<Effect>,
    sent: BTreeSet<String>,
    answered: BTreeSet<String>,
    /// Whether `connect_ack` or `resume_ack` was sent.
    begun: bool,
    over: bool,
    /// The newest id per partition that the client acknowledged or named, or the store kept.
    named: BTreeMap<u8, MessageId>,
    cursors: Cursors,
    /// The tokens that are valid, as the client has to think of them.
    newest: u32,
    confirmed: u32,
    /// The first control frame that carried the newest token.
    carrier: Option<u32>,
    controls: u32,
}

impl World {
    fn new(burst: u32) -> Self {
        let mut bench = Bench::new();
        bench.place.settings.frames_burst = burst;
        bench.place.settings.publishes_in_flight = 8;
        Self {
            bench,
            owed: Vec::new(),
            sent: BTreeSet::new(),
            answered: BTreeSet::new(),
            begun: false,
            over: false,
            named: BTreeMap::new(),
            cursors: Cursors::default(),
            newest: 0,
            confirmed: 0,
            carrier: None,
            controls: 0,
        }
    }

    fn name(&mut self) -> String {
        let name = format!("f{}", self.sent.len());
        self.sent.insert(name.clone());
        name
    }

    fn happen(&mut self, op: Op) {
        match op {
            Op::Connect => {
                let name = self.name();
                self.command(connect(&name));
            }
            Op::Resume(choice) => {
                let last = self.last(choice);
                let name = self.name();
                self.command(resume(&name, last));
            }
            Op::Heartbeat(choice) => self.heartbeat(choice),
            Op::Ack(choice) => self.ack(choice),
            Op::Simple(choice) => self.simple(choice),
            Op::Topics(choice) => self.topics(choice),
            Op::Publish(choice) => {
                let name = self.name();
                self.command(publish(&name, choice.is_multiple_of(3)));
            }
            Op::Malformed => {
                let name = self.name();
                let refused = Refused::new(Code::Malformed, "no frame").answering(frame(&name));
                self.step(Input::Malformed(refused));
            }
            Op::Answer(which, how) => self.answer(which, how),
            Op::Pass(choice) => self.pass(u64::from(choice)),
            Op::News(choice) => self.news(choice),
            Op::Disconnect(choice) => {
                let all = CloseReason::ALL;
                let reason = all[usize::from(choice) % all.len()];
                self.step(Input::Disconnect(reason));
            }
            Op::End(choice) => {
                let client_code = [None, Some(1000), Some(1001)][usize::from(choice) % 3];
                self.step(Input::Ended { client_code });
                self.over = true;
            }
        }
    }

    /// Ids up to two hours ahead, of six partitions (the layout has four).
    fn id(choice: u16) -> MessageId {
        let partition = Partition::new((choice % 6).to_le_bytes()[0]).unwrap();
        MessageId::at(UNIX_MS + u64::from(choice) * 110, partition)
    }

    fn note(&mut self, id: MessageId) {
        let known = self.named.entry(id.partition().get()).or_default();
        *known = id.max(*known);
    }

    fn last(&mut self, choice: u16) -> LastSeen {
        let id = Self::id(choice);
        let last = match choice % 5 {
            0 => LastSeen::Unknown,
            1 => LastSeen::Invalid,
            2 | 3 => LastSeen::One(id),
            _ => LastSeen::Many(vec![id, Self::id(choice / 2)]),
        };
        match &last {
            LastSeen::Unknown | LastSeen::Invalid => {}
            LastSeen::One(id) => self.note(*id),
            LastSeen::Many(ids) => ids.iter().for_each(|&id| self.note(id)),
        }
        last
    }

    fn heartbeat(&mut self, choice: u16) {
        let generation = (self.newest + u32::from(choice % 4)).saturating_sub(2);
        let heartbeat_token = self.bench.token(generation);
        let name = self.name();
        let valid = (self.confirmed..=self.newest).contains(&generation);
        let was_begun = self.begun && !self.over;
        let effects = self.command(Command::Heartbeat {
            id: frame(&name),
            heartbeat_token,
        });
        if !was_begun {
            return;
        }
        for effect in effects {
            match effect {
                Effect::Send(Event::HeartbeatAck {
                    control,
                    updated_token,
                    updated_interval_ms,
                    ..
                }) => {
                    assert!(valid, "generation {generation} was taken");
                    if generation == self.newest {
                        (self.confirmed, self.carrier) = (self.newest, None);
                    }
                    let changed = updated_token.is_some() || updated_interval_ms.is_some();
                    assert_eq!(control.is_some(), changed, "an ack is wanted for news only");
                    self.controls += u32::from(changed);
                    if let Some(token) = updated_token {
                        if self.confirmed == self.newest {
                            self.newest += 1;
                        }
                        assert_eq!(token, self.bench.token(self.newest));
                        self.carrier.get_or_insert(self.controls);
                    } else {
                        assert_eq!(self.confirmed, self.newest, "offered until confirmed");
                    }
                }
                Effect::Send(Event::Refused(refused)) => match refused.code {
                    Code::BadHeartbeatToken => assert!(!valid, "{generation} was refused"),
                    Code::RateLimited => {}
                    other => panic!("{other:?}"),
                },
                Effect::Count(_)
                | Effect::RememberGenerations { .. }
                | Effect::Detach { .. }
                | Effect::Close(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn ack(&mut self, choice: u16) {
        let name = self.name();
        let id = Self::id(choice);
        let number = u32::from(choice) % (self.controls + 2);
        let ack = match choice % 3 {
            0 => AckId::Control(format!("c{number}").into()),
            1 => AckId::Message(id),
            _ => AckId::Unknown,
        };
        if matches!(ack, AckId::Message(_)) {
            self.note(id);
        }
        let is_control = matches!(ack, AckId::Control(_));
        let effects = self.command(Command::Ack {
            id: frame(&name),
            ack,
        });
        let is_taken = effects.len() == 1 && word(&effects[0]) == "acked"
            || effects
                .iter()
                .any(|effect| word(effect).starts_with("remember"));
        if is_control && is_taken && self.carrier.is_some_and(|carrier| number >= carrier) {
            (self.confirmed, self.carrier) = (self.newest, None);
        }
    }

    fn simple(&mut self, choice: u16) {
        let name = self.name();
        let id = frame(&name);
        self.command(match choice % 5 {
            0 => Command::Ping { id },
            1 => Command::Close {
                id,
                resume: choice.is_multiple_of(2),
            },
            2 => refresh(&name),
            3 => Command::Presence {
                id,
                topic: topic("t"),
            },
            _ => Command::Call {
                id,
                method: "m".into(),
                params: Payload::json("1".into()),
            },
        });
    }

    fn topics(&mut self, choice: u16) {
        let name = self.name();
        let topic = ["a", "b", "no name"][usize::from(choice / 4) % 3];
        self.command(if choice.is_multiple_of(3) {
            unsubscribe(&name, &[topic])
        } else {
            subscribe(&name, &[topic])
        });
    }

    fn news(&mut self, choice: u16) {
        let epoch = Epoch(u64::from(choice % 7));
        self.step(match choice % 5 {
            0 => Input::Superseded { epoch },
            1 => Input::Reowned { epoch },
            2 => Input::Drain {
                reconnect_after_ms: 1,
            },
            3 => Input::Interval {
                heartbeat_interval_ms: u64::from(choice),
            },
            _ => Input::ReplayDone { replayed: 0 },
        });
    }

    fn pass(&mut self, ms: u64) {
        self.bench.pass(ms);
        self.step(Input::Tick);
        let deadline = self.bench.deadline();
        if self.bench.session.is_closed() {
            assert_eq!(deadline, u64::MAX);
        } else {
            assert!(deadline >= self.bench.place.now.mono_ms, "a tick is owed");
            assert_ne!(deadline, u64::MAX);
        }
    }

    fn answer(&mut self, which: u16, how: u16) {
        if self.owed.is_empty() {
            return;
        }
        let at = usize::from(which) % self.owed.len();
        let effect = self.owed.swap_remove(at);
        let failure = match how % 12 {
            0 => Some(StoreFailure::Unavailable),
            1 => Some(StoreFailure::NotReplicated),
            2 if how > 60_000 => Some(StoreFailure::Fenced),
            3 if how > 60_000 => Some(StoreFailure::Gone),
            _ => None,
        };
        let input = match &effect {
            Effect::Claim { .. } if how.is_multiple_of(7) => Input::Claimed(Ok(None)),
            Effect::Claim { .. } if failure.is_none() => self.claimed_with(how),
            Effect::Attach(_) if failure.is_none() => restored(vec![Self::id(how)]),
            Effect::Authenticate { .. } if how.is_multiple_of(9) => {
                Input::Authenticated(Err(AuthFailure::Invalid))
            }
            other => answer_to(other, failure).unwrap(),
        };
        self.step(input);
    }

    fn claimed_with(&mut self, how: u16) -> Input {
        let kept = Self::id(how / 3);
        self.note(kept);
        let mut record = stored();
        record.cursors = Cursors::from_ids(&[kept]);
        (record.generation, record.confirmed) =
            (4 + u32::from(how % 3), 4 + u32::from(how % 3) - 1);
        record.expires_at_ms = how.is_multiple_of(2).then_some(UNIX_MS + u64::from(how));
        (self.newest, self.confirmed) = (record.generation, record.confirmed);
        Input::Claimed(Ok(Some(Box::new(claimed(record)))))
    }

    fn command(&mut self, command: Command) -> Vec<Effect> {
        self.step(Input::Command(command))
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.bench.step(input);
        assert!(
            !self.over || effects.is_empty(),
            "after the end: {effects:?}"
        );
        let superseded = effects
            .iter()
            .any(|effect| word(effect) == "close:Superseded");
        for effect in &effects {
            assert!(!self.over, "after the close: {effects:?}");
            self.judge(effect, superseded);
        }
        self.judge_state();
        effects
    }

    fn judge(&mut self, effect: &Effect, superseded: bool) {
        if let Some(id) = answers(effect) {
            let id = id.as_str().to_owned();
            assert!(self.sent.contains(&id), "{id} was never sent");
            assert!(self.answered.insert(id), "answered twice: {effect:?}");
        }
        match effect {
            Effect::Send(Event::Connected { .. }) => {
                (self.newest, self.confirmed, self.begun) = (1, 1, true);
            }
            Effect::Send(Event::Resumed { .. }) => {
                (self.controls, self.carrier, self.begun) = (1, Some(1), true);
            }
            Effect::Send(Event::Refused(refused)) => {
                let limited = refused.code == Code::RateLimited;
                assert_eq!(limited, refused.retry_after_ms.is_some_and(|ms| ms > 0));
            }
            Effect::Send(event) => {
                // A warning may come while a resume is under way.
                let is_failure =
                    matches!(event, Event::ResumeFailed { .. } | Event::Expiring { .. });
                assert!(self.begun || is_failure, "before the session: {event:?}");
            }
            Effect::RememberGenerations {
                generation,
                confirmed,
            } => {
                assert!(!superseded && generation - confirmed <= 1);
            }
            Effect::Detach { cursors, .. } => {
                assert!(!superseded);
                for &id in cursors.ids() {
                    assert!(id <= self.named[&id.partition().get()], "beyond the client");
                }
            }
            Effect::Append(_) | Effect::Announce(_) | Effect::End { .. } => assert!(!superseded),
            Effect::Close(_) => self.over = true,
            Effect::Authenticate { .. }
            | Effect::Reauthenticate { .. }
            | Effect::Open(_)
            | Effect::Claim { .. }
            | Effect::Attach(_)
            | Effect::Replay
            | Effect::Subscribe(_)
            | Effect::Unsubscribe { .. }
            | Effect::Query { .. }
            | Effect::Count(_) => {}
        }
        if answer_to(effect, None).is_some() {
            self.owed.push(effect.clone());
        }
    }

    fn judge_state(&mut self) {
        let Some(live) = self.bench.session.live() else {
            return;
        };
        assert!(live.generation - live.confirmed <= 1, "two tokens at most");
        for &id in self.cursors.ids() {
            assert!(live.cursors.of(id.partition()) >= id, "a cursor went back");
        }
        self.cursors = live.cursors.clone();
        let waiting = live.queue.waiting();
        let operations = self
            .owed
            .iter()
            .filter(|effect| !matches!(effect, Effect::Attach(_)))
            .count();
        assert_eq!(live.in_flight, operations + waiting);
    }

    /// The gateway answers everything; then nothing may be left.
    fn settle(&mut self) {
        while !self.owed.is_empty() {
            self.answer(0, 4);
        }
        if self.over || self.bench.session.is_closed() {
            return;
        }
        assert_eq!(self.answered, self.sent, "every frame is answered");
        if let Some(live) = self.bench.session.live() {
            assert_eq!(live.in_flight, 0);
            assert_eq!(live.generation, self.newest);
            assert_eq!(live.confirmed, self.confirmed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_promise_holds(
        resumes in any::<bool>(),
        burst in prop_oneof![Just(3_u32), Just(1000)],
        ops in prop::collection::vec(op(), 0..80),
    ) {
        let mut world = World::new(burst);
        world.happen(if resumes { Op::Resume(2) } else { Op::Connect });
        for op in ops {
            world.happen(op);
        }
        world.settle();
    }
}
