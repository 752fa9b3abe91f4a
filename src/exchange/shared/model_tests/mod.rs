//! Plays engines of several workers against each other on one store, in every order of events that is
//! short enough, and in many that are not: workers that come in between at every change of the store,
//! crash, get another configuration; claims that run out; clocks that are set.
//!
//! Each run is told by the choices that were made in it, so that a failure names the run that led to it.

mod choices;
mod events;
mod world;

use super::Mutant;
use choices::Choices;
use std::rc::Rc;
use std::time::Duration;
use world::{Size, World};

/// What goes wrong in `runs` runs at most, if anything does, and how many there were.
fn explore(
    size: Size,
    mutant: Option<Mutant>,
    mut choices: Choices,
    runs: usize,
) -> (Option<String>, usize) {
    for run in 1..=runs {
        let told = match &choices {
            Choices::Every { made, .. } => format!("{made:?}"),
            Choices::Random(state) => format!("seed {state}"),
        };
        let world = World::new(size, mutant, choices);
        world.run();
        if let Some(wrong) = world.wrong.take() {
            let happened = world.told.take().join("\n");
            return (Some(format!("{wrong}; run {run}: {told}\n{happened}")), run);
        }
        // The workers hold the world, and the world them.
        for worker in &world.workers {
            worker.take();
        }
        let Ok(world) = Rc::try_unwrap(world).map_err(|_| ()) else {
            panic!("somebody holds on to a world that is over");
        };
        choices = world.choices.into_inner();
        if !choices.turn() {
            return (None, run);
        }
    }
    (None, runs)
}

/// Two workers, one user, everything that can happen in three steps, one of them a mishap, with the
/// other worker coming in between once.
const SMALL: Size = Size {
    workers: 2,
    users: 1,
    steps: 3,
    interruptions: 1,
    mishaps: 1,
};

/// The same in more steps, without a mishap.
const LONGER: Size = Size {
    steps: 4,
    mishaps: 0,
    ..SMALL
};

/// The same, with a mishap, and nobody coming in between.
const TROUBLED: Size = Size {
    steps: 4,
    interruptions: 0,
    ..SMALL
};

const LARGE: Size = Size {
    workers: 4,
    users: 4,
    steps: 40,
    interruptions: 10,
    mishaps: 6,
};

#[test]
fn every_order_of_a_few_events_keeps_the_promises() {
    for size in [SMALL, LONGER, TROUBLED] {
        let (wrong, runs) = explore(size, None, Choices::every(), usize::MAX);
        assert_eq!(wrong, None);
        assert!(runs > 500, "only {runs} runs");
    }
}

#[test]
fn many_orders_of_many_events_keep_the_promises() {
    for seed in 1..=4 {
        let (wrong, _) = explore(LARGE, None, Choices::Random(seed), 250);
        assert!(wrong.is_none(), "{}", wrong.unwrap());
    }
}

#[test]
fn after_a_step_back_of_the_clock_one_call_serves_all_workers_again() {
    let world = World::new(SMALL, None, Choices::every());
    for seconds_back in [0, 3600] {
        let mut now = world.now.get();
        now.wall = now.wall.minus(Duration::from_secs(seconds_back));
        now.steady = now.steady.plus(Duration::from_secs(1));
        world.now.set(now);
        world.good.borrow_mut().clear();
        world.request(0, 0);
        let calls = world.alive();
        assert_eq!(calls.len(), 1, "{seconds_back}");
        world.answer(calls[0], 0);
        world.request(1, 0);
        assert!(world.alive().is_empty(), "{seconds_back}");
        assert_eq!(world.wrong.take(), None);
    }
}

#[test]
fn users_whose_keys_lie_together_get_their_own() {
    let size = Size {
        users: 2,
        steps: 4,
        mishaps: 0,
        interruptions: 0,
        ..SMALL
    };
    assert_eq!(explore(size, None, Choices::every(), usize::MAX).0, None);
    let (wrong, _) = explore(
        size,
        Some(Mutant::ComparesNothing),
        Choices::every(),
        usize::MAX,
    );
    let wrong = wrong.unwrap();
    assert!(wrong.contains("got token-"), "{wrong}");
}

#[test]
fn a_protocol_that_ignores_others_is_seen_to_call_twice() {
    let (wrong, _) = explore(
        SMALL,
        Some(Mutant::IgnoresOthers),
        Choices::every(),
        usize::MAX,
    );
    let wrong = wrong.unwrap();
    assert!(wrong.contains("two calls"), "{wrong}");
}

#[test]
fn a_protocol_that_forgets_to_look_again_is_seen_to_lose_requests() {
    let (wrong, _) = explore(SMALL, Some(Mutant::SleepsOn), Choices::every(), usize::MAX);
    let wrong = wrong.unwrap();
    assert!(wrong.contains("never told"), "{wrong}");
}
