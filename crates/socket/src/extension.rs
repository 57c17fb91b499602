//! permessage-deflate, as it is negotiated (RFC 7692, 7.1).

use http::{HeaderMap, HeaderValue, header};

/// The one extension there is.
const NAME: &str = "permessage-deflate";
/// The window of the node's compressor: 32 KiB.
const WINDOW_BITS: u8 = 15;
/// Most offers that are looked at.
const OFFERS: usize = 16;

/// Deflate without context, agreed with one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// The largest window that the client can inflate, where it said so.
    window_bits: Option<u8>,
}

impl Deflate {
    /// The first offer of a client that can be met.
    #[must_use]
    pub(crate) fn offered(headers: &HeaderMap) -> Option<Self> {
        headers
            .get_all(header::SEC_WEBSOCKET_EXTENSIONS)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .take(OFFERS)
            .find_map(Self::read)
    }

    /// Whether the client is sent deflated messages: one with a smaller window could not read
    /// them. It may send them all the same.
    #[must_use]
    pub fn sends(self) -> bool {
        self.window_bits.is_none_or(|bits| bits >= WINDOW_BITS)
    }

    /// What the node agrees to. No context on either side: an idle connection then has none to
    /// keep, and a message is compressed once for everybody.
    pub(crate) fn header(self) -> Option<HeaderValue> {
        let base = format!("{NAME}; server_no_context_takeover; client_no_context_takeover");
        let value = match self.window_bits {
            None => base,
            Some(bits) => format!("{base}; server_max_window_bits={bits}"),
        };
        HeaderValue::try_from(value).ok()
    }

    fn read(offer: &str) -> Option<Self> {
        let mut parts = offer.split(';').map(str::trim);
        if parts.next()? != NAME {
            return None;
        }
        let mut seen = Vec::new();
        let mut window_bits = None;
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
                None => (part, None),
            };
            if seen.contains(&name) {
                return None;
            }
            seen.push(name);
            match (name, value) {
                (
                    "server_no_context_takeover"
                    | "client_no_context_takeover"
                    | "client_max_window_bits",
                    None,
                ) => {}
                ("client_max_window_bits", Some(value)) => {
                    bits(value)?;
                }
                ("server_max_window_bits", Some(value)) => window_bits = Some(bits(value)?),
                _ => return None,
            }
        }
        Some(Self { window_bits })
    }
}

fn bits(value: &str) -> Option<u8> {
    let is_plain = !value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit());
    let bits = value.parse().ok()?;
    (is_plain && (8..=WINDOW_BITS).contains(&bits)).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(offers: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for offer in offers {
            let value = HeaderValue::from_str(offer).unwrap();
            headers.append(header::SEC_WEBSOCKET_EXTENSIONS, value);
        }
        let header = Deflate::offered(&headers)?.header().unwrap();
        Some(header.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_first_offer_that_can_be_met_is_answered() {
        let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let small = format!("{plain}; server_max_window_bits=10");
        for (offers, expected) in [
            (&["permessage-deflate"][..], Some(plain)),
            (&["permessage-deflate; client_max_window_bits"], Some(plain)),
            (
                &["permessage-deflate; client_max_window_bits=9"],
                Some(plain),
            ),
            (
                &["permessage-deflate;server_no_context_takeover"],
                Some(plain),
            ),
            (
                &["permessage-deflate; server_max_window_bits=10"],
                Some(&small),
            ),
            (
                &["permessage-deflate; server_max_window_bits=\"10\""],
                Some(&small),
            ),
            (&["x-webkit-deflate-frame, permessage-deflate"], Some(plain)),
            (&["other", "permessage-deflate"], Some(plain)),
            (
                &["permessage-deflate; server_max_window_bits=7, permessage-deflate"],
                Some(plain),
            ),
            (&["permessage-deflate; server_max_window_bits"], None),
            (&["permessage-deflate; server_max_window_bits=16"], None),
            (&["permessage-deflate; server_max_window_bits=010"], None),
            (&["permessage-deflate; client_max_window_bits=x"], None),
            (&["permessage-deflate; server_no_context_takeover=1"], None),
            (&["permessage-deflate; unknown"], None),
            (
                &["permessage-deflate; client_max_window_bits; client_max_window_bits"],
                None,
            ),
            (&["permessage-deflated"], None),
            (&[], None),
        ] {
            assert_eq!(answer(offers).as_deref(), expected, "{offers:?}");
        }
    }

    #[test]
    fn a_client_with_a_small_window_is_sent_plain_messages() {
        assert!(
            !Deflate::read("permessage-deflate; server_max_window_bits=9")
                .unwrap()
                .sends()
        );
        assert!(
            Deflate::read("permessage-deflate; server_max_window_bits=15")
                .unwrap()
                .sends()
        );
        assert!(Deflate::read("permessage-deflate").unwrap().sends());
    }
}
