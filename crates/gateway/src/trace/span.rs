//! A span: before and after what it describes has ended.

use std::borrow::Cow;
use std::time::SystemTime;

use sparkway_protocol::TraceContext;

/// Most attributes of a span.
const ATTRIBUTES: usize = 16;

/// Whose side of what a span describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Something inside of the node.
    Internal,
    /// A request that the node answers.
    Server,
    /// A request that the node makes.
    Client,
    /// Something handed on that was published before.
    Consumer,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text that the code names.
    Word(&'static str),
    /// A text.
    Text(String),
    /// A count.
    Count(u64),
    /// Yes or no.
    Flag(bool),
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// What has ended.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its place in its trace.
    pub context: TraceContext,
    /// What it is a part of.
    pub parent: Option<TraceContext>,
    /// Whether that was in another process.
    pub is_parent_remote: bool,
    /// What it is called.
    pub name: Cow<'static, str>,
    /// Whose side it is.
    pub kind: SpanKind,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// What is known of it; at most 16.
    pub attributes: Vec<(&'static str, Value)>,
    /// What else led to it.
    pub links: Vec<TraceContext>,
    /// Why it failed, if it did.
    pub error: Option<&'static str>,
}

impl Span {
    /// Adds an attribute, unless there are enough.
    pub(crate) fn attribute(&mut self, name: &'static str, value: impl Into<Value>) {
        if self.attributes.len() < ATTRIBUTES {
            self.attributes.push((name, value.into()));
        }
    }
}

/// What is under way and will be recorded.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) context: TraceContext,
    parent: Option<TraceContext>,
    /// The parent is in another process.
    pub(crate) remote: bool,
    name: &'static str,
    kind: SpanKind,
    pub(crate) start: SystemTime,
}

impl Begun {
    /// Begins now, in the trace of its parent or in a new one.
    pub(crate) fn new(name: &'static str, kind: SpanKind, parent: Option<TraceContext>) -> Self {
        Self {
            context: below(parent),
            remote: parent.is_some(),
            parent,
            name,
            kind,
            start: SystemTime::now(),
        }
    }

    /// A part of this one, which begins now.
    pub(crate) fn part(&self, name: &'static str, kind: SpanKind) -> Self {
        let mut part = Self::new(name, kind, Some(self.context));
        part.remote = false;
        part
    }

    /// It ends now.
    pub(crate) fn end(self) -> Span {
        Span {
            context: self.context,
            parent: self.parent,
            is_parent_remote: self.remote,
            name: Cow::Borrowed(self.name),
            kind: self.kind,
            start: self.start,
            end: SystemTime::now().max(self.start),
            attributes: Vec::with_capacity(8),
            links: Vec::new(),
            error: None,
        }
    }
}

/// A new place in a trace. Random ids are not zero but once in 2^64.
fn below(parent: Option<TraceContext>) -> TraceContext {
    loop {
        let trace = parent.map_or_else(rand::random, |parent| parent.trace_id());
        if let Some(context) = TraceContext::new(trace, rand::random(), true) {
            return context;
        }
    }
}
