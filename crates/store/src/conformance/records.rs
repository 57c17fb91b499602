//! Records of an application.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::fixture::Fixture;
use super::sample::Bench;
use crate::records::Record;

const KIND: &str = "check";

async fn put(bench: &Bench, key: &str, value: &'static [u8], version: u64) -> bool {
    let value = Bytes::from_static(value);
    let put = bench.store.put_record(KIND, key.to_owned(), value, version);
    put.await.unwrap()
}

async fn get(bench: &Bench, key: &str) -> Option<Record> {
    let found = bench.store.records(KIND, vec![key.to_owned()]).await;
    found.unwrap().pop().unwrap()
}

pub(super) async fn a_record_is_written_by_who_saw_it_last(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    assert_eq!(get(&bench, "a").await, None);
    assert!(put(&bench, "a", b"one", 0).await);
    assert!(
        put(&bench, "a", b"one", 0).await,
        "a repeat finds its own work"
    );
    assert!(!put(&other, "a", b"two", 0).await, "somebody was faster");
    let value = Bytes::from_static(b"one");
    assert_eq!(get(&other, "a").await, Some(Record { value, version: 1 }));
    assert!(put(&other, "a", b"\0 2 \xff", 1).await);
    assert!(!put(&bench, "a", b"three", 1).await);
    let value = Bytes::from_static(b"\0 2 \xff");
    assert_eq!(get(&bench, "a").await, Some(Record { value, version: 2 }));
    assert!(!put(&bench, "b", b"x", 7).await, "there is none");
    let keys = ["b", "a"].map(str::to_owned).to_vec();
    let found = bench.store.records(KIND, keys).await.unwrap();
    assert_eq!(
        found.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true]
    );
    assert!(
        bench
            .store
            .records("other", vec!["a".to_owned()])
            .await
            .unwrap()
            == [None]
    );
}

pub(super) async fn of_many_writers_at_once_one_writes(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    for version in 0..10 {
        let writers = (0..8).map(|writer| {
            let bench = Bench::new(fixture);
            async move {
                let value = Bytes::from(format!("{version} {writer}"));
                let put = bench
                    .store
                    .put_record(KIND, "race".to_owned(), value, version);
                put.await.unwrap()
            }
        });
        let written = futures_util::future::join_all(writers).await;
        assert_eq!(written.iter().filter(|&&written| written).count(), 1);
    }
    assert_eq!(get(&bench, "race").await.unwrap().version, 10);
}

pub(super) async fn records_are_listed_whatever_the_page(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let mut all = BTreeMap::new();
    for at in 0..600 {
        let key = format!("key {at}:{}", at % 7);
        let value = Bytes::from(at.to_string());
        let put = bench.store.put_record(KIND, key.clone(), value.clone(), 0);
        assert!(put.await.unwrap());
        all.insert(key, value);
    }
    for limit in [1, 50, 1000] {
        let (mut found, mut after) = (BTreeMap::new(), None);
        loop {
            let page = bench.store.record_page(KIND, after, limit).await.unwrap();
            assert!(page.items.len() <= limit);
            found.extend(
                page.items
                    .into_iter()
                    .map(|(key, record)| (key, record.value)),
            );
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, all);
    }
    let none = bench.store.record_page("none", None, 10).await.unwrap();
    assert!(none.items.is_empty() && none.next.is_none());
}
