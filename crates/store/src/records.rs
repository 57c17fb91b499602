//! Small records of an application, by kind and key: kept until somebody writes them again.

use bytes::Bytes;

use crate::directory::Listed;
use crate::{BoxFuture, StoreError};

/// A kept record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it says, opaque to the store.
    pub value: Bytes,
    /// How often it was written: 1 when it is new.
    pub version: u64,
}

/// Records of an application. What holds for [`Store`](crate::Store) holds here: deadlines,
/// repeatable writes, any task at any time. All records of a kind are in one partition.
pub trait Records: Send + Sync {
    /// Reads records of a kind, in the order of the keys.
    ///
    /// # Errors
    /// [`StoreError`]: retry.
    fn records(
        &self,
        kind: &'static str,
        keys: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>, StoreError>>;

    /// Writes a record if it is still at this version (0: if there is none). `false` when
    /// somebody else was faster; a repeat of the same write is answered as the first time.
    ///
    /// # Errors
    /// [`StoreError`]: it may be written; repeat it.
    fn put_record(
        &self,
        kind: &'static str,
        key: String,
        value: Bytes,
        version: u64,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// A page of at most `limit` records of a kind. One that is there from the first page to the
    /// last is listed at least once.
    ///
    /// # Errors
    /// [`StoreError::Layout`]: `after` is no end of a page. Else retry.
    fn record_page(
        &self,
        kind: &'static str,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Listed<(String, Record)>, StoreError>>;
}
