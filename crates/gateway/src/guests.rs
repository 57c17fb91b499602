//! How many may come in, and how fast: of the node, of one address, of one user.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderValue, StatusCode, header};
use sparkway_metrics::RateScope;
use sparkway_protocol::{Format, SessionId, UserId};
use sparkway_socket::{Response, retry_later, text_response};

use crate::descriptors::Descriptors;
use crate::rates::Rates;
use crate::settings::LimitSettings;
use crate::takeovers::Takeovers;

/// Seconds after which a client that is turned away for its number may come again.
pub(crate) const RETRY_AFTER_S: u32 = 2;
/// Most addresses that are told apart; the rest share one account.
const ADDRESSES: usize = 65_536;
/// Least time between two looks through all addresses.
const SWEEP_MS: u64 = 1000;
/// The account of those that are not told apart: no client has it for an address.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

impl Place {
    /// A place that nobody counts.
    pub(crate) const fn uncounted() -> Self {
        Self(None)
    }
}

/// Counts who is there. One lock per handshake, none per message.
#[derive(Debug)]
pub(crate) struct Guests {
    /// Most connections of this node; none: no limit is known.
    pub(crate) connections_max: Option<u32>,
    /// Most connections of one accept loop that are not upgraded yet.
    pub(crate) handshakes_max: usize,
    pub(crate) takeovers: Takeovers,
    handshakes_per_second: Option<u32>,
    handshakes_per_address: Option<u32>,
    connections_per_address: Option<u32>,
    connections_per_user: Option<u32>,
    node: Mutex<Rates>,
    addresses: Mutex<Addresses>,
    users: Mutex<HashMap<UserId, Present>>,
}

/// The connections of one user.
#[derive(Debug, Default)]
struct Present {
    all: u32,
    chats: u32,
    /// Of sessions that more than one connection may be in: an old one, and who takes it over.
    sessions: HashMap<SessionId, u32>,
}

/// Which connections of his a newcomer puts an end to: they are no reason to turn him away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaces {
    Nothing,
    /// Those of this session.
    Session(SessionId),
    /// Those of the chat dialect.
    Chats,
    /// All of them.
    All,
}

#[derive(Debug)]
struct Addresses {
    known: HashMap<IpAddr, Account>,
    /// So many are looked through for those that can be forgotten.
    sweep_at: usize,
    swept_ms: u64,
}

#[derive(Debug)]
struct Account {
    open: u32,
    rates: Rates,
}

/// A client that is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TurnedAway {
    pub(crate) scope: RateScope,
    retry_after_s: u32,
}

/// One connection's place in the account of its address, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Option<(Arc<Guests>, IpAddr)>);

/// One connection's place in the account of its user, until it is dropped.
#[derive(Debug)]
pub(crate) struct UserPlace {
    guests: Arc<Guests>,
    user: UserId,
    format: Format,
    session: SessionId,
}

impl Guests {
    pub(crate) fn new(limits: &LimitSettings, descriptors: Descriptors, now_ms: u64) -> Self {
        Self {
            connections_max: limits.connections.or(descriptors.connections),
            handshakes_max: descriptors.handshakes,
            takeovers: Takeovers::default(),
            handshakes_per_second: limits.handshakes_per_second,
            handshakes_per_address: limits.handshakes_per_address,
            connections_per_address: limits.connections_per_address,
            connections_per_user: limits.connections_per_user,
            node: Mutex::new(Rates::full(
                limits.handshakes_per_second.unwrap_or(0),
                now_ms,
            )),
            addresses: Mutex::new(Addresses {
                known: HashMap::new(),
                sweep_at: 1024,
                swept_ms: 0,
            }),
            users: Mutex::default(),
        }
    }

    /// Whether a connection from `address` is heard at all: before its TLS and its head cost
    /// anything. `address` is the peer's own, so whoever stands for many clients is not asked about.
    ///
    /// # Errors
    /// What is far too fast. There is nothing to answer: nobody speaks HTTP yet.
    pub(crate) fn hear(&self, address: IpAddr, now_ms: u64) -> Result<(), RateScope> {
        if let Some(rate) = self.handshakes_per_address {
            let mut addresses = self.addresses();
            let (_, account) = self.account(&mut addresses, network_of(address), now_ms);
            account
                .rates
                .arrive(rate, now_ms)
                .map_err(|()| RateScope::AddressHandshakes)?;
        }
        self.handshakes_per_second.map_or(Ok(()), |rate| {
            self.node()
                .arrive(rate, now_ms)
                .map_err(|()| RateScope::Handshakes)
        })
    }

