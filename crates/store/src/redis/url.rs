//! The forms of `store.url`.

use std::fmt;

const DEFAULT_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Name or IP address, without brackets.
    pub host: Box<str>,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

/// A password: shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

impl Password {
    /// The text, for the wire only.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}

/// How the servers are arranged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// One server.
    One(Address),
    /// A master that sentinels know.
    Sentinel {
        /// Where to ask.
        sentinels: Vec<Address>,
        /// The name under which they know the master.
        master: Box<str>,
    },
    /// A cluster; any of its nodes tells where the others are.
    Cluster(Vec<Address>),
}

/// A parsed `store.url`. Its `Debug` form holds no password.
///
/// `redis://[user:password@]host[:port][/database]`, `redis+sentinel://…@host,host/master[/database]`,
/// `redis+cluster://…@host,host`; with `rediss` in front instead of `redis`: over TLS. User and
/// password are percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// Where.
    pub servers: Servers,
    /// Over TLS.
    pub tls: bool,
    /// User of the access control list, if not the default one.
    pub username: Option<Box<str>>,
    /// Its password.
    pub password: Option<Password>,
    /// Database number; always 0 on a cluster.
    pub database: u32,
}

/// What is wrong with a URL, without repeating any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme.
    #[error("must begin with redis://, rediss://, redis+sentinel:// or redis+cluster://")]
    Scheme,
    /// No host, or a port that is no number.
    #[error("needs host:port after the scheme, more of them separated by commas")]
    Host,
    /// More than one host where one is meant.
    #[error("names several hosts: use redis+sentinel:// or redis+cluster://")]
    SeveralHosts,
    /// No master name.
    #[error("needs the name of the master after the hosts: redis+sentinel://host,host/master")]
    Master,
    /// Not a number, or not 0 on a cluster.
    #[error("has a database that is no number (a cluster has none)")]
    Database,
    /// `%` without two hex digits, or not UTF-8.
    #[error("has a user or password that is not percent-encoded UTF-8")]
    Credentials,
}

impl RedisUrl {
    /// Reads one of the forms.
    ///
    /// # Errors
    /// Which part is not understood.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let (transport, arrangement) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match transport {
            "redis" => false,
            "rediss" => true,
            _ => return Err(UrlError::Scheme),
        };
        let (credentials, rest) = rest
            .rsplit_once('@')
            .map_or((None, rest), |(credentials, rest)| {
                (Some(credentials), rest)
            });
        let (username, password) = credentials.map_or(Ok((None, None)), read_credentials)?;
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (servers, database) = match arrangement {
            "" => {
                let mut hosts = addresses(hosts, DEFAULT_PORT)?;
                let host = hosts.pop().ok_or(UrlError::Host)?;
                if !hosts.is_empty() {
                    return Err(UrlError::SeveralHosts);
                }
                (Servers::One(host), path)
            }
            "sentinel" => {
                let sentinels = addresses(hosts, SENTINEL_PORT)?;
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(UrlError::Master);
                }
                let master = master.into();
                (Servers::Sentinel { sentinels, master }, database)
            }
            "cluster" if path.is_empty() || path == "0" => {
                (Servers::Cluster(addresses(hosts, DEFAULT_PORT)?), "")
            }
            "cluster" => return Err(UrlError::Database),
            _ => return Err(UrlError::Scheme),
        };
        let database = match database {
            "" => 0,
            number => number.parse().map_err(|_| UrlError::Database)?,
        };
        Ok(Self {
            servers,
            tls,
            username,
            password,
            database,
        })
    }
}

type Credentials = (Option<Box<str>>, Option<Password>);

fn read_credentials(text: &str) -> Result<Credentials, UrlError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let some = |text: Box<str>| (!text.is_empty()).then_some(text);
    Ok((
        some(percent_decoded(user)?),
        some(percent_decoded(password)?).map(Password),
    ))
}

fn percent_decoded(text: &str) -> Result<Box<str>, UrlError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || {
            let symbol = bytes.next().ok_or(UrlError::Credentials)?;
            let value = char::from(symbol).to_digit(16);
            value
                .and_then(|value| u8::try_from(value).ok())
                .ok_or(UrlError::Credentials)
        };
        out.push(digit()? << 4 | digit()?);
    }
    let text = String::from_utf8(out).map_err(|_| UrlError::Credentials)?;
    Ok(text.into_boxed_str())
}

fn addresses(hosts: &str, default_port: u16) -> Result<Vec<Address>, UrlError> {
    hosts
        .split(',')
        .map(|host| address(host, default_port))
        .collect()
}

fn address(text: &str, default_port: u16) -> Result<Address, UrlError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(UrlError::Host)?;
        (host, rest.strip_prefix(':'))
    } else {
        text.split_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() {
        return Err(UrlError::Host);
    }
    let port = match port {
        Some(port) => port.parse().map_err(|_| UrlError::Host)?,
        None => default_port,
    };
    Ok(Address {
        host: host.into(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn every_documented_form_is_read() {
        let url = RedisUrl::parse("rediss://ada:p%40ss@[::1]:7000/3").unwrap();
        assert_eq!(url.servers, Servers::One(at("::1", 7000)));
        assert!(url.tls);
        assert_eq!(url.username.as_deref(), Some("ada"));
        assert_eq!(url.password.as_ref().map(Password::expose), Some("p@ss"));
        assert_eq!(url.database, 3);

        let url = RedisUrl::parse("redis+sentinel://:x@a,b:1/mymaster").unwrap();
        let sentinels = vec![at("a", 26_379), at("b", 1)];
        let master = "mymaster".into();
        assert_eq!(url.servers, Servers::Sentinel { sentinels, master });
        assert_eq!(url.username, None);

        let url = RedisUrl::parse("redis+cluster://a,b:1").unwrap();
        assert_eq!(
            url.servers,
            Servers::Cluster(vec![at("a", 6379), at("b", 1)])
        );
    }

    #[test]
    fn wrong_forms_are_refused_by_the_part_that_is_wrong() {
        for (url, error) in [
            ("http://h", UrlError::Scheme),
            ("redis+other://h", UrlError::Scheme),
            ("redis://", UrlError::Host),
            ("redis://h:x", UrlError::Host),
            ("redis://a,b", UrlError::SeveralHosts),
            ("redis+sentinel://a,b", UrlError::Master),
            ("redis://h/x", UrlError::Database),
            ("redis+cluster://h/1", UrlError::Database),
            ("redis://u:%zz@h", UrlError::Credentials),
        ] {
            assert_eq!(RedisUrl::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn password_shows_in_no_debug_form_and_no_error() {
        let url = RedisUrl::parse("redis://ada:geheim@h").unwrap();
        assert!(!format!("{url:?}").contains("geheim"));
        let error = RedisUrl::parse("redis://ada:geheim@h:x").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("geheim"));
    }
}
