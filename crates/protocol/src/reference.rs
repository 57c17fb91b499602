//! The reference page of codes, written from the two tables.

use std::fmt::Write as _;

use crate::{CloseReason, Code, Next, Retry};

/// `docs/reference/errors-and-close-codes.md`: every refusal and every close of the Spark dialect.
#[must_use]
pub fn codes_page() -> String {
    let mut page = String::from(INTRODUCTION);
    for code in Code::ALL {
        let repeat = match code.retry() {
            Retry::Yes => "yes",
            Retry::No => "no",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {repeat} | {} |",
            code.as_str(),
            code.http_status(),
            code.meaning()
        );
    }
    page.push_str(CLOSES);
    let mut reasons = CloseReason::ALL.to_vec();
    reasons.sort_by_key(|reason| reason.code());
    for reason in reasons {
        let next = match reason.next() {
            Next::Stop => "stop",
            Next::Backoff => "come back with backoff, resume",
            Next::Resume => "come back at once, resume",
        };
        let text = match reason.text() {
            "" => String::new(),
            text => format!("`{text}`"),
        };
        let _ = writeln!(
            page,
            "| {} | {text} | {next} | {} |",
            reason.code(),
            reason.meaning()
        );
    }
    page.push_str(ENDING);
    page
}

const INTRODUCTION: &str = "\
# Errors and close codes

Written from the tables in `crates/protocol` (`UPDATE=1 cargo test -p sparkway-protocol`). The same
codes stand in `ws:error` frames, in the problems of the HTTP API and in the errors of the clients.

## Refused requests

The connection stays, unless a close follows. `retry` says whether the same request, with the same
`id`, may succeed later; `retry_after` (ms) says when, where the gateway knows. The message names the
field and the limit.

| code | HTTP | retry | meaning |
|---|---|---|---|
";

const CLOSES: &str = "
## Closed connections

Before the close comes a `ws:close` frame with the same code, where the link still takes one. An
unknown code means: come back with backoff.

| code | reason | the client | meaning |
|---|---|---|---|
";

const ENDING: &str = "
Ranges: 4000-4099 are terminal for the connection, 4100-4199 ask for backoff, 4200-4299 for coming
back at once. Other dialects have the codes of their sources: see their
[protocol pages](protocol/).
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_page_of_codes_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../docs/reference/errors-and-close-codes.md");
        let page = codes_page();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == page,
            "{} is out of date: run UPDATE=1 cargo test -p sparkway-protocol",
            path.display()
        );
    }

    #[test]
    fn every_code_is_told_once_and_says_what_it_means() {
        let page = codes_page();
        for code in Code::ALL {
            let row = format!("| `{}` | {} | ", code.as_str(), code.http_status());
            assert_eq!(page.matches(&row).count(), 1, "{code:?}");
            assert!(!code.meaning().is_empty(), "{code:?}");
        }
        for reason in CloseReason::ALL {
            assert!(
                page.contains(&format!("| {} | ", reason.code())),
                "{reason:?}"
            );
            assert!(
                reason.text().len() <= 123,
                "a close frame has no room for {reason:?}"
            );
        }
    }
}
