//! One value of a client's frame, not yet interpreted: the same questions for JSON and
//! `MessagePack`, so that a dialect is written once.

mod field;
mod json;
mod msgpack;

use std::borrow::Cow;

use sparkway_protocol::Payload;

pub(crate) use field::{
    at_most, boolean, integer, invalid, message_id, required, text, text_at_most,
};
pub(crate) use json::{Json, string as json_string};
pub(crate) use msgpack::MsgPack;

/// A value without parts, as far as commands need to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    /// A whole number from 0 to 2^64 - 1.
    Unsigned(u64),
    Text(Cow<'a, str>),
    /// Anything else: containers, other numbers, bytes, text that is not Unicode.
    Other,
}

/// The named fields of a map, and what is wrong with it if something is. Fields that could be
/// read are there in both cases.
#[derive(Debug)]
pub(crate) struct Fields<V, const N: usize> {
    pub(crate) slots: [Option<V>; N],
    pub(crate) problem: Option<Cow<'static, str>>,
}

/// A value inside a frame. Reading is shallow: what nobody asks for is skipped without recursion.
pub(crate) trait Value<'a>: Copy {
    /// The value itself.
    fn scalar(self) -> Scalar<'a>;

    /// The first `most` items of an array and one more if it is longer; `None` for anything else.
    fn items(self, most: usize) -> Option<Vec<Self>>;

    /// The fields called `names`, in that order; others are skipped, repeated ones are a problem.
    fn fields<const N: usize>(self, names: &[&'static str; N]) -> Fields<Self, N>;

    /// A checked copy in an allocation of its own, or the rule that the value breaks.
    fn payload(self) -> Result<Payload, &'static str>;
}
