//! The heartbeat token: derived, never stored.
//!
//! A token is the base64url form of a key id (1 byte), a generation (4) and 16 bytes of
//! HMAC-SHA-256 over key id, session, user and generation: 128 bits that nobody can guess. The
//! store holds only the generation (core.md 3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use sparkway_protocol::{SessionId, UserId};
use subtle::ConstantTimeEq as _;

const TOKEN_BYTES: usize = 21;
const MAC_BYTES: usize = 16;

/// One key of the cluster.
#[derive(Clone)]
pub struct TokenKey {
    /// Which key: travels in the token, so that keys can be exchanged while sessions live.
    pub id: u8,
    /// The secret, the same on every node.
    pub secret: [u8; 32],
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "TokenKey({})", self.id)
    }
}

/// Makes and checks heartbeat tokens. The first key makes; all keys check.
#[derive(Clone, Debug)]
pub struct Tokens {
    keys: Vec<Ready>,
}

/// A key, with the part of the work done that is the same for every token.
#[derive(Clone)]
struct Ready {
    id: u8,
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Ready({})", self.id)
    }
}

impl Tokens {
    /// With the newest key first. Without any key no token is ever valid.
    #[must_use]
    pub fn new(keys: Vec<TokenKey>) -> Self {
        let ready = keys.into_iter().filter_map(|key| {
            // HMAC takes keys of every length, so none is left out.
            let mac = Hmac::<Sha256>::new_from_slice(&key.secret).ok()?;
            Some(Ready { id: key.id, mac })
        });
        Self {
            keys: ready.collect(),
        }
    }

    /// The token of a generation of a session.
    #[must_use]
    pub fn make(&self, session: SessionId, user: Option<&UserId>, generation: u32) -> Box<str> {
        let Some(key) = self.keys.first() else {
            return Box::default();
        };
        let mac = mac(key, session, user, generation);
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.push(key.id);
        bytes.extend_from_slice(&generation.to_be_bytes());
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes).into()
    }

    /// 16 bytes that stand for a list of names: always the same for them, on every node, and not
    /// to be guessed by who knows them.
    #[must_use]
    pub fn name(&self, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
        let mut half = [0; MAC_BYTES];
        let Some(key) = self.keys.last() else {
            return half;
        };
        let mut mac = key.mac.clone();
        mac.update(b"name");
        for part in parts {
            mac.update(&part.len().to_le_bytes());
            mac.update(part);
        }
        half.iter_mut()
            .zip(mac.finalize().into_bytes())
            .for_each(|(to, from)| *to = from);
        half
    }

    /// The generation of a genuine token of this session, else `None`. Takes the same time
    /// wherever a forged token differs.
    #[must_use]
    pub fn check(&self, session: SessionId, user: Option<&UserId>, token: &str) -> Option<u32> {
        let mut bytes = [0; TOKEN_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).ok()?;
        let (&[key_id, a, b, c, d], shown) = bytes.split_first_chunk::<5>()?;
        if length != TOKEN_BYTES {
            return None;
        }
        let generation = u32::from_be_bytes([a, b, c, d]);
        let key = self.keys.iter().find(|key| key.id == key_id)?;
        let expected = mac(key, session, user, generation);
        bool::from(expected.as_slice().ct_eq(shown)).then_some(generation)
    }
}

fn mac(key: &Ready, session: SessionId, user: Option<&UserId>, generation: u32) -> [u8; MAC_BYTES] {
    let mut half = [0; MAC_BYTES];
    let mut mac = key.mac.clone();
    mac.update(&[key.id]);
    mac.update(session.as_bytes());
    mac.update(&generation.to_be_bytes());
    mac.update(user.map_or(&[][..], |user| user.as_str().as_bytes()));
    half.iter_mut()
        .zip(mac.finalize().into_bytes())
        .for_each(|(to, from)| *to = from);
    half
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparkway_protocol::Partition;

    fn tokens(id: u8) -> Tokens {
        Tokens::new(vec![TokenKey {
            id,
            secret: [id; 32],
        }])
    }

    #[test]
    fn a_token_is_good_for_its_session_user_and_generation_only() {
        let session = SessionId::from_random([1; 16], Partition::default());
        let other = SessionId::from_random([2; 16], Partition::default());
        let user = UserId::parse("alice").unwrap();
        let tokens = tokens(1);
        let token = tokens.make(session, Some(&user), 7);
        assert_eq!(tokens.check(session, Some(&user), &token), Some(7));
        assert_eq!(tokens.check(other, Some(&user), &token), None);
        assert_eq!(tokens.check(session, None, &token), None);
        assert_ne!(token, tokens.make(session, Some(&user), 8));
    }

    #[test]
    fn a_name_is_the_same_on_every_node_and_parts_do_not_run_together() {
        let name = tokens(1).name(&[b"a", b"bc"]);
        assert_eq!(name, tokens(1).name(&[b"a", b"bc"]));
        assert_ne!(name, tokens(1).name(&[b"ab", b"c"]));
        assert_ne!(name, tokens(2).name(&[b"a", b"bc"]));
    }

    #[test]
    fn every_changed_symbol_and_every_cut_is_refused() {
        let session = SessionId::from_random([1; 16], Partition::default());
        let tokens = tokens(1);
        let token = tokens.make(session, None, 1).to_string();
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(tokens.check(session, None, &forged), None, "{at}");
            assert_eq!(tokens.check(session, None, token.get(..at).unwrap()), None);
        }
        assert_eq!(tokens.check(session, None, &format!("{token}A")), None);
        assert_eq!(tokens.check(session, None, &"A".repeat(5000)), None);
    }

    #[test]
    fn an_old_key_still_checks_after_the_exchange() {
        let session = SessionId::from_random([1; 16], Partition::default());
        let old = TokenKey {
            id: 1,
            secret: [1; 32],
        };
        let token = Tokens::new(vec![old.clone()]).make(session, None, 3);
        let both = Tokens::new(vec![
            TokenKey {
                id: 2,
                secret: [2; 32],
            },
            old,
        ]);
        assert_eq!(both.check(session, None, &token), Some(3));
        assert_eq!(tokens(2).check(session, None, &token), None);
        assert!(!format!("{both:?}").contains("secret"));
    }
}
