//! Listings over all partitions, page by page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use futures_util::future::BoxFuture;
use sparkway_protocol::{Partition, Partitions};
use sparkway_store::StoreError;
use sparkway_store::directory::Listed;

use crate::problem::Problem;

/// Reads of the store per page: a sparse listing ends its page early, and goes on in the next.
const READS_MAX: usize = 32;

/// Where a page begins: a partition, and where the store's page before ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    partition: u8,
    after: Option<String>,
}

impl Cursor {
    /// The beginning, or what a client was given as `next`.
    pub(crate) fn read(text: Option<&str>) -> Result<Self, Problem> {
        let Some(text) = text else {
            return Ok(Self {
                partition: 0,
                after: None,
            });
        };
        Self::parse(text).ok_or_else(|| Problem::invalid("cursor: is no `next` of a page"))
    }

    fn parse(text: &str) -> Option<Self> {
        let decoded = BASE64.decode(text).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (partition, after) = text.split_once('.')?;
        Some(Self {
            partition: partition.parse().ok()?,
            after: (!after.is_empty()).then(|| after.to_owned()),
        })
    }

    /// The cursor as a client sees it: opaque.
    pub(crate) fn write(&self) -> String {
        let after = self.after.as_deref().unwrap_or_default();
        BASE64.encode(format!("{}.{after}", self.partition))
    }
}

/// What to read of one partition: where the page before ended, and how many at most.
pub(crate) struct Turn {
    pub(crate) partition: Partition,
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
}

/// Walks over the partitions until the page is full. `keep` makes an item of the answer, or leaves
/// it out.
pub(crate) async fn walk<T, K>(
    layout: Partitions,
    mut cursor: Cursor,
    limit: usize,
    read: impl Fn(Turn) -> BoxFuture<'static, Result<Listed<T>, StoreError>>,
    keep: impl Fn(T) -> Option<K>,
) -> Result<(Vec<K>, Option<String>), Problem> {
    let mut found = Vec::new();
    for _ in 0..READS_MAX {
        let Some(partition) = layout.iter().nth(usize::from(cursor.partition)) else {
            return Ok((found, None));
        };
        let room = limit - found.len();
        if room == 0 {
            break;
        }
        let turn = Turn {
            partition,
            after: cursor.after.take(),
            limit: room,
        };
        let page = read(turn).await?;
        found.extend(page.items.into_iter().filter_map(&keep));
        cursor.after = page.next;
        if cursor.after.is_none() {
            cursor.partition += 1;
        }
    }
    let goes_on = usize::from(cursor.partition) < usize::from(layout.count());
    Ok((found, goes_on.then(|| cursor.write())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        for (partition, after) in [(0, None), (15, Some("12:a/b.c")), (3, Some("."))] {
            let cursor = Cursor {
                partition,
                after: after.map(str::to_owned),
            };
            assert_eq!(Cursor::read(Some(&cursor.write())), Ok(cursor));
        }
        for wrong in ["", "x", "!!", "MQ", "LQ"] {
            assert!(Cursor::read(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