    /// Lets a handshake of `address` begin, and gives it a place for its connection. Who is too
    /// fast or too many by itself uses up nothing of what the node has for all.
    ///
    /// # Errors
    /// It is too fast, or the address has as many connections as it may.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        now_ms: u64,
    ) -> Result<Place, TurnedAway> {
        if self.handshakes_per_address.is_none() && self.connections_per_address.is_none() {
            self.admit_to_node(now_ms)?;
            return Ok(Place::uncounted());
        }
        let mut addresses = self.addresses();
        let (address, account) = self.account(&mut addresses, network_of(address), now_ms);
        if let Some(rate) = self.handshakes_per_address {
            account
                .rates
                .begin(rate, now_ms)
                .map_err(|wait_ms| TurnedAway::for_ms(RateScope::AddressHandshakes, wait_ms))?;
        }
        if self
            .connections_per_address
            .is_some_and(|most| account.open >= most)
        {
            return Err(TurnedAway::for_ms(RateScope::AddressConnections, 0));
        }
        self.admit_to_node(now_ms)?;
        account.open += 1;
        Ok(Place(Some((Arc::clone(self), address))))
    }

    fn admit_to_node(&self, now_ms: u64) -> Result<(), TurnedAway> {
        self.handshakes_per_second.map_or(Ok(()), |rate| {
            self.node()
                .begin(rate, now_ms)
                .map_err(|wait_ms| TurnedAway::for_ms(RateScope::Handshakes, wait_ms))
        })
    }

    /// Whether the user has as many connections as one may, without those that the newcomer
    /// replaces.
    pub(crate) fn is_full(&self, user: Option<&UserId>, replaces: Replaces) -> bool {
        let (Some(most), Some(user)) = (self.connections_per_user, user) else {
            return false;
        };
        let users = self.users();
        let present = users.get(user);
        present.is_some_and(|present| present.beside(replaces) >= most)
    }

    /// Counts a connection of the user, if that is of interest.
    pub(crate) fn enter(
        self: &Arc<Self>,
        user: Option<&UserId>,
        format: Format,
        session: SessionId,
    ) -> Option<UserPlace> {
        let user = user
            .filter(|_| self.connections_per_user.is_some())?
            .clone();
        let mut users = self.users();
        let present = users.entry(user.clone()).or_default();
        present.all += 1;
        present.chats += u32::from(format == Format::Chat);
        *present.sessions.entry(session).or_default() += 1;
        drop(users);
        let guests = Arc::clone(self);
        Some(UserPlace {
            guests,
            user,
            format,
            session,
        })
    }

    fn account<'a>(
        &self,
        addresses: &'a mut Addresses,
        address: IpAddr,
        now_ms: u64,
    ) -> (IpAddr, &'a mut Account) {
        let rate = self.handshakes_per_address.unwrap_or(0);
        addresses.sweep(rate, now_ms);
        let is_told_apart =
            addresses.known.len() < ADDRESSES || addresses.known.contains_key(&address);
        let address = if is_told_apart { address } else { OTHERS };
        let account = addresses.known.entry(address).or_insert_with(|| Account {
            open: 0,
            rates: Rates::full(rate, now_ms),
        });
        (address, account)
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self) -> MutexGuard<'_, Rates> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn users(&self) -> MutexGuard<'_, HashMap<UserId, Present>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Addresses {
    /// Forgets those that have no connection and a full bucket again, when the table has doubled or
    /// is full.
    fn sweep(&mut self, rate: u32, now_ms: u64) {
        if self.known.len() < self.sweep_at || now_ms < self.swept_ms.saturating_add(SWEEP_MS) {
            return;
        }
        self.swept_ms = now_ms;
        self.known
            .retain(|_, account| account.open > 0 || !account.rates.are_full(rate, now_ms));
        self.sweep_at = (self.known.len() * 2).clamp(1024, ADDRESSES);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((guests, address)) = self.0.take() else {
            return;
        };
        let mut addresses = guests.addresses();
        if let Some(account) = addresses.known.get_mut(&address) {
            account.open = account.open.saturating_sub(1);
            if account.open == 0 && guests.handshakes_per_address.is_none() {
                addresses.known.remove(&address);
            }
        }
    }
}

