//! The user that `docs/how-to/redis.md` makes: what it may not do, no node does.

const PAGE: &str = include_str!("../../../../docs/how-to/redis.md");
const COMMAND: &str = "ACL SETUSER sparkway ";

/// User and password as they stand in a URL, with the sign behind.
pub(crate) const WHO: &str = "sparkway:WORD@";

/// The options of a server that knows this user, for keys and channels that begin with `sw`.
pub(crate) fn options() -> Vec<String> {
    let (_, command) = PAGE.split_once(COMMAND).expect("the page makes a user");
    let (words, _) = command.split_once("\n```").expect("the block has an end");
    let words = words.replace(['\'', '\\'], "");
    // Some fixtures have a prefix of their own.
    let words = words.replace("sw:*", "sw*");
    let words = words.split_whitespace().map(str::to_owned);
    let user = ["--user", "sparkway"].map(str::to_owned);
    user.into_iter().chain(words).collect()
}

/// `redis://…` with the user in it.
pub(crate) fn as_user(url: &str) -> String {
    url.replace("://", &format!("://{WHO}"))
}
