//! The bucket of a rate limit, at the exact millisecond.

use keyward_core::condition::RateLimit;
use keyward_core::rate::{RateBucket, RateStatus, Spending};
use keyward_core::time::Timestamp;
use proptest::prelude::*;

use crate::given::NOW;

const TEN_A_SECOND: RateLimit = RateLimit {
    requests: 10,
    per_ms: 1_000,
};

fn is_spent(spending: Spending) -> bool {
    matches!(spending, Spending::Spent(_))
}

/// How many requests it holds at `now`, by taking them out.
fn held(mut bucket: RateBucket, limit: RateLimit, now: Timestamp) -> u32 {
    let mut count = 0;
    while is_spent(bucket.spend(limit, now)) {
        count += 1;
    }
    count
}

#[test]
fn a_full_bucket_holds_its_requests_and_no_more() {
    let mut bucket = RateBucket::full(TEN_A_SECOND, NOW);
    for left in (0..10).rev() {
        let status = RateStatus {
            limit: 10,
            period_seconds: 1,
            remaining: left,
            reset_after_seconds: 1,
        };
        assert_eq!(bucket.spend(TEN_A_SECOND, NOW), Spending::Spent(status));
    }
    let exceeded = Spending::Exceeded {
        status: RateStatus {
            limit: 10,
            period_seconds: 1,
            remaining: 0,
            reset_after_seconds: 1,
        },
        retry_after_seconds: 1,
    };
    assert_eq!(bucket.spend(TEN_A_SECOND, NOW), exceeded);
    assert_eq!(
        bucket.spend(TEN_A_SECOND, NOW),
        exceeded,
        "a refusal costs nothing"
    );
}

#[test]
fn a_request_is_back_at_its_millisecond_and_not_before() {
    let mut bucket = RateBucket::full(TEN_A_SECOND, NOW);
    for _ in 0..10 {
        assert!(is_spent(bucket.spend(TEN_A_SECOND, NOW)));
    }
    assert_eq!(held(bucket, TEN_A_SECOND, NOW.plus_ms(99)), 0);
    assert_eq!(held(bucket, TEN_A_SECOND, NOW.plus_ms(100)), 1);
    assert_eq!(held(bucket, TEN_A_SECOND, NOW.plus_ms(199)), 1);
    assert_eq!(held(bucket, TEN_A_SECOND, NOW.plus_ms(1_000)), 10);
    assert_eq!(held(bucket, TEN_A_SECOND, NOW.plus_ms(1_000_000)), 10);
    assert!(!bucket.is_full(NOW.plus_ms(999)) && bucket.is_full(NOW.plus_ms(1_000)));
    assert_eq!(bucket.ms_to_full(), 1_000);
}

#[test]
fn a_third_of_a_millisecond_is_not_lost() {
    let limit = RateLimit {
        requests: 3,
        per_ms: 10,
    };
    let mut bucket = RateBucket::full(limit, NOW);
    for _ in 0..3 {
        assert!(is_spent(bucket.spend(limit, NOW)));
    }
    // 3 1/3, 6 2/3 and 10 ms later.
    let back_at: Vec<i64> = (1..=10)
        .filter(|ms| is_spent(bucket.spend(limit, NOW.plus_ms(*ms))))
        .collect();
    assert_eq!(back_at, [4, 7, 10]);
}

#[test]
fn waits_are_said_in_whole_seconds_rounded_up() {
    let limit = RateLimit {
        requests: 2,
        per_ms: 5_000,
    };
    let mut bucket = RateBucket::full(limit, NOW);
    assert!(is_spent(bucket.spend(limit, NOW)) && is_spent(bucket.spend(limit, NOW)));
    let retry_at = |ms| match bucket.clone().spend(limit, NOW.plus_ms(ms)) {
        Spending::Exceeded {
            retry_after_seconds,
            status,
        } => (retry_after_seconds, status.reset_after_seconds),
        Spending::Spent(_) => (0, 0),
    };
    assert_eq!(retry_at(0), (3, 5));
    assert_eq!(retry_at(500), (2, 5));
    assert_eq!(retry_at(2_499), (1, 3));
    assert_eq!(retry_at(2_500), (0, 0));
}

#[test]
fn what_was_spent_stays_spent_when_the_limit_is_edited() {
    let of = |requests, per_ms| RateLimit { requests, per_ms };
    let mut bucket = RateBucket::full(of(100, 60_000), NOW);
    for _ in 0..60 {
        assert!(is_spent(bucket.spend(of(100, 60_000), NOW)));
    }
    assert_eq!(held(bucket, of(200, 60_000), NOW), 140);
    assert_eq!(held(bucket, of(100, 1_000), NOW), 40);
    assert_eq!(held(bucket, of(50, 60_000), NOW), 0);
    assert_eq!(held(bucket, of(50, 60_000), NOW.plus_ms(60_000)), 50);
}