impl Present {
    /// Connections that stay beside a newcomer.
    fn beside(&self, newcomer: Replaces) -> u32 {
        let replaced = match newcomer {
            Replaces::Nothing => 0,
            Replaces::Session(session) => self.sessions.get(&session).copied().unwrap_or(0),
            Replaces::Chats => self.chats,
            Replaces::All => self.all,
        };
        self.all.saturating_sub(replaced)
    }
}

impl Drop for UserPlace {
    fn drop(&mut self) {
        let mut users = self.guests.users();
        let Some(present) = users.get_mut(&self.user) else {
            return;
        };
        present.all = present.all.saturating_sub(1);
        present.chats -= u32::from(self.format == Format::Chat && present.chats > 0);
        if let Some(count) = present.sessions.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                present.sessions.remove(&self.session);
            }
        }
        if present.all == 0 {
            users.remove(&self.user);
        }
    }
}

impl TurnedAway {
    /// `wait_ms` 0: nobody knows when there is room again.
    fn for_ms(scope: RateScope, wait_ms: u64) -> Self {
        let seconds = u32::try_from(wait_ms.div_ceil(1000)).unwrap_or(u32::MAX);
        let retry_after_s = if wait_ms == 0 { RETRY_AFTER_S } else { seconds };
        Self {
            scope,
            retry_after_s,
        }
    }

    /// 503 for what the node has no room for, 429 for what one client does.
    pub(crate) fn response(self) -> Response {
        if self.scope == RateScope::Handshakes {
            return retry_later(self.retry_after_s, "too many handshakes\n");
        }
        let text = match self.scope {
            RateScope::AddressConnections => "too many connections from this address\n",
            _ => "too many handshakes from this address\n",
        };
        let mut response = text_response(StatusCode::TOO_MANY_REQUESTS, text);
        let seconds = HeaderValue::from(self.retry_after_s);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
        response
    }
}

