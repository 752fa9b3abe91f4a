//! A table holds what a map would, in the order it came.

use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

#[test]
fn values_come_in_the_order_they_were_put_in() {
    let table: Table<&str, u32> = [("b", 1), ("a", 2), ("b", 3)].into_iter().collect();
    let all: Vec<_> = table.iter().collect();
    assert_eq!(all, [(&"b", &3), (&"a", &2)]);
    assert!(table.keys().eq(&["b", "a"]));
    let mut table = table;
    table.values_mut().for_each(|value| *value *= 10);
    assert!(table.values().eq(&[30, 20]));
    assert_eq!(table.get("a"), Some(&20));
    assert_eq!(table.get(""), None);
}

#[test]
fn what_is_not_there_is_looked_for_once_around_and_changes_nothing() {
    let mut places = Places::new(0);
    places.remove(7, 0);
    places.insert(7, 0);
    for _ in 0..20 {
        places.moved(7, 1, 2);
        places.remove(7, 1);
        places.remove(8, 0);
    }
    for place in 1..20 {
        places.insert(7, place);
    }
    for place in 0..20 {
        assert_eq!(places.find(7, |found| found == place), Some(place));
    }
    assert_eq!(places.find(8, |_| true), None);
}

/// Else a table whose keys come and go would grow for ever.
#[test]
fn what_is_gone_takes_no_room_any_more() {
    // One hash, its neighbour, and one whose way begins where theirs goes on.
    let hashes = [7, 7, 8, 15, 9];
    let mut places = Places::new(0);
    for _ in 0..100 {
        for (place, hash) in hashes.into_iter().enumerate() {
            places.insert(hash, place);
        }
        for (place, hash) in hashes.into_iter().enumerate() {
            places.remove(hash, place);
            assert_eq!(places.find(hash, |found| found == place), None);
            for (other, hash) in hashes.into_iter().enumerate().skip(place + 1) {
                assert_eq!(places.find(hash, |found| found == other), Some(other));
            }
        }
        assert!(
            hashes
                .iter()
                .all(|hash| places.find(*hash, |_| true).is_none())
        );
    }
}

/// Else a table that is emptied whenever it is full would grow for ever.
#[test]
fn what_is_emptied_holds_no_places() {
    let mut places = Places::new(0);
    places.insert(7, 0);
    places.insert(8, 1);
    places.clear();
    assert_eq!(places.find(7, |_| true), None);
    assert_eq!(places.find(8, |_| true), None);
}

/// Were they not, each look-up would go by all the others.
#[test]
fn keys_begin_in_different_slots() {
    const SLOTS: u32 = 2048;
    let places = Places::new(7);
    let spread = |hashes: &mut dyn Iterator<Item = u32>| {
        let homes: HashSet<u32> = hashes.map(|hash| hash % SLOTS).collect();
        homes.len()
    };
    let texts = spread(&mut (0..1000).map(|n| places.hash(format!("user-{n}").as_bytes())));
    assert!(texts > 600, "{texts} of 1000");
    // As somebody counts them up, for one of so many.
    for stride in [1_u32, 2, 3, 4, 7, 16, 64, 256, 1000, 1024, 4096, 65_536] {
        let number = |n: u32| Form::hash(&(n * stride), &places.hasher);
        let numbers = spread(&mut (0..1000).map(number));
        assert!(numbers > 700, "{numbers} of 1000 by {stride}");
    }
}

/// Steps on a table and on a map, which hold the same all the way.
fn same<K>(seed: u64, steps: Vec<(u8, K, u32)>) -> Result<(), TestCaseError>
where
    K: Keyed + Clone + Eq + std::hash::Hash,
{
    let (mut table, mut map) = (Table::new(seed), HashMap::new());
    for (step, key, value) in steps {
        let was_there = table.contains_key(&key);
        prop_assert_eq!(was_there, map.contains_key(&key));
        match step {
            0 => prop_assert_eq!(table.insert(key.clone(), value), map.insert(key, value)),
            1 => prop_assert_eq!(table.remove(&key), map.remove(&key)),
            _ => prop_assert_eq!(
                table.or_insert(key.clone(), value).copied(),
                Some(*map.entry(key).or_insert(value))
            ),
        }
        prop_assert_eq!(table.len(), map.len());
        for (key, value) in &map {
            prop_assert_eq!(table.get(key), Some(value));
        }
    }
    table.clear();
    prop_assert!(table.is_empty());
    for key in map.keys() {
        prop_assert_eq!(table.get(key), None);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_table_by_bytes_holds_what_a_map_would(
        seed: u64,
        steps in prop::collection::vec((0..3_u8, "[ab]{0,3}", any::<u32>()), 0..200),
    ) {
        same(seed, steps)?;
    }

    #[test]
    fn a_table_by_numbers_holds_what_a_map_would(
        steps in prop::collection::vec((0..3_u8, prop_oneof![0..40_u32, any::<u32>()], any::<u32>()), 0..200),
    ) {
        same(0, steps)?;
    }
}
