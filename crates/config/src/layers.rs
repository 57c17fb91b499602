//! Values of all sources, the later ones over the earlier ones.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::path::Path;
use crate::raw::Raw;

/// Where a value was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the default.
    #[default]
    Default,
    /// In the configuration file.
    File {
        /// Which one.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// In a file that an environment variable names.
    VariableFile {
        /// The variable.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// On the command line.
    Option,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File { path, line } => write!(out, "{}:{line}", path.display()),
            Self::Variable(name) => out.write_str(name),
            Self::VariableFile { name, path } => write!(out, "{name}: {}", path.display()),
            Self::Option => out.write_str("--set"),
        }
    }
}

/// The value that counts for each key, and where it was written.
#[derive(Debug, Default)]
pub(crate) struct Layers(BTreeMap<Path, (Raw, Origin)>);

impl Layers {
    /// Puts a value over those of earlier sources.
    pub(crate) fn put(&mut self, mut path: Path, raw: Raw, origin: Origin) {
        let parts: Vec<&str> = path.0.iter().map(String::as_str).collect();
        match parts.as_slice() {
            // All routes in one value replace those of earlier sources.
            ["routes"] => self.0.retain(|other, _| !other.starts_with(&path)),
            // The short form of a route is its dialect.
            ["routes", _] => path.0.push("dialect".to_owned()),
            _ => {}
        }
        self.0.insert(path, (raw, origin));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Path, &Raw, &Origin)> {
        self.0
            .iter()
            .map(|(path, (raw, origin))| (path, raw, origin))
    }

    /// Where the value of a key was written.
    pub(crate) fn origin(&self, path: &Path) -> Origin {
        let all_routes = Path(vec!["routes".to_owned()]);
        let found = self.0.get(path).or_else(|| {
            // A route may come from the one value that holds all of them.
            path.starts_with(&all_routes)
                .then(|| self.0.get(&all_routes))?
        });
        found.map(|(_, origin)| origin.clone()).unwrap_or_default()
    }
}
