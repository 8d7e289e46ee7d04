use std::future::Future;
use std::pin::Pin;

use pocket_domain::Timestamp;

use super::*;

fn tenant(n: u8) -> TenantId {
    TenantId::new(Timestamp::MIN, [n; 10])
}

fn slots(places: usize, line: usize) -> FairSlots {
    FairSlots::new(SlotLimits { places, line, lines: 8, patience: Duration::from_secs(10) })
}

type Entering = Pin<Box<dyn Future<Output = Result<FairSlot, Error>>>>;

/// A caller that is in its line.
async fn waiting(slots: &FairSlots, tenant: TenantId) -> Entering {
    let slots = slots.clone();
    let mut entering: Entering = Box::pin(async move { slots.enter(tenant).await });
    assert!(is_waiting(&mut entering).await);
    entering
}

async fn is_waiting(entering: &mut Entering) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(entering.as_mut().poll(context).is_pending())).await
}

#[tokio::test(start_paused = true)]
async fn a_tenant_holds_at_most_half_of_the_places() {
    for (places, share) in [(1, 1), (2, 1), (3, 1), (4, 2), (9, 4)] {
        let slots = slots(places, 0);
        let held: Vec<_> = (0..share).map(|_| slots.try_enter(tenant(1)).unwrap()).collect();
        let refused = slots.try_enter(tenant(1)).unwrap_err();
        assert!(matches!(&refused, Error::Busy { limit, .. } if limit.contains("of this tenant")), "{refused}");
        if places > 1 {
            assert!(slots.try_enter(tenant(2)).is_ok());
        }
        drop(held);
        assert!(slots.try_enter(tenant(1)).is_ok());
        assert_eq!(slots.stats().taken, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_line_is_refused_and_lines_of_others_are_not() {
    let slots = slots(2, 3);
    let _held = [slots.try_enter(tenant(1)).unwrap(), slots.try_enter(tenant(2)).unwrap()];
    let mut lines = Vec::new();
    for _ in 0..3 {
        lines.push(waiting(&slots, tenant(1)).await);
    }
    let refused = slots.enter(tenant(1)).await.unwrap_err();
    assert!(matches!(refused, Error::Busy { retry_after, .. } if retry_after == FairSlots::<TenantId>::RETRY_AFTER));
    for _ in 0..3 {
        lines.push(waiting(&slots, tenant(2)).await);
    }
    for _ in 0..2 {
        lines.push(waiting(&slots, tenant(3)).await);
    }
    let refused = slots.enter(tenant(4)).await.unwrap_err();
    assert!(matches!(&refused, Error::Busy { limit, .. } if limit.contains("2 requests of this kind")), "{refused}");
    assert_eq!(slots.stats(), SlotStats { taken: 2, waiting: 8, served: 2, refused: 2, gone: 0 });
}

#[tokio::test(start_paused = true)]
async fn free_places_go_to_one_tenant_after_the_other() {
    let slots = slots(2, 4);
    let mut held = vec![slots.enter(tenant(1)).await.unwrap(), slots.enter(tenant(2)).await.unwrap()];
    let mut first =
        [waiting(&slots, tenant(1)).await, waiting(&slots, tenant(1)).await, waiting(&slots, tenant(1)).await];
    let mut second = waiting(&slots, tenant(2)).await;
    let mut third = waiting(&slots, tenant(3)).await;
    // The place of tenant 2 is free: tenant 1 has its share, so the turn is that of 2, then of 3.
    drop(held.pop());
    assert!(is_waiting(&mut first[0]).await && is_waiting(&mut third).await);
    let of_second = second.as_mut().await.unwrap();
    drop(held.pop());
    assert!(is_waiting(&mut first[0]).await, "the third tenant comes before the second turn of the first");
    let _of_third = third.await.unwrap();
    drop(of_second);
    let _of_first = first[0].as_mut().await.unwrap();
    assert!(is_waiting(&mut first[1]).await);
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_leaves_the_line_and_gives_back_the_place() {
    let slots = slots(1, 4);
    let held = slots.enter(tenant(1)).await.unwrap();
    let gone = waiting(&slots, tenant(1)).await;
    let mut next = waiting(&slots, tenant(2)).await;
    drop(gone);
    assert_eq!((slots.stats().waiting, slots.stats().gone), (1, 1));
    drop(held);
    // A place that was given and never taken up is free again.
    let unserved = waiting(&slots, tenant(3)).await;
    assert_eq!((slots.stats().taken, slots.stats().waiting), (1, 1));
    let of_next = next.as_mut().await.unwrap();
    drop(of_next);
    assert_eq!(slots.stats().taken, 1);
    drop(unserved);
    assert_eq!(slots.stats(), SlotStats { taken: 0, waiting: 0, served: 3, refused: 0, gone: 1 });
    assert!(slots.0.lock().tenants.is_empty() && slots.0.lock().turns.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_patience() {
    let slots = slots(1, 4);
    let held = slots.enter(tenant(1)).await.unwrap();
    let begun = tokio::time::Instant::now();
    let refused = slots.enter(tenant(2)).await.unwrap_err();
    assert!(matches!(refused, Error::Busy { .. }));
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    assert_eq!(slots.stats(), SlotStats { taken: 1, waiting: 0, served: 1, refused: 1, gone: 0 });
    // Work that has begun waits as long as it takes, in a line that is full as well.
    let mut begun = Box::pin(slots.go_on(tenant(3)));
    tokio::select! {
        _ = &mut begun => panic!("no place is free"),
        () = tokio::time::sleep(Duration::from_secs(100)) => {}
    }
    drop(held);
    drop(begun.await.unwrap());
    assert!(slots.try_enter(tenant(2)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_tenant_with_a_long_line_delays_others_by_one_turn_only() {
    let slots = slots(2, 8);
    let mut held = vec![slots.enter(tenant(1)).await.unwrap(), slots.enter(tenant(2)).await.unwrap()];
    let mut crowd = Vec::new();
    for _ in 0..5 {
        crowd.push(waiting(&slots, tenant(1)).await);
    }
    let mut other = waiting(&slots, tenant(3)).await;
    held.remove(0);
    assert!(!is_waiting(&mut crowd[0]).await);
    held.clear();
    assert!(!is_waiting(&mut other).await, "it comes before the second of the crowd");
}