#[test]
fn limits_that_no_key_has_refuse_or_hold_without_an_accident() {
    let of = |requests, per_ms| RateLimit { requests, per_ms };
    let nothing = RateBucket::full(of(0, 1_000), NOW).spend(of(0, 1_000), NOW);
    assert!(!is_spent(nothing));
    assert!(is_spent(RateBucket::full(of(1, 0), NOW).spend(of(1, 0), NOW)));
    let most = of(u32::MAX, u32::MAX);
    assert!(is_spent(RateBucket::full(most, NOW).spend(most, NOW)));
    let far = Timestamp::from_unix_ms(i64::MAX);
    let mut bucket = RateBucket::full(most, Timestamp::from_unix_ms(i64::MIN));
    assert!(is_spent(bucket.spend(most, far)));
    assert!(is_spent(bucket.spend(most, Timestamp::from_unix_ms(i64::MIN))));
}

fn any_limit() -> impl Strategy<Value = RateLimit> {
    (1_u32..12, 1_u32..40).prop_map(|(requests, per_ms)| RateLimit { requests, per_ms })
}

proptest! {
    #[test]
    fn no_window_holds_more_than_a_bucket_and_what_refilled(
        limit in any_limit(),
        steps in prop::collection::vec(0_i64..9, 1..120),
    ) {
        let mut bucket = RateBucket::full(limit, NOW);
        let (mut at, mut spent) = (0, Vec::new());
        for step in steps {
            at += step;
            if is_spent(bucket.spend(limit, NOW.plus_ms(at))) {
                spent.push(at);
            }
        }
        for (first, begin) in spent.iter().enumerate() {
            for (last, end) in spent.iter().enumerate().skip(first) {
                let refilled = (end - begin) * i64::from(limit.requests) / i64::from(limit.per_ms);
                prop_assert!((last - first + 1) as i64 <= i64::from(limit.requests) + refilled);
            }
        }
    }

    #[test]
    fn whoever_keeps_to_the_limit_is_never_refused(limit in any_limit(), waits in prop::collection::vec(0_i64..9, 1..60)) {
        let mut bucket = RateBucket::full(limit, NOW);
        let apart = i64::from(limit.per_ms.div_ceil(limit.requests));
        let mut at = 0;
        for wait in waits {
            at += apart + wait;
            prop_assert!(is_spent(bucket.spend(limit, NOW.plus_ms(at))));
        }
    }

    #[test]
    fn later_is_never_worse_and_what_is_said_is_so(
        limit in any_limit(),
        spent in 0_usize..12,
        earlier in 0_i64..60,
        later in 0_i64..60,
    ) {
        let mut bucket = RateBucket::full(limit, NOW);
        for _ in 0..spent {
            bucket.spend(limit, NOW);
        }
        let (early, late) = (NOW.plus_ms(earlier), NOW.plus_ms(earlier + later));
        prop_assert!(held(bucket, limit, early) <= held(bucket, limit, late));
        match bucket.clone().spend(limit, early) {
            Spending::Spent(status) => {
                let mut after = bucket;
                after.spend(limit, early);
                prop_assert_eq!(held(after, limit, early), status.remaining);
                prop_assert!(after.is_full(early.plus_ms(i64::from(status.reset_after_seconds) * 1_000)));
            }
            Spending::Exceeded { retry_after_seconds, status } => {
                prop_assert_eq!(status.remaining, 0);
                let then = early.plus_ms(i64::from(retry_after_seconds) * 1_000);
                prop_assert!(is_spent(bucket.clone().spend(limit, then)));
            }
        }
    }

    /// Clocks that are read at once differ; one that jumps gives at most a bucket, and locks nobody out for long.
    #[test]
    fn a_clock_that_goes_back_is_harmless(
        limit in any_limit(),
        jitters in prop::collection::vec(0_i64..3, 1..60),
        jump in 0_i64..1_000,
    ) {
        let mut bucket = RateBucket::full(limit, NOW);
        let jitter = |jitter: i64| jitter.min(i64::from(limit.per_ms));
        let spent = jitters
            .iter()
            .enumerate()
            .filter(|(at, back)| is_spent(bucket.spend(limit, NOW.plus_ms(*at as i64 - jitter(**back)))))
            .count();
        let refilled = jitters.len() as u32 * limit.requests / limit.per_ms;
        prop_assert!(spent as u32 <= limit.requests + refilled);

        let back = NOW.plus_ms(-jump);
        prop_assert!(held(bucket, limit, back) <= limit.requests);
        bucket.spend(limit, back);
        let a_period_and_the_jitter = back.plus_ms(2 * i64::from(limit.per_ms) + 63);
        prop_assert!(is_spent(bucket.spend(limit, a_period_and_the_jitter)));
    }
}
