//! Who waits for whose call, and who may not.

use super::*;

#[test]
fn one_call_serves_all_who_wait_in_the_order_they_came() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    engine.called(77, key);
    for waiter in 2..5 {
        let joined = acquire(&mut engine, 0, "alice", waiter, at(10));
        assert!(matches!(joined, Acquired::Join(_)));
    }
    // Another subject, and the same subject at another exchange, are other calls.
    for (exchange, subject) in [(0, "bob"), (1, "alice"), (2, "alice")] {
        called(acquire(&mut engine, exchange, subject, 9, at(10)));
    }
    let body = issued("tok", 300);
    let answer = Answer::Http(200, Some(&body));
    let nobody = engine.answered(76, answer, &at(20));
    assert!(matches!(nobody, Answered::Nobody));
    let completion = done(engine.answered(77, answer, &at(20)));
    assert_eq!(completion.waiting, [1, 2, 3, 4]);
    assert_eq!(completion.on_behalf_of, 1);
    assert_eq!(completion.exchange, ExchangeId(0));
    assert_eq!(completion.elapsed, Duration::from_millis(20));
    assert!(!completion.renewal);
    assert_eq!(completion.result.unwrap().value.as_bytes(), b"Bearer tok");
    let once_more = engine.answered(77, answer, &at(20));
    assert!(matches!(once_more, Answered::Nobody));
    assert_eq!(engine.held(), 1);
}

#[test]
fn who_leaves_is_not_served_and_makes_room() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    acquire(&mut engine, 0, "alice", 2, at(0));
    engine.leave(&key, |waiter| *waiter == 1);
    engine.leave(&key, |waiter| *waiter == 1);
    engine.leave(&Key::new(ExchangeId(0), b"bob".to_vec()), |_| true);
    assert_eq!(engine.crowd.all, 1);
    let completion = completed(&mut engine, key, Answer::Reset, &at(1)).unwrap();
    assert_eq!(completion.waiting, [2]);
    assert_eq!(engine.crowd.all, 0);
}

#[test]
fn no_more_than_so_many_requests_of_a_backend_wait() {
    let mut engine = engine();
    let most = MAX_WAITING_PER_BACKEND;
    let mut acquire = |backend: u32, user: u32| {
        acquire_for(
            &mut engine,
            backend,
            0,
            &format!("user-{user}"),
            user,
            at(0),
        )
    };
    let first = called(acquire(7, 0));
    for user in 1..most {
        called(acquire(7, user));
    }
    for user in [0, most] {
        let crowded = acquire(7, user);
        assert!(matches!(crowded, Acquired::Refuse(Stop::Crowded)));
    }
    assert!(
        matches!(acquire(8, 0), Acquired::Join(_)),
        "another backend"
    );
    engine.leave(&first, |waiter| *waiter == 0);
    let again = acquire_for(&mut engine, 7, 0, "user-0", 0, at(0));
    assert!(matches!(again, Acquired::Join(_)), "who left made room");
    completed(&mut engine, first, Answer::Reset, &at(1));
    assert_eq!(engine.crowd.of_backend.get(&8), None);
    assert_eq!(engine.crowd.of_backend.get(&7), Some(&(most - 1)));
}
