//! All sources into one set of settings.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use crate::draft::Draft;
use crate::layers::Layers;
use crate::path::{ENV_FILE, ENV_PREFIX, ENV_SEPARATOR, Path};
use crate::raw::Raw;
use crate::table::keys;
use crate::{ConfigError, ConfigErrors, Origin, Settings, Shown, file, show, suggest, validate};

/// The variable that names the configuration file.
const FILE_VARIABLE: &str = "SPARKWAY_CONFIG";
/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where values come from.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file of `-c`; it must exist.
    pub file: Option<PathBuf>,
    /// Files that are looked for when neither `-c` nor `SPARKWAY_CONFIG` names one; the first that
    /// exists counts.
    pub search: Vec<PathBuf>,
    /// Names and values of environment variables, also foreign ones.
    pub environment: Vec<(String, String)>,
    /// `KEY=VALUE` of `--set`, in order.
    pub options: Vec<String>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Variables and options hold secrets.
        write!(out, "Sources({:?}, {:?})", self.file, self.search)
    }
}

impl Sources {
    /// The sources of a process: its environment, and the usual places for the file.
    #[must_use]
    pub fn new(
        file: Option<PathBuf>,
        environment: impl IntoIterator<Item = (String, String)>,
        options: Vec<String>,
    ) -> Self {
        Self {
            file,
            search: vec![
                PathBuf::from("sparkway.toml"),
                PathBuf::from("/etc/sparkway/sparkway.toml"),
            ],
            environment: environment.into_iter().collect(),
            options,
        }
    }
}

/// Checked settings, and where they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// What is allowed but deserves a look.
    pub warnings: Vec<String>,
    /// Every key with its value and origin; secrets are hidden.
    pub values: Vec<Shown>,
}

impl Loaded {
    /// The effective configuration as a file, with the origin of each value as a comment.
    #[must_use]
    pub fn show(&self) -> String {
        show::listing(&self.values)
    }
}

/// Reads, merges and checks all sources.
///
/// # Errors
/// Everything that is wrong, at once; the caller prints it and exits, or keeps what it has.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let mut loading = Loading::default();
    let file = loading.take_file(sources);
    loading.take_environment(&sources.environment);
    loading.take_options(&sources.options);
    let draft = loading.apply();
    let finished = validate::finish(&draft, &loading.layers, &mut loading.errors);
    match finished {
        Some((settings, warnings)) if loading.errors.is_empty() => Ok(Loaded {
            values: show::values(&draft, &loading.layers),
            settings,
            file,
            warnings,
        }),
        Some(_) | None => Err(ConfigErrors(loading.errors)),
    }
}

#[derive(Default)]
struct Loading {
    layers: Layers,
    errors: Vec<ConfigError>,
}

impl Loading {
    fn refuse(&mut self, key: &dyn Display, origin: Origin, problem: String) {
        self.errors.push(ConfigError {
            key: key.to_string(),
            value: None,
            origin,
            problem,
        });
    }

    fn take_file(&mut self, sources: &Sources) -> Option<PathBuf> {
        let from_environment = || {
            let (_, path) = sources
                .environment
                .iter()
                .find(|(name, value)| name == FILE_VARIABLE && !value.is_empty())?;
            Some(PathBuf::from(path))
        };
        let found = || sources.search.iter().find(|path| path.exists()).cloned();
        let path = sources
            .file
            .clone()
            .or_else(from_environment)
            .or_else(found)?;
        match read_file(&path) {
            Ok(text) => {
                let (entries, errors) = file::read(&text, &path);
                self.errors.extend(errors);
                for entry in entries {
                    self.layers.put(entry.path, entry.raw, entry.origin);
                }
            }
            Err(problem) => self.refuse(&path.display(), Origin::Default, problem),
        }
        Some(path)
    }

    fn take_environment(&mut self, environment: &[(String, String)]) {
        let suffix = format!("{ENV_SEPARATOR}{ENV_FILE}");
        let mut own: Vec<_> = environment
            .iter()
            .filter_map(|(name, value)| Some((name, name.strip_prefix(ENV_PREFIX)?, value)))
            .collect();
        own.sort();
        for (name, rest, value) in &own {
            let Some(rest) = rest.strip_suffix(&suffix) else {
                let origin = Origin::Variable((*name).clone());
                self.layers
                    .put(Path::of_variable(rest), Raw::Text((*value).clone()), origin);
                continue;
            };
            let origin = Origin::VariableFile {
                name: (*name).clone(),
                path: PathBuf::from(value),
            };
            let path = Path::of_variable(rest);
            if own.iter().any(|(_, other, _)| *other == rest) {
                let problem = format!("is given twice, by {} and by {name}", path.variable());
                self.refuse(&path, origin, problem);
                continue;
            }
            match read_file(&PathBuf::from(value)) {
                // Editors and `echo` end files with a line break that nobody means.
                Ok(text) => {
                    let text = text.trim_end_matches(['\n', '\r']).to_owned();
                    self.layers.put(path, Raw::Text(text), origin);
                }
                Err(problem) => self.refuse(&path, origin, problem),
            }
        }
    }

    fn take_options(&mut self, options: &[String]) {
        for option in options {
            let parsed = option
                .split_once('=')
                .and_then(|(key, value)| Some((Path::parse(key.trim())?, value)));
            match parsed {
                Some((path, value)) => {
                    self.layers
                        .put(path, Raw::Text(value.to_owned()), Origin::Option);
                }
                // The text may be a secret that lost its key.
                None => self.refuse(&"--set", Origin::Option, "must be KEY=VALUE".to_owned()),
            }
        }
    }

    /// Applies all values in the order of the table, so that namespaces begin as the topics are.
    fn apply(&mut self) -> Draft {
        let mut draft = Draft::default();
        let mut known = Vec::new();
        for (path, raw, origin) in self.layers.iter() {
            let found = keys()
                .enumerate()
                .find_map(|(at, key)| Some((at, key, path.captured(key.name)?)));
            match found {
                Some((at, key, name)) => known.push((at, key, name, path, raw, origin)),
                None => self.errors.push(unknown(path, origin)),
            }
        }
        known.sort_by_key(|(at, ..)| *at);
        for (_, key, name, path, raw, origin) in known {
            if let Err(problem) = key.kind.apply(&mut draft, name, raw) {
                self.errors.push(ConfigError {
                    key: path.to_string(),
                    value: (!key.secret).then(|| raw.literal()),
                    origin: origin.clone(),
                    problem: format!("{problem}; allowed: {}", key.kind.allowed()),
                });
            }
        }
        draft
    }
}

fn unknown(path: &Path, origin: &Origin) -> ConfigError {
    let meant = suggest::nearest(path);
    let problem = match (meant, origin) {
        (Some(meant), Origin::Variable(_) | Origin::VariableFile { .. }) => {
            let variable = Path::parse(&meant).map(|meant| meant.variable());
            let variable = variable.unwrap_or(meant);
            format!("there is no such key; the nearest one is set by {variable}")
        }
        (Some(meant), Origin::Default | Origin::File { .. } | Origin::Option) => {
            format!("there is no such key; the nearest one is {meant}")
        }
        (None, _) => "there is no such key; `sparkway config docs` lists all".to_owned(),
    };
    ConfigError {
        key: path.to_string(),
        value: None,
        origin: origin.clone(),
        problem,
    }
}

fn read_file(path: &std::path::Path) -> Result<String, String> {
    let size = fs::metadata(path)
        .map_err(|error| format!("cannot be read: {error}"))?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
