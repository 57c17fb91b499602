//! Users: registered, logged in, listed.

use std::collections::HashSet;
use std::net::IpAddr;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use sparkway_gateway::application::lobby;
use sparkway_gateway::settings::{ChatUsers, PresenceScope};
use sparkway_gateway::site::Response;
use sparkway_gateway::site::decode_segment;
use sparkway_protocol::{UserId, iso8601};
use sparkway_store::presence::Standing;

use super::{Refusal, answer, refuse};
use crate::naming::hex;
use crate::users::User;
use crate::{Chat, ChatError};

/// Bounds of a name, in characters.
const NAME: std::ops::RangeInclusive<usize> = 2..=32;
/// Bounds of a password, in bytes: a longer one only costs time.
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=256;
/// Longest address of a picture, in bytes.
const AVATAR_BYTES: usize = 1024;
/// Users of one page.
const PAGE: usize = 50;
const PAGE_MAX: usize = 500;

#[derive(Deserialize)]
struct Account {
    username: String,
    password: String,
    #[serde(default)]
    avatar: Option<String>,
}

fn account(body: &Bytes) -> Result<Account, Refusal> {
    let missing = refuse(
        StatusCode::BAD_REQUEST,
        "Missing required fields: username and password",
    );
    serde_json::from_slice(body).map_err(|_| missing)
}

impl Account {
    fn check(&self) -> Result<(), Refusal> {
        let bad = |message| Err(refuse(StatusCode::BAD_REQUEST, message));
        let is_plain = |symbol: char| !symbol.is_control() && !symbol.is_whitespace();
        if !NAME.contains(&self.username.chars().count()) || !self.username.chars().all(is_plain) {
            return bad("username: 2 to 32 characters without white space");
        }
        if !PASSWORD.contains(&self.password.len()) {
            return bad("password: 8 to 256 bytes");
        }
        let is_long = |avatar: &String| avatar.len() > AVATAR_BYTES;
        if self.avatar.as_ref().is_some_and(is_long) {
            return bad("avatar: at most 1024 bytes");
        }
        Ok(())
    }
}

impl Chat {
    /// Where tokens say who a user is, nobody registers or logs in here.
    fn has_accounts(&self) -> Result<(), Refusal> {
        match self.settings.users {
            ChatUsers::Registered => Ok(()),
            ChatUsers::Claims => Err(refuse(
                StatusCode::FORBIDDEN,
                "Users come from their tokens: nobody registers or logs in here",
            )),
        }
    }

    pub(super) async fn register(&self, from: IpAddr, body: &Bytes) -> Result<Response, Refusal> {
        self.has_accounts()?;
        let account = account(body)?;
        account.check()?;
        self.may_register(from)?;
        let id: [u8; 12] = rand::random();
        let id = hex(&id);
        let user = User {
            id: id.into(),
            username: account.username.into(),
            avatar: account.avatar.map(String::into_boxed_str),
            password: Some(self.passwords.hash(account.password).await?),
            created_ms: self.unix_ms(),
        };
        let mut added = self.users.add(user.clone()).await;
        if let Err(ChatError::Store(_)) = added {
            // It may have happened: the same id is found again.
            added = self.users.add(user.clone()).await;
        }
        if !added? {
            return Err(refuse(StatusCode::CONFLICT, "Username already taken"));
        }
        self.logged_in(StatusCode::CREATED, &user)
    }

    pub(super) async fn login(&self, from: IpAddr, body: &Bytes) -> Result<Response, Refusal> {
        self.has_accounts()?;
        let account = account(body)?;
        let name = account.username.to_lowercase();
        self.may_log_in(from, &name)?;
        let wrong = || refuse(StatusCode::UNAUTHORIZED, "Invalid username or password");
        if account.password.len() > *PASSWORD.end() {
            return Err(wrong());
        }
        let user = self.users.find_by_name(&account.username).await?;
        let hash = user.as_ref().and_then(|user| user.password.clone());
        let is_right = self.passwords.is_right(account.password, hash).await?;
        match user {
            Some(user) if is_right => {
                self.logged_in_to(&name);
                self.logged_in(StatusCode::OK, &user)
            }
            Some(_) | None => Err(wrong()),
        }
    }

