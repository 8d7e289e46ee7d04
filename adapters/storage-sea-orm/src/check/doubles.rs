//! Messages that are in two chunks of a device at once.

use std::collections::BTreeMap;

use pocket_telemetry_codec::Chunk;
use sea_orm::DatabaseTransaction;

use crate::error::Error;
use crate::telemetry::Chunks;

/// Ids that are compared at a time; twice as many, of 16 bytes each, are held.
const MOST: usize = 1_000_000;

/// A chunk, by the ids that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) key: i64,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// How many ids two chunks share, and the first of these.
pub(super) type Shared = BTreeMap<(i64, i64), (u64, u64)>;

/// What chunks of one device share.
pub(super) async fn shared(transaction: &DatabaseTransaction, spans: Vec<Span>) -> Result<Shared, Error> {
    shared_within(transaction, overlapping(spans), MOST).await
}

/// The chunks whose ids may be those of another, by their first id.
fn overlapping(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.first, span.last));
    let mut is_met = vec![false; spans.len()];
    let mut widest = 0;
    for n in 1..spans.len() {
        if spans[n].first <= spans[widest].last {
            (is_met[n], is_met[widest]) = (true, true);
        }
        if spans[n].last > spans[widest].last {
            widest = n;
        }
    }
    spans.into_iter().zip(is_met).filter_map(|(span, is_met)| is_met.then_some(span)).collect()
}

/// Goes through the ids from the smallest on, about `most` at a time.
async fn shared_within(transaction: &DatabaseTransaction, spans: Vec<Span>, most: usize) -> Result<Shared, Error> {
    let mut shared = Shared::new();
    let mut from = Some(0);
    while let Some(begin) = from {
        let mut held: Vec<(u64, i64)> = Vec::new();
        let mut end = u64::MAX;
        for span in spans.iter().filter(|span| span.last >= begin) {
            if span.first > end {
                break;
            }
            let ids = ids(transaction, span.key).await?;
            held.extend(ids.into_iter().filter(|id| (begin..=end).contains(id)).map(|id| (id, span.key)));
            if held.len() > 2 * most {
                let (_, next, _) = held.select_nth_unstable(most);
                // One id is never in more chunks than that.
                end = next.0.saturating_sub(1).max(begin);
                held.retain(|(id, _)| *id <= end);
            }
        }
        held.sort_unstable();
        for pair in held.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            shared.entry((pair[0].1, pair[1].1)).or_insert((0, pair[0].0)).0 += 1;
        }
        from = end.checked_add(1);
    }
    Ok(shared)
}

/// The different ids of a chunk; none where it cannot be read, which is told elsewhere.
async fn ids(transaction: &DatabaseTransaction, key: i64) -> Result<Vec<u64>, Error> {
    let content = Chunks::contents(transaction, &[key]).await?.pop().map(|(_, content)| content).unwrap_or_default();
    let mut ids = Chunk::open(&content).and_then(|chunk| chunk.ids()).unwrap_or_default();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use pocket_telemetry_codec::{Row, encode};
    use sea_orm::TransactionTrait;

    use super::*;
    use crate::broker::insert;
    use crate::sample::Sample;

    fn span(key: i64, first: u64, last: u64) -> Span {
        Span { key, first, last }
    }

    #[test]
    fn only_chunks_that_may_share_ids_are_read_again() {
        let keys = |spans: &[(u64, u64)]| {
            let spans = (0..).zip(spans).map(|(key, (first, last))| span(key, *first, *last)).collect();
            overlapping(spans).iter().map(|span| span.key).collect::<Vec<_>>()
        };
        assert_eq!(keys(&[]), [0; 0]);
        assert_eq!(keys(&[(5, 9), (0, 4), (10, 12)]), [0; 0]);
        assert_eq!(keys(&[(5, 9), (0, 5), (10, 12)]), [1, 0]);
        assert_eq!(keys(&[(0, 100), (1, 2), (3, 4), (101, 110), (99, 99)]), [0, 1, 2, 4]);
    }

    #[tokio::test]
    async fn ids_in_two_chunks_are_found_however_few_are_held() {
        let sample = Sample::new().await;
        let chunks: [&[u64]; 4] = [&[1, 2, 3, 4, 5, 6], &[4, 7, 8], &[9, 10, 3], &[11, 12]];
        let mut spans = Vec::new();
        for (key, ids) in (1..).zip(chunks) {
            let row = |(n, id): (i64, &u64)| Row { id: *id, timestamp: n, received_at: n, topic: 1, payload: "1" };
            let content = encode(&(0..).zip(ids).map(row).collect::<Vec<_>>()).unwrap();
            let values = vec![1.into(), 1.into(), 0.into(), 0.into(), 9.into(), 3.into(), 1.into(), content.into()];
            let transaction = sample.database.begin().await.unwrap();
            let target = "telemetry_chunks (tenant, device, batch, first_at, last_at, row_count, bytes, content)";
            insert(&transaction, target, 8, "", values).await.unwrap();
            transaction.commit().await.unwrap();
            spans.push(span(key, *ids.iter().min().unwrap(), *ids.iter().max().unwrap()));
        }
        let transaction = sample.database.reader().begin().await.unwrap();
        let expected = Shared::from([((1, 2), (1, 4)), ((1, 3), (1, 3))]);
        for most in 1..9 {
            assert_eq!(
                shared_within(&transaction, overlapping(spans.clone()), most).await.unwrap(),
                expected,
                "{most}"
            );
        }
        assert_eq!(shared(&transaction, spans).await.unwrap(), expected);
    }
}
