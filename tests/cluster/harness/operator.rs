//! A node inside the test, through whose handle an operator acts on the cluster.

use std::sync::Arc;

use sparkway_gateway::settings::{Algorithm, Key, Settings};
use sparkway_gateway::{Node, Revocation, Revoked};
use sparkway_store::redis::{RedisSettings, RedisStore};

use super::redis::Redis;
use super::tokens::SECRET;

/// A node over the same Redis as those of the test. It ends with the handle.
pub(crate) struct Operator(Node);

impl Operator {
    /// Starts the node.
    pub(crate) async fn start(redis: &Redis) -> Self {
        let store = RedisSettings::new(&redis.url()).expect("a URL");
        let store = RedisStore::connect(store).await.expect("Redis answers");
        let mut settings = Settings::default();
        let any = "127.0.0.1:0".parse().expect("an address");
        (settings.server.listen, settings.internal.listen) = (any, any);
        settings.auth.keys = vec![Key::new(Algorithm::Hs256, SECRET)];
        let node = Box::pin(Node::start(settings, Arc::new(store), 1)).await;
        Self(node.expect("the node starts"))
    }

    /// Revokes for as long as the default says, everything issued until now.
    pub(crate) async fn revoke(&self, what: Revoked) -> Revocation {
        self.0
            .revoke(what, None, None)
            .await
            .expect("the store takes it")
    }
}
