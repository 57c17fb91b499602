//! What a client does: its script, connections, subscriptions, publishes.

use std::sync::Arc;

use chaos::checker::history::{Conn, Key, Request, Topic, What};
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::{Client, Leaving, Phase, Publish, Stale, WELCOME_MAX};
use crate::line::Line;
use crate::plan::Move;

impl Client {
    /// Does what is due.
    pub(super) async fn act(&mut self, phase: Phase) {
        let now = Instant::now();
        self.drop_stale(now);
        if self
            .greeted
            .is_some_and(|greeted| now >= greeted + WELCOME_MAX)
        {
            self.leave(Leaving::Reset);
        }
        if phase == Phase::Run {
            while let Some((_, next)) = self
                .script
                .pop_front_if(|(at, _)| *at <= self.field.cluster.weather.now_ms())
            {
                self.carry_out(next).await;
            }
        }
        if phase >= Phase::Mark && !self.has_marked && self.is_up() {
            self.has_marked = true;
            for topic in self.published.clone() {
                self.publish(&topic);
            }
        }
        if phase >= Phase::Cut && !self.has_cut && self.is_up() {
            self.has_cut = true;
            self.leave(Leaving::Reset);
        }
        if self.current.is_none() && self.again_at <= now {
            self.dial();
        }
        if self.is_up() {
            self.follow(now);
            self.send_again(now);
            self.haunt();
        }
    }

    async fn carry_out(&mut self, what: Move) {
        let topic = |at: usize| self.field.topics.get(at).cloned();
        match what {
            Move::Follow(at) => {
                if let Some(topic) = topic(at)
                    && !self.leaving.contains(&topic)
                {
                    self.wanted.insert(topic);
                }
            }
            Move::Leave(at) => {
                if let Some(topic) = topic(at)
                    && self.held.contains(&topic)
                    && self.wanted.remove(&topic)
                {
                    self.leaving.insert(topic);
                }
            }
            Move::Publish(at, count) => {
                if let Some(topic) = topic(at) {
                    self.published.insert(topic.clone());
                    for _ in 0..count {
                        self.publish(&topic);
                    }
                }
            }
            Move::Cut => self.leave(Leaving::Reset),
            Move::Freeze => self.leave(Leaving::Freeze),
            Move::Haunt => self.leave(Leaving::Stay),
            Move::Stall(ms) => sleep(Duration::from_millis(ms)).await,
        }
    }

    /// Gives the connection up and goes on elsewhere.
    pub(super) fn leave(&mut self, how: Leaving) {
        let Some(number) = self.current.take() else {
            return;
        };
        let was_up = self.greeted.take().is_none();
        self.note(number, What::Left);
        self.again_at = self.soon(100);
        match how {
            Leaving::Stay if was_up => self.stale.push(Stale {
                number,
                until: None,
                haunted: false,
            }),
            Leaving::Freeze => {
                if let Some(line) = self.line(number) {
                    line.frozen = true;
                }
                let until = Some(self.soon(800));
                self.stale.push(Stale {
                    number,
                    until,
                    haunted: true,
                });
            }
            Leaving::Reset | Leaving::Stay => self.hang_up(number),
        }
    }

    pub(super) fn hang_up(&mut self, number: Conn) {
        self.lines.retain(|line| line.number != number);
        self.note(number, What::Closed { code: None });
    }

    fn drop_stale(&mut self, now: Instant) {
        let over: Vec<Conn> = self
            .stale
            .iter()
            .filter(|stale| stale.until.is_some_and(|until| until <= now))
            .map(|stale| stale.number)
            .collect();
        for number in over {
            self.stale.retain(|stale| stale.number != number);
            self.hang_up(number);
        }
    }

    fn dial(&mut self) {
        let cluster = Arc::clone(&self.field.cluster);
        let nodes = cluster.weather.nodes();
        let (at, worker) = (self.dice.index(nodes), self.dice.index(8));
        let Some(stream) = cluster.connect(at, worker) else {
            self.again_at = self.soon(60);
            return;
        };
        self.next_conn += 1;
        let number = self.next_conn;
        let mut line = Line::new(number, stream);
        line.send(&self.greeting(number));
        self.lines.push(line);
        self.current = Some(number);
        self.greeted = Some(Instant::now());
        self.asked.clear();
    }

