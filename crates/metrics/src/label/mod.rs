//! Every label, as a closed enum.

use sparkway_protocol::Format;

/// A label, or several that belong together: a closed set of values with an index each.
pub trait Label: Copy {
    /// How many values (or combinations of values) there are.
    const COUNT: usize;

    /// The names of the labels.
    fn names() -> Vec<&'static str>;

    /// All values in index order, one per name.
    fn rows() -> Vec<Vec<&'static str>>;

    /// The place of this value, below [`Label::COUNT`].
    fn index(self) -> usize;
}

impl<A: Label, B: Label> Label for (A, B) {
    const COUNT: usize = A::COUNT * B::COUNT;

    fn names() -> Vec<&'static str> {
        [A::names(), B::names()].concat()
    }

    fn rows() -> Vec<Vec<&'static str>> {
        let pairs = |first: Vec<&'static str>| {
            B::rows()
                .into_iter()
                .map(move |second| [first.clone(), second].concat())
        };
        A::rows().into_iter().flat_map(pairs).collect()
    }

    #[inline]
    fn index(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }
}

/// The labels `dialect` and `encoding`.
impl Label for Format {
    const COUNT: usize = Self::COUNT;

    fn names() -> Vec<&'static str> {
        vec!["dialect", "encoding"]
    }

    fn rows() -> Vec<Vec<&'static str>> {
        let encoding = |format| match format {
            Self::SparkMsgPack => "msgpack",
            Self::Room => "text",
            Self::SparkJson | Self::Topics | Self::Conversation | Self::Chat => "json",
        };
        Self::ALL
            .map(|format| vec![format.dialect(), encoding(format)])
            .into()
    }

    #[inline]
    fn index(self) -> usize {
        self.index()
    }
}

macro_rules! labels {
    ($($(#[$doc:meta])* $label:ident $key:literal {
        $($(#[$value_doc:meta])* $value:ident = $text:literal,)+
    })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $label { $($(#[$value_doc])* $value,)+ }

        impl $label {
            /// All values, in index order.
            pub const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// The value as it stands in a series.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }

        impl Label for $label {
            const COUNT: usize = Self::ALL.len();

            fn names() -> Vec<&'static str> {
                vec![$key]
            }

            fn rows() -> Vec<Vec<&'static str>> {
                vec![$(vec![$text],)+]
            }

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}

mod backend;
mod client;
mod http;
mod inside;

pub use backend::*;
pub use client::*;
pub use http::*;
pub use inside::*;
