use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const LIMITS: ThrottleLimits = ThrottleLimits { per_account: 2, per_source: 5, window: Duration::from_secs(60) };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000).unwrap()
}

fn address(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from(0x0a00_0000 + number).into()
}

impl LoginThrottle {
    /// Whether an attempt would be heard.
    fn check(&self, source: IpAddr, account: &str, now: Timestamp) -> Result<(), Duration> {
        self.begin_unguessable(source, Some(account.as_bytes()), now).map(Attempt::withdrawn)
    }

    fn fail(&self, source: IpAddr, account: &str, now: Timestamp) {
        self.failed(self.keys(source, Some(account.as_bytes())), now);
    }

    fn succeed(&self, source: IpAddr, account: &str) {
        self.succeeded(self.keys(source, Some(account.as_bytes())), false);
    }

    fn entries(&self) -> usize {
        self.lock().windows.len()
    }
}

#[test]
fn an_account_is_heard_until_its_limit_and_again_after_the_window() {
    let throttle = LoginThrottle::new(LIMITS);
    throttle.fail(HERE, "ann", at(0));
    assert_eq!(throttle.check(HERE, "ann", at(1)), Ok(()));
    throttle.fail(HERE, "ann", at(1));
    assert_eq!(throttle.check(HERE, "ann", at(10)), Err(Duration::from_secs(50)));
    assert_eq!(throttle.check(HERE, "bob", at(10)), Ok(()));
    assert_eq!(throttle.check(HERE, "ann", at(60)), Ok(()));
}

#[test]
fn failures_for_an_account_lock_nobody_out_who_logs_in_from_elsewhere() {
    let throttle = LoginThrottle::new(LIMITS);
    for number in 1..1_000 {
        for _ in 0..5 {
            throttle.fail(address(number), "ann", at(0));
        }
    }
    assert!(throttle.check(address(1), "ann", at(1)).is_err());
    assert_eq!(throttle.check(HERE, "ann", at(1)), Ok(()));
}

#[test]
fn while_an_account_is_attacked_a_source_that_it_does_not_know_has_one_guess() {
    let throttle = LoginThrottle::new(LIMITS);
    throttle.succeed(HERE, "ann");
    for number in 1..=LIMITS.per_account_everywhere() {
        throttle.fail(address(number), "ann", at(0));
    }
    let (new, known) = (address(1_000), HERE);
    throttle.fail(new, "ann", at(1));
    throttle.fail(known, "ann", at(1));
    assert!(throttle.check(new, "ann", at(1)).is_err());
    assert_eq!(throttle.check(new, "bob", at(1)), Ok(()));
    assert_eq!(throttle.check(known, "ann", at(1)), Ok(()));
    throttle.fail(known, "ann", at(1));
    assert!(throttle.check(known, "ann", at(1)).is_err());
}

#[test]
fn a_source_is_heard_until_its_limit() {
    let throttle = LoginThrottle::new(LIMITS);
    for n in 0..5 {
        assert_eq!(throttle.check(HERE, "new", at(0)), Ok(()));
        throttle.fail(HERE, &format!("account{n}"), at(0));
    }
    assert!(throttle.check(HERE, "new", at(0)).is_err());
    assert_eq!(throttle.check(address(1), "new", at(0)), Ok(()));
}

#[test]
fn who_logged_in_from_an_address_before_is_heard_though_others_fail_behind_it() {
    let throttle = LoginThrottle::new(LIMITS);
    throttle.succeed(HERE, "ann");
    for n in 0..50 {
        throttle.fail(HERE, &format!("invented{n}"), at(0));
    }
    assert_eq!(throttle.check(HERE, "ann", at(1)), Ok(()));
    assert!(throttle.check(HERE, "bob", at(1)).is_err());
}

#[test]
fn an_ipv6_network_is_one_source() {
    assert_eq!(network_of("2001:db8::1".parse().unwrap()), network_of("2001:db8::ffff:2".parse().unwrap()));
    assert_eq!(network_of("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
}

#[test]
fn a_clock_that_is_put_back_locks_nobody_out() {
    let throttle = LoginThrottle::new(LIMITS);
    for _ in 0..LIMITS.per_account {
        throttle.fail(HERE, "somebody", at(50_000));
    }
    assert!(throttle.check(HERE, "somebody", at(50_000)).is_err());
    assert_eq!(throttle.check(HERE, "somebody", at(10)), Ok(()));
    throttle.fail(HERE, "somebody", at(10));
    assert_eq!(throttle.check(HERE, "somebody", at(10)), Ok(()));
}

#[test]
fn a_flood_of_names_neither_grows_the_table_nor_frees_a_guesser() {
    let throttle = LoginThrottle::new(ThrottleLimits { per_source: u32::MAX, ..LIMITS });
    for _ in 0..2 {
        throttle.fail(HERE, "guesser", at(0));
    }
    for n in 0..2 * LoginThrottle::MAX_ENTRIES {
        throttle.fail(HERE, &format!("flood{n}"), at(1));
    }
    assert!(throttle.entries() <= LoginThrottle::MAX_ENTRIES);
    assert!(throttle.check(HERE, "guesser", at(2)).is_err());
}

#[test]
fn entries_go_when_their_window_is_over() {
    let throttle = LoginThrottle::new(LIMITS);
    for number in 0..1_000 {
        throttle.fail(address(number), "ann", at(0));
    }
    throttle.fail(HERE, "bob", at(61));
    assert_eq!(throttle.entries(), 3);
}

#[tokio::test(start_paused = true)]
async fn of_attempts_in_parallel_no_more_are_heard_than_may_fail() {
    let throttle = LoginThrottle::new(LIMITS);
    let first = throttle.begin(HERE, Some("ann"), at(0)).await.unwrap();
    let second = throttle.begin(HERE, Some("ann"), at(0)).await.unwrap();
    let third = throttle.begin(HERE, Some("ann"), at(0));
    let judge = async {
        tokio::task::yield_now().await;
        drop(first);
        drop(second);
    };
    let (third, ()) = tokio::join!(third, judge);
    assert_eq!(third.err(), Some(LIMITS.window));
}

#[tokio::test(start_paused = true)]
async fn attempts_in_parallel_that_succeed_are_all_heard() {
    let throttle = LoginThrottle::new(LIMITS);
    let attempts = (0..50).map(|_| async {
        let attempt = throttle.begin(HERE, Some("ann"), at(0)).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
        attempt.succeeded();
        Ok::<(), Duration>(())
    });
    for result in join_all(attempts).await {
        assert_eq!(result, Ok(()));
    }
    assert_eq!(throttle.entries(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_given_up_stays_counted_and_one_that_cannot_be_judged_does_not() {
    let throttle = LoginThrottle::new(LIMITS);
    for _ in 0..10 {
        throttle.begin(HERE, None, at(0)).await.unwrap().withdrawn();
    }
    assert_eq!(throttle.entries(), 0);
    for _ in 0..5 {
        drop(throttle.begin(HERE, None, at(0)).await.unwrap());
    }
    assert!(throttle.begin(HERE, None, at(0)).await.is_err());
}

/// Awaits all, in turns.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in futures.iter_mut().filter(|(_, output)| output.is_none()) {
            if let std::task::Poll::Ready(ready) = future.as_mut().poll(cx) {
                *output = Some(ready);
            }
        }
        match futures.iter().all(|(_, output)| output.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}
