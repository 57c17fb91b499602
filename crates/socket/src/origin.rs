//! Which web pages may open a connection.

use std::{fmt, str::FromStr};

/// Decides on a request's `Origin` against `patterns`; with none, only pages of the same host
/// may connect. A request without an origin comes from no browser and is allowed.
///
/// `host` is the `Host` header. Its scheme is unknown behind a proxy that ends TLS, so the same
/// host means the same name and the same port, where no port means the default one of the
/// origin's scheme.
#[must_use]
pub fn is_allowed(origin: Option<&str>, host: Option<&str>, patterns: &[OriginPattern]) -> bool {
    let Some(origin) = origin else {
        return true;
    };
    if patterns.iter().any(|pattern| pattern.0 == Rule::Any) {
        return true;
    }
    let Some(origin) = Origin::parse(origin) else {
        return false;
    };
    if patterns.is_empty() {
        return host.is_some_and(|host| origin.is_host(host));
    }
    patterns.iter().any(|pattern| pattern.matches(&origin))
}

/// One allowed origin, or a family of them.
///
/// `*` allows everything; `https://app.example.com` exactly that scheme, host and (default)
/// port; `https://*.example.com` every name below it, not itself; `http://localhost:*` every
/// port; without a scheme, http and https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(Rule);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Any,
    Matching {
        scheme: Option<String>,
        /// A leading dot stands for any name in front of it.
        host: String,
        port: Port,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Any,
    Default,
    Number(u16),
}

/// Why a text is no origin pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidOriginPattern {
    pattern: String,
}

impl fmt::Display for InvalidOriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no origin pattern; expected `*` or [scheme://]host[:port] with at most a \
             leading `*.` in the host and `*` as port, and no path",
            self.pattern
        )
    }
}

impl std::error::Error for InvalidOriginPattern {}

impl FromStr for OriginPattern {
    type Err = InvalidOriginPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_rule(text)
            .map(Self)
            .ok_or_else(|| InvalidOriginPattern {
                pattern: text.to_owned(),
            })
    }
}

fn parse_rule(text: &str) -> Option<Rule> {
    if text == "*" {
        return Some(Rule::Any);
    }
    let (scheme, authority) = match text.split_once("://") {
        Some((scheme, authority)) => (Some(checked_scheme(scheme)?), authority),
        None => (None, text),
    };
    let (host, port) = split_port(authority)?;
    let port = match port {
        None => Port::Default,
        Some("*") => Port::Any,
        Some(number) => normal_port(scheme.as_deref(), number.parse().ok()?),
    };
    // `*.example.com` becomes `.example.com`, which every name below it ends with.
    let host = host.strip_prefix('*').map_or_else(
        || checked_host(host),
        |below| checked_host(below.strip_prefix('.')?).map(|name| format!(".{name}")),
    )?;
    Some(Rule::Matching { scheme, host, port })
}

impl OriginPattern {
    /// Whether it is `*`, which allows every page, also those that nobody thought of.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0 == Rule::Any
    }

    fn matches(&self, origin: &Origin) -> bool {
        let Rule::Matching { scheme, host, port } = &self.0 else {
            return true;
        };
        let scheme_fits = scheme.as_ref().map_or(
            matches!(origin.scheme.as_str(), "http" | "https"),
            |scheme| *scheme == origin.scheme,
        );
        let host_fits = if host.starts_with('.') {
            origin.host.len() > host.len() && origin.host.ends_with(host)
        } else {
            origin.host == *host
        };
        scheme_fits && host_fits && (*port == Port::Any || *port == origin.port)
    }
}

/// A parsed `Origin` header: lower case, default port removed.
struct Origin {
    scheme: String,
    host: String,
    port: Port,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = checked_scheme(scheme)?;
        let (host, port) = split_port(authority)?;
        let port = match port {
            None => Port::Default,
            Some(number) => normal_port(Some(&scheme), number.parse().ok()?),
        };
        Some(Self {
            host: checked_host(host)?,
            scheme,
            port,
        })
    }

    fn is_host(&self, host: &str) -> bool {
        let Some((name, port)) = split_port(host) else {
            return false;
        };
        let port = match port {
            None => Port::Default,
            Some(number) => match number.parse() {
                Ok(number) => normal_port(Some(&self.scheme), number),
                Err(_) => return false,
            },
        };
        name.eq_ignore_ascii_case(&self.host) && port == self.port
    }
}

