//! One machine alone: what it asks for, and what it makes of each answer.

mod orders;

use std::time::Duration;

use super::{Answer, Event, Machine, Outcome, Pace, Step, Tokens};
use crate::refresh::due::Need;
use crate::session::store::{Claim, LockState, StoreError, Written};
use crate::session::{Row, RowKey, RowState, SessionId};

const NOW: i64 = 1_000_000_000;
const NEED: Need = Need {
    ahead_ms: 30_000,
    rejected: None,
    kept: None,
};

fn key(session: &str) -> RowKey {
    RowKey {
        session: SessionId::parse(session).expect("a session"),
        provider: "corp".to_owned(),
    }
}

fn expired() -> Row {
    Row {
        provider_id: "corp".to_owned(),
        access_token: "old".to_owned(),
        refresh_token: "rt0".to_owned(),
        expires_at: NOW / 1000 - 5,
        user_id: "u".to_owned(),
        ..Row::default()
    }
}

/// Steps one machine alone; events as given, in order, whatever it asks for.
fn drive(events: Vec<Event>) -> (Vec<&'static str>, Step, Machine) {
    let pace = Pace::for_calls_of(Duration::from_secs(30));
    let (mut machine, mut step) = Machine::new(key("S1"), &expired(), NEED, pace, NOW);
    let mut steps = vec![name(&step)];
    for event in events {
        step = machine.step(event, NOW);
        steps.push(name(&step));
    }
    (steps, step, machine)
}

fn name(step: &Step) -> &'static str {
    match step {
        Step::Claim => "claim",
        Step::Wait(_) => "wait",
        Step::Call { .. } => "call",
        Step::Gather { .. } => "gather",
        Step::Write { .. } => "write",
        Step::Delete(_) => "delete",
        Step::Release => "release",
        Step::Done(_) => "done",
    }
}

fn claimed(lock: LockState, row: Row) -> Event {
    Event::Claimed(Ok(Claim {
        lock,
        row: RowState::Read(Box::new(row)),
    }))
}

fn tokens(refresh_token: Option<&str>) -> Tokens {
    Tokens {
        access_token: "new".to_owned(),
        refresh_token: refresh_token.map(str::to_owned),
        id_token: None,
        expires_at: NOW / 1000 + 60,
    }
}

fn refused() -> Event {
    Event::Wrote(Err(StoreError::Refused("OOM".to_owned())))
}

#[test]
fn a_store_that_refuses_three_times_costs_a_rotated_row_and_no_other() {
    let begin = |answer| {
        vec![
            claimed(LockState::Ours, expired()),
            Event::Answered(Answer::Tokens(answer)),
            Event::Gathered(Ok(Vec::new())),
            refused(),
            Event::Waited,
            refused(),
            Event::Waited,
            refused(),
        ]
    };
    let mut rotated = begin(tokens(Some("rt1")));
    rotated.extend([Event::Wrote(Ok(Written::Rows(1))), Event::Released(Ok(()))]);
    let (steps, last, machine) = drive(rotated);
    assert_eq!(
        steps,
        [
            "claim", "call", "gather", "write", "wait", "write", "wait", "write", "delete",
            "release", "done"
        ]
    );
    assert!(matches!(
        last,
        Step::Done(Outcome::Missing(Outcome::NOT_KEPT))
    ));
    assert!(machine.has_redeemed());

    let mut same = begin(tokens(None));
    same.push(Event::Released(Ok(())));
    let (steps, last, _) = drive(same);
    assert_eq!(steps[8..], ["release", "done"]);
    let Step::Done(Outcome::Held(row)) = last else {
        panic!("the new access token is served");
    };
    assert_eq!((&*row.access_token, &*row.refresh_token), ("new", "rt0"));
}

#[test]
fn a_store_that_restarts_is_waited_for_with_a_rotated_token_in_hand() {
    let mut events = vec![
        claimed(LockState::Ours, expired()),
        Event::Answered(Answer::Tokens(tokens(Some("rt1")))),
        Event::Gathered(Ok(Vec::new())),
    ];
    for _ in 0..20 {
        events.push(Event::Wrote(Err(StoreError::Away("connection refused"))));
        events.push(Event::Waited);
    }
    events.extend([Event::Wrote(Ok(Written::Rows(1))), Event::Released(Ok(()))]);
    let (_, last, _) = drive(events);
    assert!(matches!(last, Step::Done(Outcome::Held(_))));
}

#[test]
fn an_id_token_of_somebody_else_is_never_written() {
    let (steps, last, _) = drive(vec![
        claimed(LockState::Ours, expired()),
        Event::Answered(Answer::OtherSubject(tokens(None))),
        Event::Released(Ok(())),
    ]);
    assert_eq!(steps, ["claim", "call", "release", "done"]);
    assert!(matches!(
        last,
        Step::Done(Outcome::Unavailable(Outcome::FOREIGN))
    ));

    let (steps, last, _) = drive(vec![
        claimed(LockState::Ours, expired()),
        Event::Answered(Answer::OtherSubject(tokens(Some("rt1")))),
        Event::Gathered(Ok(Vec::new())),
        Event::Wrote(Ok(Written::Rows(1))),
        Event::Released(Ok(())),
    ]);
    assert_eq!(
        steps,
        ["claim", "call", "gather", "delete", "release", "done"]
    );
    assert!(matches!(
        last,
        Step::Done(Outcome::Missing(Outcome::FOREIGN))
    ));
}

