//! `sparkway config`: the configuration, as it is and as it could be.

use std::io::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;
use sparkway_config::{Loaded, docs_markdown, env_listing, load};

use crate::arguments::ConfigSources;
use crate::exit::{Exit, Failure, Outcome};

/// What to show.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// The effective values and where each was written; secrets are hidden
    Show(ShowArgs),
    /// Check everything and report all errors at once
    Check(ConfigSources),
    /// The reference of all keys, in Markdown
    Docs,
    /// Every environment variable with its default
    Env,
}

/// How to show the effective values.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway config show -c sparkway.toml\n  \
    sparkway config show --json | jq '.[] | select(.origin != \"default\")'")]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) config: ConfigSources,
    /// Print a JSON array of key, value and origin
    #[arg(long)]
    pub(crate) json: bool,
}

/// Carries out a config command.
///
/// # Errors
/// A configuration that cannot be used: failed (1), with everything that is wrong.
pub(crate) fn run(command: ConfigCommand) -> Outcome {
    let text = match command {
        ConfigCommand::Show(args) => {
            let loaded = loaded(&args.config)?;
            if args.json {
                as_json(&loaded)
            } else {
                loaded.show()
            }
        }
        ConfigCommand::Check(sources) => {
            let loaded = loaded(&sources)?;
            let file = loaded.file.as_ref().map(|path| path.display().to_string());
            format!("ok: {}\n", file.as_deref().unwrap_or("no file"))
        }
        ConfigCommand::Docs => docs_markdown(),
        ConfigCommand::Env => env_listing(),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn loaded(sources: &ConfigSources) -> Result<Loaded, Failure> {
    let loaded = load(&sources.sources()).map_err(Failure::failed)?;
    for warning in &loaded.warnings {
        let _ = writeln!(std::io::stderr(), "sparkway: warning: {warning}");
    }
    Ok(loaded)
}

fn as_json(loaded: &Loaded) -> String {
    let values: Vec<_> = loaded
        .values
        .iter()
        .map(|shown| json!({"key": shown.key, "value": shown.value, "origin": shown.origin.to_string()}))
        .collect();
    format!("{}\n", json!(values))
}
