//! Looks at a server's version and settings when the store connects: what is too old is refused,
//! what endangers data is warned of.

use redis::cmd;

use super::backend::Backend;
use super::reply::{list_of, text_of};
use super::router::Lane;
use crate::StoreError;

/// Oldest server with every command that is used: ranges without their bounds.
const OLDEST: (u32, u32) = (6, 2);
/// Oldest cluster: sharded channels.
const OLDEST_CLUSTER: (u32, u32) = (7, 0);

impl Backend {
    /// Looks at the server of the first partition; the others are taken to be alike.
    pub(super) async fn survey(&self) -> Result<(), StoreError> {
        let partition = sparkway_protocol::Partition::default();
        let mut info = cmd("INFO");
        info.arg("server");
        let info = self.ask(Lane::Quick, partition, info).await?;
        let oldest = if self.router.is_cluster() {
            OLDEST_CLUSTER
        } else {
            OLDEST
        };
        let found = text_of(&info).and_then(version_in);
        let found = found.ok_or(StoreError::Corrupt("INFO without a version"))?;
        if found < oldest {
            return Err(StoreError::Layout(format!(
                "server version {}.{} is too old: at least {}.{} is needed",
                found.0, found.1, oldest.0, oldest.1
            )));
        }
        // Nobody follows a topic without a name. Without the right to announce, the append script
        // would fail after its first write.
        let mut announce = cmd(self.publish_word());
        announce.arg(self.keys.channel_stem(partition)).arg("");
        self.ask(Lane::Quick, partition, announce).await?;
        let mut policy = cmd("CONFIG");
        policy.arg("GET").arg("maxmemory-policy");
        // Hosted servers may not tell; then the operator has to know.
        let policy = self.ask(Lane::Quick, partition, policy).await;
        let policy = policy.ok().and_then(list_of).unwrap_or_default();
        if let Some(policy) = policy.get(1).and_then(text_of)
            && policy != "noeviction"
        {
            tracing::error!(
                policy,
                "maxmemory-policy has to be noeviction: a full server would drop messages unseen"
            );
        }
        Ok(())
    }
}

/// Major and minor version in the text of `INFO server`.
fn version_in(info: &str) -> Option<(u32, u32)> {
    let mut lines = info.lines();
    let version = lines.find_map(|line| line.strip_prefix("redis_version:"))?;
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let info = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n";
        assert_eq!(version_in(info), Some((7, 0)));
        assert_eq!(version_in("redis_version:255.255.255"), Some((255, 255)));
        assert_eq!(version_in("other:1"), None);
    }
}