#[test]
fn a_token_that_somebody_without_a_lock_has_replaced_is_not_dead() {
    let newer = Row {
        refresh_token: "rt9".to_owned(),
        expires_at: NOW / 1000 + 600,
        ..expired()
    };
    let (_, last, _) = drive(vec![
        claimed(LockState::Ours, expired()),
        Event::Answered(Answer::Dead("invalid_grant")),
        claimed(LockState::Ours, newer),
        Event::Released(Ok(())),
    ]);
    assert!(matches!(last, Step::Done(Outcome::Held(row)) if row.refresh_token == "rt9"));
}

#[test]
fn a_lock_that_was_lost_is_taken_once_more_or_left_alone() {
    let lost = || {
        vec![
            claimed(LockState::Ours, expired()),
            Event::Answered(Answer::Tokens(tokens(Some("rt1")))),
            Event::Gathered(Ok(Vec::new())),
            Event::Wrote(Ok(Written::NotOurs)),
        ]
    };
    let mut again = lost();
    again.extend([
        claimed(LockState::Ours, expired()),
        Event::Wrote(Ok(Written::Rows(1))),
        Event::Released(Ok(())),
    ]);
    let (steps, _, _) = drive(again);
    assert_eq!(steps[4..], ["claim", "write", "release", "done"]);

    let mut others = lost();
    others.push(claimed(LockState::Held, expired()));
    let (steps, _, _) = drive(others);
    assert_eq!(
        steps[4..],
        ["claim", "done"],
        "nothing is written, nothing released"
    );
}

#[test]
fn rows_are_written_from_themselves() {
    let other = Row {
        client_id: "other client".to_owned(),
        session_expires_at: 7,
        id_token: "kept".to_owned(),
        ..expired()
    };
    let (_, last, _) = drive(vec![
        claimed(LockState::Ours, expired()),
        Event::Answered(Answer::Tokens(tokens(Some("rt1")))),
        Event::Gathered(Ok(vec![(key("S2"), other)])),
    ]);
    let Step::Write { rows, redeemed } = last else {
        panic!("rows are written");
    };
    assert!(redeemed.is_some(), "a rotated token leaves its mark");
    assert_eq!(rows.len(), 2, "ours is written even if no set names it");
    let second = &rows.iter().find(|row| row.key == key("S2")).unwrap().row;
    assert_eq!(second.client_id, "other client");
    assert_eq!(second.session_expires_at, 7);
    assert_eq!(second.id_token, "kept");
    assert_eq!(second.refresh_token, "rt1");
    assert_eq!(second.access_token, "new");
}

#[test]
fn a_claim_that_was_not_answered_is_given_back_without_waiting() {
    let away = || Event::Claimed(Err(StoreError::Away("no answer in time")));
    let (steps, _, machine) = drive(vec![away()]);
    assert_eq!(steps, ["claim", "done"], "nobody waits for it");
    assert!(machine.owes_release());

    let (steps, last, machine) = drive(vec![
        claimed(LockState::Ours, expired()),
        Event::Answered(Answer::Tokens(tokens(Some("rt1")))),
        Event::Gathered(Ok(Vec::new())),
        Event::Wrote(Ok(Written::NotOurs)),
        away(),
    ]);
    assert_eq!(steps[4..], ["claim", "done"]);
    assert!(matches!(last, Step::Done(Outcome::Held(_))));
    assert!(machine.owes_release());

    for (released, owed) in [(Ok(()), false), (Err(StoreError::Away("test")), true)] {
        let (_, _, machine) = drive(vec![
            claimed(LockState::Ours, expired()),
            Event::Answered(Answer::NotNow("timeout")),
            Event::Released(released),
        ]);
        assert_eq!(machine.owes_release(), owed);
    }
    let (_, _, machine) = drive(vec![claimed(LockState::Redeemed, expired())]);
    assert!(!machine.owes_release(), "there is no lock to give back");
}

#[test]
fn a_row_that_another_has_refreshed_is_not_refreshed_for_its_id_token() {
    let id_token = "e30.eyJleHAiOjF9.c2ln".to_owned(); // ended in 1970
    let before = Row {
        id_token: id_token.clone(),
        ..expired()
    };
    let by_another = Row {
        access_token: "newer".to_owned(),
        expires_at: NOW / 1000 + 600,
        ..before.clone()
    };
    let pace = Pace::for_calls_of(Duration::from_secs(30));
    let (mut machine, _) = Machine::new(key("S1"), &before, NEED, pace, NOW);
    let step = machine.step(claimed(LockState::Ours, by_another.clone()), NOW);
    assert_eq!(name(&step), "release");
    let step = machine.step(Event::Released(Ok(())), NOW);
    assert!(matches!(step, Step::Done(Outcome::Held(row)) if row.access_token == "newer"));

    // As it was when it was found to be due, its ID token is a reason.
    let (mut machine, _) = Machine::new(key("S1"), &by_another, NEED, pace, NOW);
    let step = machine.step(claimed(LockState::Ours, by_another), NOW);
    assert_eq!(name(&step), "call");
}