    fn greeting(&mut self, conn: Conn) -> String {
        let Some((session, token)) = self.session.clone() else {
            return r#"{"type":"ws:connect","data":{}}"#.to_owned();
        };
        let mut last: Vec<u64> = self.last.values().copied().collect();
        if self.names_one {
            last = last.into_iter().max().into_iter().collect();
        }
        let named: Vec<String> = last.iter().map(|id| format!("\"{id}\"")).collect();
        let named = if named.is_empty() {
            "\"0\"".to_owned()
        } else {
            format!("[{}]", named.join(","))
        };
        self.note(conn, What::ResumeAsked { last });
        format!(
            r#"{{"type":"ws:resume","data":{{"session_id":"{session}","heartbeat_token":"{token}","last_message_id":{named}}}}}"#
        )
    }

    fn name_frame(&mut self, kind: char) -> Arc<str> {
        self.next_frame += 1;
        format!("{kind}{}", self.next_frame).into()
    }

    /// Sends a request on a connection, and writes down that it did.
    fn ask(&mut self, conn: Conn, id: &Arc<str>, request: Request, text: &str) {
        let noted = What::Asked {
            id: Arc::clone(id),
            request: request.clone(),
        };
        self.note(conn, noted);
        if self.current == Some(conn) {
            self.asked.insert(Arc::clone(id), request);
        }
        if let Some(line) = self.line(conn) {
            line.send(text);
        }
    }

    fn compose(&mut self, topic: &Topic) -> Publish {
        self.next_number += 1;
        Publish {
            frame: self.name_frame('p'),
            topic: topic.clone(),
            key: Key {
                publisher: self.number,
                number: self.next_number,
            },
            again_at: None,
        }
    }

    fn publish(&mut self, topic: &Topic) {
        let publish = self.compose(topic);
        if self.is_up()
            && let Some(conn) = self.current
        {
            self.send(conn, &publish);
        }
        self.outstanding.push_back(publish);
    }

    fn send(&mut self, conn: Conn, publish: &Publish) {
        let Publish {
            frame, topic, key, ..
        } = publish;
        let Key { publisher, number } = key;
        let text = format!(
            r#"{{"type":"topic:publish","id":"{frame}","topic":"{topic}","data":[{publisher},{number},"{}"]}}"#,
            self.filling
        );
        let request = Request::Publish {
            topic: topic.clone(),
            key: *key,
        };
        self.ask(conn, frame, request, &text);
    }

    /// Sends everything again that has no answer: on a new connection nothing else is known.
    pub(super) fn resend(&mut self) {
        let Some(conn) = self.current else { return };
        for publish in &mut self.outstanding {
            publish.again_at = None;
        }
        for publish in self.outstanding.clone() {
            self.send(conn, &publish);
        }
    }

    fn send_again(&mut self, now: Instant) {
        let Some(conn) = self.current else { return };
        let mut due = Vec::new();
        for publish in &mut self.outstanding {
            if publish.again_at.is_some_and(|at| at <= now) {
                publish.again_at = None;
                due.push(publish.clone());
            }
        }
        for publish in due {
            self.send(conn, &publish);
        }
    }

    /// Brings what is followed in line with what is wanted.
    fn follow(&mut self, now: Instant) {
        let Some(conn) = self.current else { return };
        if self.follow_at > now {
            return;
        }
        let is_asked = |wish: &Topic, asked: &Request| match asked {
            Request::Subscribe(topics) | Request::Unsubscribe(topics) => topics.contains(wish),
            Request::Publish { .. } | Request::Ping => false,
        };
        let not_asked = |wish: &&Topic| !self.asked.values().any(|asked| is_asked(wish, asked));
        let join: Vec<Topic> = self
            .wanted
            .difference(&self.held)
            .filter(not_asked)
            .cloned()
            .collect();
        let leave: Vec<Topic> = self.leaving.iter().filter(not_asked).cloned().collect();
        for (topics, verb) in [(join, "subscribe"), (leave, "unsubscribe")] {
            if topics.is_empty() {
                continue;
            }
            let id = self.name_frame('s');
            let names: Vec<String> = topics.iter().map(|topic| format!("\"{topic}\"")).collect();
            let text = format!(
                r#"{{"type":"topic:{verb}","id":"{id}","data":{{"topics":[{}]}}}}"#,
                names.join(",")
            );
            let request = if verb == "subscribe" {
                Request::Subscribe(topics)
            } else {
                Request::Unsubscribe(topics)
            };
            self.ask(conn, &id, request, &text);
        }
    }

    /// Publishes once on each connection that has lost the session: it must not be stored.
    fn haunt(&mut self) {
        let Some(topic) = self.published.first().cloned() else {
            return;
        };
        let mut haunting = Vec::new();
        for stale in self.stale.iter_mut().filter(|stale| !stale.haunted) {
            stale.haunted = true;
            haunting.push(stale.number);
        }
        for conn in haunting {
            let publish = self.compose(&topic);
            self.send(conn, &publish);
        }
    }
}