    fn logged_in(&self, status: StatusCode, user: &User) -> Result<Response, Refusal> {
        let token = self.tokens.give(user, self.unix_ms())?;
        Ok(answer(
            status,
            &json!({"token": token, "user": shown(user)}),
        ))
    }

    pub(super) async fn list_users(
        &self,
        asker: &User,
        query: Option<&str>,
    ) -> Result<Response, Refusal> {
        let limit = value(query, "limit").map(|text| text.parse::<usize>());
        let limit = match limit {
            None => PAGE,
            Some(Ok(limit @ 1..=PAGE_MAX)) => limit,
            Some(_) => return Err(refuse(StatusCode::BAD_REQUEST, "limit: 1 to 500")),
        };
        let page = self.users.list(value(query, "after"), limit).await?;
        let standings = self.standings(asker, &page.users).await?;
        let users = page.users.iter().zip(standings);
        let users: Vec<Value> = users
            .map(|(user, standing)| described(user, standing))
            .collect();
        Ok(answer(
            StatusCode::OK,
            &json!({"users": users, "next": page.next}),
        ))
    }

    pub(super) async fn show_user(&self, asker: &User, id: &str) -> Result<Response, Refusal> {
        let unknown = || refuse(StatusCode::NOT_FOUND, "User not found");
        let id = decode_segment(id);
        let found = self.users.find(vec![id.into_owned().into()]).await?;
        let user = found.into_iter().next().flatten().ok_or_else(unknown)?;
        let users = [user];
        let standings = self.standings(asker, &users).await?;
        let [user] = users;
        let standing = standings.first().copied().flatten();
        Ok(answer(StatusCode::OK, &described(&user, standing)))
    }

    /// Who of these users is online, or was; `None` where it is not for the asker to know.
    async fn standings(
        &self,
        asker: &User,
        users: &[User],
    ) -> Result<Vec<Option<Standing>>, ChatError> {
        let ids = users.iter().map(|user| UserId::parse(&user.id).ok());
        let (Some(ids), Some(lobby)) = (ids.collect::<Option<Vec<_>>>(), lobby()) else {
            return Ok(vec![Some(ABSENT); users.len()]);
        };
        let standings = self.store.standings(lobby, ids).await?;
        if self.settings.presence_scope == PresenceScope::All {
            return Ok(standings.into_iter().map(Some).collect());
        }
        let me = UserId::parse(&asker.id).map_err(|_| ChatError::Corrupt("a user's id"))?;
        let contacts = self.contacts.of(&me).await?;
        let known: HashSet<&str> = contacts.iter().chain([&me]).map(UserId::as_str).collect();
        let is_known = |user: &User| known.contains(&*user.id);
        let shown = users.iter().zip(standings);
        let shown = shown.map(|(user, standing)| is_known(user).then_some(standing));
        Ok(shown.collect())
    }
}

const ABSENT: Standing = Standing {
    present: false,
    last_seen_ms: None,
};

fn shown(user: &User) -> Value {
    json!({"_id": user.id, "id": user.id, "username": user.username, "avatar": user.avatar})
}

fn described(user: &User, standing: Option<Standing>) -> Value {
    let mut shown = shown(user);
    if let Some(fields) = shown.as_object_mut() {
        let present = standing.map(|standing| standing.present);
        fields.insert("isOnline".to_owned(), json!(present));
        let last_seen = standing.and_then(|standing| standing.last_seen_ms);
        let last_seen = last_seen.map(iso8601);
        fields.insert("lastSeen".to_owned(), json!(last_seen));
    }
    shown
}

/// The first value of a name in a query.
pub(super) fn value(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(found, _)| *found == name);
    found.map(|(_, value)| decode_segment(value).into_owned())
}
