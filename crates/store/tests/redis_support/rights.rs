//! The user that `docs/how-to/redis.md` makes: what it may not do, no node does.

const PAGE: &str = include_str!("../../../../docs/how-to/redis.md");
const COMMAND: &str = "ACL SETUSER sparkway ";

/// User and password as they stand in a URL, with the sign behind.
pub(crate) const WHO: &str = "sparkway:WORD@";

/// The options of a server that knows this user, for keys and channels that begin with `sw`.
pub(crate) fn options() -> Vec<String> {
    option(PAGE.split(COMMAND).skip(1).take(1))
}

/// The same for a node of a cluster.
pub(crate) fn options_of_cluster() -> Vec<String> {
    option(PAGE.split(COMMAND).skip(1))
}

fn option<'a>(commands: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut option = ["--user", "sparkway"].map(str::to_owned).to_vec();
    for command in commands {
        let (words, _) = command.split_once("\n```").expect("the block has an end");
        // Some fixtures have a prefix of their own.
        let words = words.replace(['\'', '\\'], "").replace("sw:*", "sw*");
        option.extend(words.split_whitespace().map(str::to_owned));
    }
    assert!(option.len() > 10, "the page makes a user: {option:?}");
    option
}

/// `redis://…` with the user in it.
pub(crate) fn as_user(url: &str) -> String {
    url.replace("://", &format!("://{WHO}"))
}
