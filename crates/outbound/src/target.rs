//! The URL of a backend, checked when the configuration is read.

use http::Uri;

use crate::error::literal;
use crate::guard::Guard;

/// Longest URL in bytes.
const URL_BYTES: usize = 2048;

/// An `http:` or `https:` URL of a backend. Made from configuration only.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(Uri);

/// Why a URL cannot be used. Names the rule, not the URL, which may carry a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No URL at all, or longer than 2048 bytes.
    #[error("not a URL of at most 2048 bytes")]
    Malformed,
    /// Another scheme.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// A user or password in the URL.
    #[error("must not carry a user or password: requests are signed instead")]
    UserInfo,
    /// An address that is never asked.
    #[error("leads to an address that is refused; allow its network if it is meant")]
    Refused,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`TargetError`] names the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.len() > URL_BYTES || text.contains('#') {
            return Err(TargetError::Malformed);
        }
        let uri: Uri = text.parse().map_err(|_| TargetError::Malformed)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(TargetError::Scheme);
        }
        let authority = uri.authority().ok_or(TargetError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(TargetError::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(TargetError::Malformed);
        }
        Ok(Self(uri))
    }

    /// Checks an address that is written into the URL itself. Names are checked when they are
    /// resolved, at each connection.
    ///
    /// # Errors
    /// [`TargetError::Refused`].
    pub fn check(&self, guard: &Guard) -> Result<(), TargetError> {
        match self.0.host().and_then(literal) {
            Some(address) if !guard.allows_literal(address) => Err(TargetError::Refused),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether what is sent can be read on the way.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.scheme_str() == Some("http")
    }

    /// Whether the URL itself names this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        host.eq_ignore_ascii_case("localhost")
            || literal(host).is_some_and(|address| address.is_loopback())
    }

    /// The URL as it was written: shown to operators only.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.to_string()
    }

    pub(crate) const fn uri(&self) -> &Uri {
        &self.0
    }
}

impl std::fmt::Debug for Target {
    /// Without path and query: they may carry a secret.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, host) = (self.0.scheme_str(), self.0.authority());
        write!(
            out,
            "Target({}://{}/…)",
            scheme.unwrap_or_default(),
            host.map_or("", |host| host.as_str())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_urls_of_backends_are_taken() {
        assert!(Target::parse("http://backend:3000/hook?x=1").is_ok());
        assert!(Target::parse("https://[::1]:8443/").is_ok());
        for (text, error) in [
            ("", TargetError::Malformed),
            ("backend", TargetError::Scheme),
            ("/hook", TargetError::Scheme),
            ("ftp://backend/", TargetError::Scheme),
            ("file:///etc/passwd", TargetError::Malformed),
            ("http://user:pw@backend/", TargetError::UserInfo),
            ("http://backend/#part", TargetError::Malformed),
        ] {
            assert_eq!(Target::parse(text), Err(error), "{text}");
        }
        let long = format!("http://backend/{}", "a".repeat(URL_BYTES));
        assert_eq!(Target::parse(&long), Err(TargetError::Malformed));
    }

    #[test]
    fn a_literal_metadata_address_is_refused_at_once() {
        let guard = Guard::default();
        let check = |text| Target::parse(text).unwrap().check(&guard);
        assert_eq!(check("http://169.254.169.254/"), Err(TargetError::Refused));
        assert_eq!(
            check("http://[::ffff:169.254.169.254]/"),
            Err(TargetError::Refused)
        );
        assert_eq!(check("http://127.0.0.1/"), Ok(()));
        assert_eq!(check("http://backend/"), Ok(()));
    }

    #[test]
    fn the_path_is_not_printed() {
        let target = Target::parse("http://backend/secret?key=1").unwrap();
        assert!(!format!("{target:?}").contains("secret"));
    }
}
