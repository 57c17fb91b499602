//! Compares how the data is laid out with how this node would lay it out.

use redis::{Pipeline, Value, cmd};
use sparkway_protocol::Partitions;
use sparkway_protocol::id::ID_EPOCH_MS;

use super::backend::Backend;
use super::keys::{self, Keys};
use super::link::Live;
use super::reply::{bytes_of, list_of, text_of};
use super::router::{Lane, Repeat, Router};
use super::settings::RedisSettings;
use crate::StoreError;

/// Raised when keys or their contents change in a way that older nodes would misread.
const VERSION: &str = "1";
const HASH: &str = "xxh3-64";
/// Partitions of new data on a cluster.
const CLUSTER_PARTITIONS: Partitions = match Partitions::new(16) {
    Some(sixteen) => sixteen,
    None => Partitions::ONE,
};

/// What `cfg` says.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) partitions: Partitions,
    pub(super) cluster_key: [u8; 32],
}

/// Writes what is missing in `cfg`, once for ever, and reads what stands there.
pub(super) async fn settle(
    router: &Router,
    settings: &RedisSettings,
) -> Result<Layout, StoreError> {
    let wanted = settings.partitions.unwrap_or(if router.is_cluster() {
        CLUSTER_PARTITIONS
    } else {
        Partitions::ONE
    });
    let found = write_missing(router, &settings.key_prefix, wanted, &rand::random()).await?;
    compare(&found, settings.partitions)
}

/// Writes again what a server without its data has lost, so that a node that starts later lays it
/// out as it was and signs with the same key.
pub(super) async fn affirm(backend: &Backend) -> Result<(), StoreError> {
    let (layout, key) = (backend.layout, &backend.cluster_key);
    let found = write_missing(&backend.router, backend.keys.prefix(), layout, key).await?;
    let stored = compare(&found, Some(layout))?;
    if stored.cluster_key == *key {
        Ok(())
    } else {
        Err(StoreError::Layout("cluster_key of the data".to_owned()))
    }
}

async fn write_missing(
    router: &Router,
    prefix: &str,
    partitions: Partitions,
    cluster_key: &[u8; 32],
) -> Result<Vec<Value>, StoreError> {
    let key = Keys::cfg(prefix);
    let build = |_: &Live| {
        let mut pipeline = Pipeline::new();
        let mut once = |field: &str, value: &[u8]| {
            let mut set = cmd("HSETNX");
            set.arg(&key).arg(field).arg(value);
            pipeline.add_command(set);
        };
        once("layout", VERSION.as_bytes());
        once("partitions", partitions.count().to_string().as_bytes());
        once("hash", HASH.as_bytes());
        once("id_epoch_ms", ID_EPOCH_MS.to_string().as_bytes());
        once("cluster_key", cluster_key);
        pipeline.cmd("HGETALL").arg(&key);
        pipeline
    };
    let slot = keys::slot(&key);
    let mut answers = router.call(Lane::Quick, slot, Repeat::Safe, build).await?;
    Ok(answers.pop().and_then(list_of).unwrap_or_default())
}

fn compare(found: &[Value], wanted: Option<Partitions>) -> Result<Layout, StoreError> {
    let (pairs, _) = found.as_chunks::<2>();
    let value = |field: &str| {
        let pair = pairs
            .iter()
            .find(|[name, _]| bytes_of(name) == Some(field.as_bytes()));
        pair.map(|[_, value]| value)
    };
    for (field, ours) in [
        ("layout", VERSION.to_owned()),
        ("hash", HASH.to_owned()),
        ("id_epoch_ms", ID_EPOCH_MS.to_string()),
    ] {
        let theirs = value(field).and_then(text_of).unwrap_or("nothing");
        if theirs != ours {
            return Err(StoreError::Layout(format!(
                "{field} of the data is {theirs}, of this version {ours}"
            )));
        }
    }
    let partitions = value("partitions")
        .and_then(text_of)
        .and_then(|count| Partitions::new(count.parse().ok()?))
        .ok_or(StoreError::Layout("partitions of the data".to_owned()))?;
    if let Some(wanted) = wanted
        && wanted != partitions
    {
        return Err(StoreError::Layout(format!(
            "partitions of the data are {}, configured are {}",
            partitions.count(),
            wanted.count()
        )));
    }
    let cluster_key = value("cluster_key")
        .and_then(bytes_of)
        .and_then(|key| key.try_into().ok())
        .ok_or(StoreError::Layout("cluster_key of the data".to_owned()))?;
    Ok(Layout {
        partitions,
        cluster_key,
    })
}
