//! Everything that is wrong with a configuration.

use std::fmt;

use crate::Origin;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, or the file where there is none.
    pub key: String,
    /// The value as it was written; `None` for secrets and where there is none.
    pub value: Option<String>,
    /// Where it was written.
    pub origin: Origin,
    /// What is wrong with it, and what is allowed.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.key)?;
        if let Some(value) = &self.value {
            write!(out, " = {value}")?;
        }
        if self.origin != Origin::Default {
            write!(out, " ({})", self.origin)?;
        }
        write!(out, ": {}", self.problem)
    }
}

/// All things that are wrong, at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "error" } else { "errors" };
        write!(out, "{count} {noun} in the configuration:")?;
        for error in &self.0 {
            write!(out, "\n  {error}")?;
        }
        Ok(())
    }
}