/// Whoever has one address of an IPv6 network has all of its /64.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guests(change: impl FnOnce(&mut LimitSettings)) -> Arc<Guests> {
        let mut limits = LimitSettings::default();
        change(&mut limits);
        Arc::new(Guests::new(&limits, Descriptors::of_process(1), 0))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_connections_and_gets_each_place_back() {
        let guests = guests(|limits| limits.connections_per_address = Some(2));
        let first = guests.admit(ip("192.0.2.1"), 0).unwrap();
        let _second = guests.admit(ip("192.0.2.1"), 0).unwrap();
        let refused = guests.admit(ip("192.0.2.1"), 0).unwrap_err();
        assert_eq!(refused.scope, RateScope::AddressConnections);
        assert_eq!(refused.response().status(), 429);
        guests.admit(ip("192.0.2.2"), 0).unwrap();
        drop(first);
        guests.admit(ip("192.0.2.1"), 0).unwrap();
        assert_eq!(
            guests.addresses().known.len(),
            1,
            "only who is there is known"
        );
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let guests = guests(|limits| limits.connections_per_address = Some(1));
        let _place = guests.admit(ip("2001:db8::1"), 0).unwrap();
        guests.admit(ip("2001:db8::ffff:2"), 0).unwrap_err();
        guests.admit(ip("2001:db8:0:1::1"), 0).unwrap();
    }

    #[test]
    fn handshakes_have_a_rate_and_the_refusal_says_when() {
        let guests = guests(|limits| {
            limits.handshakes_per_address = Some(2);
            limits.handshakes_per_second = Some(3);
        });
        let from = |address: &str, now_ms| guests.admit(ip(address), now_ms).map(drop);
        from("192.0.2.1", 0).unwrap();
        from("192.0.2.1", 0).unwrap();
        for _ in 0..5 {
            let refused = from("192.0.2.1", 0).unwrap_err();
            assert_eq!(refused.scope, RateScope::AddressHandshakes);
        }
        // It took two of the node's three, however often it came.
        from("192.0.2.3", 0).unwrap();
        let refused = from("192.0.2.2", 0).unwrap_err();
        assert_eq!(refused.scope, RateScope::Handshakes);
        let response = refused.response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        from("192.0.2.2", 1000).unwrap();
    }

    #[test]
    fn twice_the_rate_is_answered_and_the_rest_is_not_heard() {
        let guests = guests(|limits| {
            limits.handshakes_per_address = Some(2);
            limits.handshakes_per_second = Some(5);
        });
        let heard = |address: &str, now_ms| {
            let tries = (0..20).map(|_| guests.hear(ip(address), now_ms));
            tries.flatten().count()
        };
        assert_eq!(heard("192.0.2.1", 0), 4);
        assert_eq!(
            guests.hear(ip("192.0.2.1"), 0),
            Err(RateScope::AddressHandshakes)
        );
        // Whoever is not heard uses up nothing of what the node has for all.
        assert_eq!(heard("192.0.2.2", 0), 4);
        assert_eq!(heard("192.0.2.3", 0), 2);
        assert_eq!(guests.hear(ip("192.0.2.4"), 0), Err(RateScope::Handshakes));
        assert_eq!(heard("192.0.2.1", 1000), 4);
        // To be heard is not to be admitted.
        guests.admit(ip("192.0.2.1"), 1000).unwrap();
        guests.admit(ip("192.0.2.1"), 1000).unwrap();
        guests.admit(ip("192.0.2.1"), 1000).unwrap_err();
    }

    #[test]
    fn without_rates_everybody_is_heard() {
        let guests = guests(|limits| limits.connections_per_address = Some(1));
        for _ in 0..1000 {
            guests.hear(ip("192.0.2.1"), 0).unwrap();
        }
        assert!(guests.addresses().known.is_empty());
    }

    #[test]
    fn the_table_of_addresses_is_bounded() {
        let guests = guests(|limits| limits.handshakes_per_address = Some(1));
        for number in 0..200_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            drop(guests.admit(address, 0));
        }
        assert!(guests.addresses().known.len() <= ADDRESSES + 1);
        // Later they are forgotten.
        for number in 0..2_u32 {
            drop(guests.admit(IpAddr::from(number.to_be_bytes()), 10_000));
        }
        assert!(guests.addresses().known.len() < 10);
    }

    fn session(number: u8) -> SessionId {
        SessionId::from_random([number; 16], sparkway_protocol::Partition::default())
    }

    #[test]
    fn a_user_has_so_many_connections() {
        let guests = guests(|limits| limits.connections_per_user = Some(1));
        let user = UserId::parse("u").unwrap();
        let is_full = |user| guests.is_full(user, Replaces::Nothing);
        assert!(!is_full(Some(&user)));
        let place = guests.enter(Some(&user), Format::SparkJson, session(1));
        assert!(is_full(Some(&user)));
        assert!(!is_full(None));
        drop(place);
        assert!(!is_full(Some(&user)));
        assert!(guests.users().is_empty());
    }

    #[test]
    fn who_is_replaced_takes_no_place_from_whoever_replaces_him() {
        let guests = guests(|limits| limits.connections_per_user = Some(2));
        let user = UserId::parse("u").unwrap();
        let is_full = |replaces| guests.is_full(Some(&user), replaces);
        let chat = guests.enter(Some(&user), Format::Chat, session(1));
        let talk = guests.enter(Some(&user), Format::Conversation, session(2));
        assert!(is_full(Replaces::Nothing));
        assert!(is_full(Replaces::Session(session(3))));
        assert!(!is_full(Replaces::Chats));
        assert!(!is_full(Replaces::Session(session(2))));
        assert!(!is_full(Replaces::All));
        // The newcomer is there already, the other one still: a third is as welcome.
        let newcomer = guests.enter(Some(&user), Format::Conversation, session(2));
        assert!(!is_full(Replaces::Session(session(2))));
        drop(talk);
        assert!(!is_full(Replaces::Session(session(2))));
        assert!(is_full(Replaces::Session(session(1 + 2))));
        drop((newcomer, chat));
        assert!(guests.users().is_empty());
    }
}