fn normal_port(scheme: Option<&str>, port: u16) -> Port {
    match (scheme, port) {
        (Some("http"), 80) | (Some("https"), 443) => Port::Default,
        _ => Port::Number(port),
    }
}

/// Splits `host[:port]`, brackets of an IPv6 address kept.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let (inside, behind) = authority.split_once(']')?;
        let host = authority.get(..=inside.len())?;
        return match behind.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => behind.is_empty().then_some((host, None)),
        };
    }
    Some(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

fn checked_scheme(scheme: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    (!scheme.is_empty() && scheme.bytes().all(fits)).then(|| scheme.to_ascii_lowercase())
}

fn checked_host(host: &str) -> Option<String> {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let address = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let fits = match host
        .strip_prefix('[')
        .and_then(|inside| inside.strip_suffix(']'))
    {
        Some(inside) => !inside.is_empty() && inside.bytes().all(address),
        None => !host.is_empty() && !host.starts_with('.') && host.bytes().all(name),
    };
    fits.then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: &str, host: &str, patterns: &[&str]) -> bool {
        let patterns: Vec<_> = patterns.iter().map(|p| p.parse().unwrap()).collect();
        is_allowed(Some(origin), Some(host), &patterns)
    }

    #[test]
    fn without_patterns_only_the_same_host_is_allowed() {
        assert!(allowed("https://good", "good", &[]));
        assert!(allowed("http://good:8000", "good:8000", &[]));
        assert!(allowed("https://GOOD", "Good:443", &[]));
        assert!(allowed("http://[::1]:8000", "[::1]:8000", &[]));
        assert!(!allowed("https://good:444", "good", &[]));
        assert!(!allowed("https://good.evil", "good", &[]));
        assert!(!allowed("https://good.", "good", &[]));
        assert!(!allowed("http://good", "good:443", &[]));
        assert!(!allowed("https://good", "", &[]));
        assert!(!is_allowed(Some("https://good"), None, &[]));
    }

    #[test]
    fn listed_origin_matches_scheme_host_and_port_exactly() {
        let list = ["https://good", "http://dev:3000"];
        assert!(allowed("https://good", "other", &list));
        assert!(allowed("HTTPS://GOOD", "other", &list));
        assert!(allowed("https://good:443", "other", &list));
        assert!(allowed("http://dev:3000", "other", &list));
        for refused in [
            "http://good",
            "https://good:444",
            "https://good.evil",
            "https://evil.good",
            "https://good.",
            "https://good@evil",
            "https://good/path",
            "https://good evil",
            "https://dev:3000",
            "null",
            "",
        ] {
            assert!(!allowed(refused, "good", &list), "{refused}");
        }
    }

    #[test]
    fn wildcard_matches_names_below_it_only() {
        let list = ["https://*.good.example", "http://localhost:*"];
        assert!(allowed("https://a.good.example", "x", &list));
        assert!(allowed("https://a.b.good.example", "x", &list));
        assert!(allowed("http://localhost:5173", "x", &list));
        assert!(allowed("http://localhost", "x", &list));
        for refused in [
            "https://good.example",
            "https://evilgood.example",
            "https://.good.example",
            "https://a.good.example.evil",
            "http://a.good.example",
            "https://localhost:5173",
        ] {
            assert!(!allowed(refused, "x", &list), "{refused}");
        }
    }

    #[test]
    fn pattern_without_scheme_means_the_web() {
        assert!(allowed("http://good", "x", &["good"]));
        assert!(allowed("https://good", "x", &["good"]));
        assert!(!allowed("ftp://good", "x", &["good"]));
    }

    #[test]
    fn missing_origin_is_allowed_and_star_allows_all() {
        assert!(is_allowed(None, None, &[]));
        assert!(allowed("null", "x", &["*"]));
        assert!(allowed("https://any", "x", &["https://other", "*"]));
    }

    #[test]
    fn malformed_pattern_is_refused_with_its_text() {
        for bad in [
            "",
            "https://",
            "https://a/b",
            "https://*a",
            "https://a:b",
            "a b",
            "*.",
            "://a",
        ] {
            let error = bad.parse::<OriginPattern>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{bad}`")), "{bad}");
        }
    }
}
