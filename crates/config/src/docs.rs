//! The reference page and the list of variables.

use std::fmt::Write as _;

use crate::draft::Draft;
use crate::key::Key;
use crate::path::Path;
use crate::table::{SECTIONS, keys};

const HEAD: &str = "# Configuration

Generated from `crates/config`; do not edit.

Defaults < file < environment < `--set KEY=VALUE`. The file is that of `-c`, else of `SPARKWAY_CONFIG`, else `./sparkway.toml`, else `/etc/sparkway/sparkway.toml`; a node runs with none. It is TOML.

- A variable is `SPARKWAY__SECTION__KEY`. With `__FILE` at the end it names a file whose content is the value: for secrets.
- Durations have a unit: `500ms`, `25s`, `10m`, `1h30m`, `7d`. Sizes: `512B`, `64KiB`, `1MiB`, or a number of bytes.
- Lists in variables and options are separated by commas. An empty value switches an optional key off.
- A key that is not listed here is an error. All errors are reported at once; `sparkway config check` does it without starting.
- `sparkway config show` prints the effective values and where each was written. Secrets are never shown.
";

const CLAIMS: &str = "
Claims of a token:

| claim | kind | meaning |
|---|---|---|
| `sub` | text, 1 to 128 bytes | The user. Always required. |
| `exp` | number, Unix seconds | Valid before it. |
| `nbf` | number, Unix seconds | Valid from it on. |
| `iat` | number, Unix seconds | Must not lie in the future. |
| `iss` | text | Must be `auth.issuer`, where that is set. |
| `aud` | text or list | Must name one of `auth.audience`. |
| `jti` | text | The token's id. |
| `subscribe`, `publish` | pattern or list of patterns | Topics that the user may subscribe or publish to: exact names, prefixes such as `room:*`, or `*`. Topics that begin with `$` are never granted. |
| `name` or `username`, `avatar` | text, at most 256 bytes | What others see of the user. |

Accepted algorithms are those of the configured keys, whatever a token's header says. Tokens with `crit`, with a repeated field or with another algorithm are refused.
";

/// The reference of all keys, in Markdown.
#[must_use]
pub fn docs_markdown() -> String {
    let defaults = Draft::default();
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        append(
            &mut page,
            format_args!("\n## {}\n\n{}\n\n", section.name, section.doc),
        );
        page.push_str("| key | default | allowed | meaning |\n|---|---|---|---|\n");
        for key in section.keys {
            row(&mut page, key, &defaults);
        }
        if section.name == "auth" {
            page.push_str(CLAIMS);
        }
        if section.name == "routes" {
            page.push_str("\nDefault routes:\n\n| path | dialect |\n|---|---|\n");
            for route in &defaults.settings.routes {
                let (path, dialect) = (&route.path, route.dialect.as_str());
                append(&mut page, format_args!("| `{path}` | `{dialect}` |\n"));
            }
        }
    }
    page
}

fn row(page: &mut String, key: &Key, defaults: &Draft) {
    let path = Path::parse(key.name).unwrap_or_default();
    let default = if key.name.starts_with("namespaces.") {
        "as in `topics`".to_owned()
    } else {
        match (key.get)(defaults, "").plain() {
            none if none.is_empty() => String::new(),
            value => format!("`{value}`"),
        }
    };
    let name = path.to_string().replace('*', "NAME");
    let secret = if key.secret { " Secret." } else { "" };
    // `|` would end the cell.
    let allowed = key.kind.allowed().replace('|', "\\|");
    append(
        page,
        format_args!(
            "| `{name}` | {default} | {allowed} | {}{secret} |\n",
            key.doc
        ),
    );
}

/// Every variable with its default and meaning, in the form of an environment file.
#[must_use]
pub fn env_listing() -> String {
    let defaults = Draft::default();
    let mut out = String::new();
    for key in keys() {
        let Some(path) = Path::parse(key.name) else {
            continue;
        };
        // Paths of routes cannot stand in the name of a variable: `SPARKWAY__ROUTES` sets them all.
        if key.name.starts_with("routes.") {
            continue;
        }
        let value = (key.get)(&defaults, "").plain();
        let variable = path.variable().replace('*', "NAME");
        append(
            &mut out,
            format_args!("# {}\n# {variable}={value}\n", key.doc),
        );
    }
    out
}

fn append(page: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(line);
}
