//! The effective configuration, for people.

use std::fmt::Write as _;

use crate::Origin;
use crate::draft::Draft;
use crate::layers::Layers;
use crate::path::Path;
use crate::table::keys;

/// Short forms of other keys: they are read, but shown under the other name.
pub(crate) const SHORT_FORMS: [&str; 2] = ["routes", "routes.*"];

/// One key with the value that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub key: String,
    /// The value as it stands in a file; secrets are hidden.
    pub value: String,
    /// Where it was written.
    pub origin: Origin,
}

pub(crate) fn values(draft: &Draft, layers: &Layers) -> Vec<Shown> {
    let mut values = Vec::new();
    for key in keys().filter(|key| !SHORT_FORMS.contains(&key.name)) {
        let names = if key.name.contains('*') {
            draft.names(key.name)
        } else {
            vec![String::new()]
        };
        for name in names {
            let path = Path::filled(key.name, &name);
            values.push(Shown {
                key: path.to_string(),
                value: (key.get)(draft, &name).literal(),
                origin: layers.origin(&path),
            });
        }
    }
    values
}

pub(crate) fn listing(values: &[Shown]) -> String {
    let mut out = String::new();
    for Shown { key, value, origin } in values {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{key} = {value}  # {origin}");
    }
    out
}
