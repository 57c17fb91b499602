//! Which of several credentials counts.

use std::borrow::Cow;

/// Where a credential was found, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// `?token=` of the request's URL.
    Query,
    /// `bearer.<jwt>` in `Sec-WebSocket-Protocol`.
    Subprotocol,
    /// `Authorization: Bearer <jwt>`.
    Authorization,
    /// The configured cookie. A browser sends it by itself, also for a foreign page: whoever
    /// accepts it checks the request's `Origin` first.
    Cookie,
    /// The first message of the connection.
    FirstMessage,
}

/// What a client's request offers: raw header values, one string per header line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offered<'a> {
    /// The query of the URL, without `?`.
    pub query: Option<&'a str>,
    /// The lines of `Sec-WebSocket-Protocol`.
    pub subprotocols: &'a [&'a str],
    /// The value of `Authorization`.
    pub authorization: Option<&'a str>,
    /// The lines of `Cookie`.
    pub cookies: &'a [&'a str],
}

/// A token and where it came from. Not verified yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential<'a> {
    /// Where it was found.
    pub origin: Origin,
    /// The token.
    pub token: Cow<'a, str>,
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "Credential({:?}, {} bytes)",
            self.origin,
            self.token.len()
        )
    }
}

impl<'a> Credential<'a> {
    /// The credential of a request: the query's, else the subprotocol's, else that of
    /// `Authorization`, else the cookie's. Only this one is verified: when it is bad, the others
    /// are not tried, so a client cannot be two users at once. An empty one counts as absent; of
    /// two in one place the first counts.
    #[must_use]
    pub fn of_request(offered: &Offered<'a>, cookie_name: &str) -> Option<Self> {
        let found = |origin| move |token| Credential { origin, token };
        query_token(offered.query)
            .map(found(Origin::Query))
            .or_else(|| subprotocol_token(offered.subprotocols).map(found(Origin::Subprotocol)))
            .or_else(|| bearer_token(offered.authorization).map(found(Origin::Authorization)))
            .or_else(|| cookie_token(offered.cookies, cookie_name).map(found(Origin::Cookie)))
    }

    /// The credential that counts when the first message carries one, too: that of the request
    /// wins, the message's is ignored. Replacing a credential later is a refresh, not a first
    /// message.
    #[must_use]
    pub fn or_first_message(of_request: Option<Self>, token: Option<&'a str>) -> Option<Self> {
        of_request.or_else(|| {
            token.filter(|token| !token.is_empty()).map(|token| Self {
                origin: Origin::FirstMessage,
                token: Cow::Borrowed(token),
            })
        })
    }
}

fn query_token(query: Option<&str>) -> Option<Cow<'_, str>> {
    query?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|&(name, value)| name == "token" && !value.is_empty())
        .map(|(_, value)| percent_decoded(value))
}

/// Undoes percent encoding; what is no valid encoding stays as it is and fails as a token.
fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match (first, after) {
            (b'%', [high, low, tail @ ..]) => hex(*high)
                .zip(hex(*low))
                .map(|(high, low)| (high << 4 | low, tail)),
            _ => None,
        };
        let (byte, tail) = escaped.unwrap_or((first, after));
        out.push(byte);
        rest = tail;
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

fn subprotocol_token<'a>(lines: &[&'a str]) -> Option<Cow<'a, str>> {
    lines
        .iter()
        .flat_map(|line| line.split(','))
        .filter_map(|offer| offer.trim().strip_prefix("bearer."))
        .find(|token| !token.is_empty())
        .map(Cow::Borrowed)
}

fn bearer_token(value: Option<&str>) -> Option<Cow<'_, str>> {
    let (scheme, token) = value?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(Cow::Borrowed(token))
}

fn cookie_token<'a>(lines: &[&'a str], cookie_name: &str) -> Option<Cow<'a, str>> {
    lines
        .iter()
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|&(name, _)| name == cookie_name)
        .map(|(_, value)| value.trim_matches('"'))
        .find(|value| !value.is_empty())
        .map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offered<'_> = Offered {
        query: Some("room=1&token=Q"),
        subprotocols: &["spark.v1.json, bearer.S"],
        authorization: Some("Bearer A"),
        cookies: &["x=1; session=C"],
    };

    fn found(offered: &Offered<'_>) -> Option<(Origin, String)> {
        Credential::of_request(offered, "session").map(|found| (found.origin, found.token.into()))
    }

    #[test]
    fn precedence_is_query_subprotocol_authorization_cookie_first_message() {
        let mut offered = ALL;
        assert_eq!(found(&offered), Some((Origin::Query, "Q".into())));
        offered.query = None;
        assert_eq!(found(&offered), Some((Origin::Subprotocol, "S".into())));
        offered.subprotocols = &[];
        assert_eq!(found(&offered), Some((Origin::Authorization, "A".into())));
        offered.authorization = None;
        assert_eq!(found(&offered), Some((Origin::Cookie, "C".into())));
        offered.cookies = &[];
        assert_eq!(found(&offered), None);

        let of_request = Credential::of_request(&ALL, "session");
        let chosen = Credential::or_first_message(of_request, Some("M")).unwrap();
        assert_eq!((chosen.origin, &*chosen.token), (Origin::Query, "Q"));
        let chosen = Credential::or_first_message(None, Some("M")).unwrap();
        assert_eq!((chosen.origin, &*chosen.token), (Origin::FirstMessage, "M"));
        assert_eq!(Credential::or_first_message(None, Some("")), None);
        assert_eq!(Credential::or_first_message(None, None), None);
    }

    #[test]
    fn first_of_two_in_one_place_counts_and_empty_ones_are_absent() {
        let offered = Offered {
            query: Some("token=&token=1&token=2&xtoken=3"),
            subprotocols: &["bearer.", " bearer.4 ,bearer.5"],
            authorization: Some("Bearer "),
            cookies: &["session=; session=\"6\"; session=7", "session=8"],
        };
        assert_eq!(found(&offered), Some((Origin::Query, "1".into())));
        let offered = Offered {
            query: Some("token"),
            ..offered
        };
        assert_eq!(found(&offered), Some((Origin::Subprotocol, "4".into())));
        let offered = Offered {
            subprotocols: &[],
            ..offered
        };
        assert_eq!(found(&offered), Some((Origin::Cookie, "6".into())));
    }

    #[test]
    fn other_schemes_names_and_cookies_are_not_taken() {
        let offered = Offered {
            query: Some("Token=a&access_token=b&tokenx=c"),
            subprotocols: &["Bearer.x, notbearer.y"],
            authorization: Some("Basic dXNlcjpwYXNz"),
            cookies: &["Session=d; xsession=e; session"],
        };
        assert_eq!(found(&offered), None);
    }

    #[test]
    fn percent_encoding_of_the_query_is_undone_once() {
        let token = |query| {
            found(&Offered {
                query: Some(query),
                ..Offered::default()
            })
            .unwrap()
            .1
        };
        assert_eq!(token("token=a%2Eb%2ec"), "a.b.c");
        assert_eq!(token("token=%252E"), "%2E");
        assert_eq!(token("token=100%"), "100%");
        assert_eq!(token("token=%zz"), "%zz");
        assert_eq!(token("token=%ff"), "%ff");
    }

    #[test]
    fn debug_output_shows_no_token() {
        let credential = Credential::of_request(&ALL, "session").unwrap();
        assert_eq!(format!("{credential:?}"), "Credential(Query, 1 bytes)");
    }
}
