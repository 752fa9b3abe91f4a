//! Tokens in hand: their life, their renewal, whose they are.

use super::*;

#[test]
fn a_tokens_life_begins_when_it_was_asked_for() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    let body = issued("tok", 60);
    completed(&mut engine, key, Answer::Http(200, Some(&body)), &at(4000));
    for (millis, held) in [(47_999, true), (48_000, false)] {
        let found = acquire(&mut engine, 0, "alice", 1, at(millis));
        assert_eq!(matches!(found, Acquired::Token { .. }), held, "{millis}");
    }
}

#[test]
fn no_more_than_so_many_renewals_are_under_way() {
    let mut engine = engine();
    let users: Vec<String> = (0..MAX_RENEWALS + 10)
        .map(|n| format!("user-{n}"))
        .collect();
    for user in &users {
        let key = called(acquire(&mut engine, 0, user, 1, at(0)));
        let body = issued("tok", 1015);
        completed(&mut engine, key, Answer::Http(200, Some(&body)), &at(0));
    }
    let renewals: Vec<Key> = users
        .iter()
        .filter_map(|user| match acquire(&mut engine, 0, user, 1, at(900_000)) {
            Acquired::Token { renew, .. } => renew,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(renewals.len(), MAX_RENEWALS);
    for key in renewals {
        let completion = completed(&mut engine, key, Answer::Reset, &at(900_001)).unwrap();
        assert!(completion.renewal && completion.waiting.is_empty());
    }
    assert_eq!(engine.renewals, 0);
}

#[test]
fn only_tokens_of_the_same_exchange_move_to_a_new_engine() {
    let mut old = engine();
    for exchange in [0, 1, 2] {
        let key = called(acquire(&mut old, exchange, "alice", 1, at(0)));
        let body = issued(&format!("tok-{exchange}"), 300);
        completed(&mut old, key, Answer::Http(200, Some(&body)), &at(0));
    }
    let mut new = engine_of(vec![exchange("c", "sts"), exchange("b", "sts")]);
    new.take_over(&mut old, &at(1));
    assert_eq!((new.held(), old.held()), (1, 2));
    called(acquire(&mut new, 0, "alice", 1, at(1)));
    let Acquired::Token { value, .. } = acquire(&mut new, 1, "alice", 1, at(1)) else {
        panic!("did not move");
    };
    assert_eq!(value.as_bytes(), b"Bearer tok-1");
}

#[test]
fn an_actor_belongs_to_the_key_and_bounds_the_life() {
    let mut with_actor = exchange("a", "sts");
    with_actor.has_actor = true;
    with_actor.first.grant.actor_token_type = Some("urn:type".to_owned());
    let mut engine = engine_of(vec![with_actor]);
    let token = |text: &str| BearerToken::new(text.as_bytes().to_vec()).unwrap();
    let mut find = |subject: &str, actor: &str| {
        let actor = token(actor);
        match engine.find(
            ExchangeId(0),
            token(subject),
            Some(&actor),
            1,
            &|_| true,
            &at(0),
        ) {
            Found::Nothing(key) => key,
            other => panic!("{other:?}"),
        }
    };
    let keys = [
        find("ab", "c"),
        find("a", "bc"),
        find("abc", "x"),
        find("a", "b"),
    ];
    for (n, one) in keys.iter().enumerate() {
        for (m, other) in keys.iter().enumerate() {
            assert_eq!(one == other, n == m);
        }
    }
    assert_eq!(keys[0].tokens(true), (&b"ab"[..], Some(&b"c"[..])));
    assert!(matches!(
        engine.wait(&keys[0], 1, || 1, &at(0)),
        Waits::Calls
    ));
    let sent = outgoing(&engine, &keys[0], at(0)).unwrap();
    let form = String::from_utf8(sent.body).unwrap();
    assert!(form.contains("&subject_token=ab&"), "{form}");
    assert!(
        form.ends_with("&actor_token_type=urn%3Atype&actor_token=c"),
        "{form}"
    );
}

#[test]
fn renewals_leave_the_last_place_to_what_requests_wait_for() {
    let mut engine = engine();
    let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
    let body = issued("tok", 1015);
    completed(&mut engine, key, Answer::Http(200, Some(&body)), &at(0));
    let most = u32::try_from(MAX_WAITING).unwrap();
    let calls: Vec<Key> = (0..most)
        .map(|n| {
            let (backend, user) = (n / MAX_WAITING_PER_BACKEND, format!("user-{n}"));
            let now = at(899_000);
            called(acquire_for(&mut engine, backend, 0, &user, n, now))
        })
        .collect();
    assert!(renewal(&mut engine, "alice", 900_000).is_none());
    let over = calls[0].clone();
    completed(&mut engine, over, Answer::Reset, &at(900_000));
    assert!(renewal(&mut engine, "alice", 901_000).is_some());
}

#[test]
fn a_token_ends_when_it_says_so_itself_unless_that_was_over_when_it_was_asked_for() {
    // In seconds: its own end, and for how long it is used that is good for 300.
    for (own, used) in [
        (900, 285),
        (1000, 285),
        (1100, 85),
        (1300, 285),
        (2000, 285),
    ] {
        let mut engine = engine();
        let key = called(acquire(&mut engine, 0, "alice", 1, at(0)));
        let body = issued(&jwt(&format!(r#"{{"exp":{own}}}"#)), 300);
        completed(&mut engine, key, Answer::Http(200, Some(&body)), &at(0));
        let last = acquire(&mut engine, 0, "alice", 1, at(used * 1000 - 1));
        assert!(matches!(last, Acquired::Token { .. }), "{own}: {last:?}");
        let over = acquire(&mut engine, 0, "alice", 1, at(used * 1000));
        assert!(!matches!(over, Acquired::Token { .. }), "{own}: {over:?}");
    }
}
