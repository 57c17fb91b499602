//! The visitors of this node, and what they are told of who is online.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sparkway_dialect::chat::Told;
use sparkway_gateway::application::Visitor;
use sparkway_protocol::{SessionId, UserId};

/// Frames that wait for a visitor who has not been welcomed yet.
const WAITING: usize = 1024;

/// A visitor, from before he is told who is online until he is gone.
#[derive(Debug)]
struct Place {
    visitor: Visitor,
    username: Box<str>,
    /// What came while his first frames were being made.
    waiting: Option<Vec<String>>,
    /// The name of his next call that marks messages as read: the same until one is answered.
    reading: u64,
}

/// The visitors of this node.
#[derive(Debug, Default)]
pub(crate) struct Lobby {
    places: Mutex<HashMap<SessionId, Place>>,
}

impl Lobby {
    fn places(&self) -> MutexGuard<'_, HashMap<SessionId, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing that changes is missed.
    pub(crate) fn enter(&self, visitor: &Visitor, username: &str) {
        let place = Place {
            visitor: visitor.clone(),
            username: username.into(),
            waiting: Some(Vec::new()),
            reading: name(),
        };
        self.places().insert(visitor.session(), place);
    }

    /// Tells a visitor his first frames, then what came meanwhile, then everything.
    pub(crate) fn open(&self, visitor: &Visitor, first: &[Told<'_>]) {
        let mut places = self.places();
        for told in first {
            visitor.tell(told.to_frame());
        }
        if let Some(place) = places.get_mut(&visitor.session()) {
            for text in place.waiting.take().into_iter().flatten() {
                visitor.tell(framed(&text));
            }
        }
    }

    pub(crate) fn leave(&self, visitor: &Visitor) {
        self.places().remove(&visitor.session());
    }

    /// How a visitor is called.
    pub(crate) fn username(&self, visitor: &Visitor) -> Option<Box<str>> {
        let places = self.places();
        let place = places.get(&visitor.session())?;
        Some(place.username.clone())
    }

    /// The name of a visitor's call that marks messages as read: the one that failed before and he
    /// asks again, or a new one.
    pub(crate) fn reading(&self, visitor: &Visitor) -> u64 {
        let places = self.places();
        let place = places.get(&visitor.session());
        place.map_or_else(name, |place| place.reading)
    }

    /// That call is answered.
    pub(crate) fn has_read(&self, visitor: &Visitor) {
        if let Some(place) = self.places().get_mut(&visitor.session()) {
            place.reading = name();
        }
    }

    /// All visitors of this node but those of one user.
    pub(crate) fn others(&self, but: Option<&UserId>) -> Vec<Visitor> {
        let places = self.places();
        let others = places.values().map(|place| &place.visitor);
        others
            .filter(|visitor| Some(visitor.user()) != but)
            .cloned()
            .collect()
    }

    /// The visitors of this node who are one of these users.
    pub(crate) fn visitors_of(&self, users: &HashSet<UserId>) -> Vec<Visitor> {
        let places = self.places();
        let theirs = places.values().map(|place| &place.visitor);
        theirs
            .filter(|visitor| users.contains(visitor.user()))
            .cloned()
            .collect()
    }

    /// Tells visitors a frame; those who are not welcomed yet will be told.
    pub(crate) fn tell(&self, whom: &[Visitor], told: &Told<'_>) {
        let text = told.to_text();
        let frame = framed(&text);
        let mut places = self.places();
        for visitor in whom {
            let Some(place) = places.get_mut(&visitor.session()) else {
                continue;
            };
            match &mut place.waiting {
                None => visitor.tell(frame.clone()),
                Some(waiting) if waiting.len() < WAITING => waiting.push(text.clone()),
                Some(_) => {}
            }
        }
    }
}

/// Of a call; 0 is none.
fn name() -> u64 {
    rand::random::<u64>().max(1)
}

fn framed(text: &str) -> sparkway_gateway::application::Framed {
    sparkway_gateway::application::Framed::text(text.as_bytes())
}
