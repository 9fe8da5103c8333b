//! The index under kills: whatever a step had done, the next owner finds what the last commit left.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::layout::{BLOCK, Dedup, FIRST_BLOCK, Message, NIL, Node, Queue};
use super::lock::{self, Living, Taken};
use super::region::{Cell, Region};
use super::{list, pool, tree};
use crate::providers::file::sys;

fn region() -> Region {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("qrt-index-{}-{number}", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    let region = Region::open(file).unwrap();
    // The mapping keeps the file.
    std::fs::remove_file(path).unwrap();
    region.header().file_blocks.put(FIRST_BLOCK);
    pool::clear(&region);
    region
}

/// Every byte that matters: header and nodes, without the journal.
fn picture(region: &Region) -> Vec<u64> {
    use super::layout::UNDO_AT;
    let word = |offset: usize| region.fixed::<super::region::Cell64>(offset).get();
    let mut words: Vec<u64> = (0..UNDO_AT / 8).map(|i| word(i * 8)).collect();
    for block in FIRST_BLOCK..region.header().blocks.get() {
        words.extend(
            (0..BLOCK / 8).map(|i| region.in_block::<super::region::Cell64>(block, i * 8).get()),
        );
    }
    words
}

#[derive(Clone, Debug)]
enum Op {
    Take,
    Free(usize),
    Due(usize, u64),
    Commit,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => Just(Op::Take),
        2 => any::<usize>().prop_map(Op::Free),
        3 => (any::<usize>(), 0..50u64).prop_map(|(i, due)| Op::Due(i, due)),
        1 => Just(Op::Commit),
    ];
    proptest::collection::vec(op, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    /// Nodes, a list and a tree, changed at random, some changes taken back: always what a plain
    /// model says after the last commit.
    #[test]
    fn lists_trees_and_pools_are_what_was_committed(ops in ops()) {
        let region = region();
        let header = region.header();
        let queue = pool::take::<Queue>(&region).unwrap();
        let all = &region.node::<Queue>(queue).all;
        region.commit();
        let mut model: Vec<(u32, Option<u64>)> = Vec::new();
        let (mut committed, mut before) = (model.clone(), picture(&region));
        for op in ops {
            match op {
                Op::Take => {
                    let id = pool::take::<Message>(&region).unwrap();
                    list::push_back::<list::All>(&region, all, id);
                    model.push((id, None));
                }
                Op::Free(which) if !model.is_empty() => {
                    let (id, due) = model.remove(which % model.len());
                    if due.is_some() {
                        tree::remove::<tree::Timers>(&region, &header.timers, id);
                    }
                    list::remove::<list::All>(&region, all, id);
                    pool::free::<Message>(&region, id);
                }
                Op::Due(which, due) if !model.is_empty() => {
                    let which = which % model.len();
                    let (id, old) = &mut model[which];
                    if old.is_some() {
                        tree::remove::<tree::Timers>(&region, &header.timers, *id);
                    }
                    region.set(&region.node::<Message>(*id).due, due);
                    tree::insert::<tree::Timers>(&region, &header.timers, *id);
                    *old = Some(due);
                }
                Op::Commit => {
                    region.commit();
                    committed = model.clone();
                    before = picture(&region);
                }
                _ => {}
            }
            check(&region, all, &model)?;
        }
        region.roll_back();
        let mut after = picture(&region);
        after.truncate(before.len());
        // Blocks taken since are there still, unused; the file is longer for it.
        let file_blocks = std::mem::offset_of!(super::layout::Header, file_blocks) / 8;
        after[file_blocks] = before[file_blocks];
        prop_assert!(after == before, "a change was not taken back");
        check(&region, all, &committed)?;
    }
}

fn check(
    region: &Region,
    all: &super::layout::ListHead,
    model: &[(u32, Option<u64>)],
) -> Result<(), TestCaseError> {
    let mut ids = Vec::new();
    let mut id = all.first.get();
    while id != NIL {
        ids.push(id);
        id = list::after::<list::All>(region, id);
    }
    let expected: Vec<u32> = model.iter().map(|(id, _)| *id).collect();
    prop_assert_eq!(ids, expected);
    let timers = &region.header().timers;
    let mut due: BTreeSet<(u64, u64, u32)> = BTreeSet::new();
    for (id, at) in model {
        let sequence = region.node::<Message>(*id).sequence.get();
        due.extend(at.map(|at| (at, sequence, *id)));
    }
    let mut id = tree::first::<tree::Timers>(region, timers);
    for (_, _, expected) in due {
        prop_assert_eq!(id, expected);
        id = tree::next::<tree::Timers>(region, timers, id);
    }
    prop_assert_eq!(id, NIL);
    Ok(())
}

#[test]
fn a_roll_back_that_is_cut_short_can_be_done_again() {
    let region = region();
    let id = pool::take::<Message>(&region).unwrap();
    let message: &Message = region.node(id);
    region.commit();
    for n in 1..=10 {
        region.set(&message.due, n);
        region.set(&message.expires, n * 100);
    }
    // Half of the journal is done, as by an owner that died over it.
    let length = region.header().undo_length.get();
    message.due.put(3);
    assert_eq!(region.header().undo_length.get(), length);
    region.roll_back();
    assert_eq!((message.due.get(), message.expires.get()), (0, 0));
    assert_eq!(region.header().undo_length.get(), 0);
}

#[test]
fn numbers_that_lead_nowhere_are_found_out() {
    let region = region();
    let message = pool::take::<Message>(&region).unwrap();
    assert!(region.find::<Message>(message).is_some());
    assert!(region.find::<Dedup>(message).is_none());
    for wrong in [0, 1, 1023, message + 1024, u32::MAX, message | 1023] {
        assert!(region.find::<Message>(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn empty_blocks_are_used_again_and_given_back() {
    let region = region();
    let many = Message::PER_BLOCK * 3;
    for _ in 0..3 {
        let ids: Vec<u32> = (0..many)
            .map(|_| pool::take::<Message>(&region).unwrap())
            .collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), many);
        assert_eq!(region.header().blocks.get(), FIRST_BLOCK + 3);
        ids.iter()
            .for_each(|id| pool::free::<Message>(&region, *id));
        region.commit();
        assert_eq!(pool::shrink(&region, 1, 10), 2);
        assert_eq!(pool::shrink(&region, 1, 10), 0);
    }
}

#[test]
fn nodes_are_restored_at_their_numbers() {
    let region = region();
    let first = FIRST_BLOCK as usize;
    let mut used = vec![Vec::new(); first + 3];
    used[first] = vec![0, 5, 7];
    used[first + 2] = (0..Message::PER_BLOCK as u32).collect();
    pool::restore::<Message>(&region, &used).unwrap();
    let taken: BTreeSet<u32> = [0, 5, 7]
        .into_iter()
        .map(|p| (first as u32) << 10 | p)
        .collect();
    let mut new = BTreeSet::new();
    for _ in 0..Message::PER_BLOCK * 2 - 3 {
        let id = pool::take::<Message>(&region).unwrap();
        assert!(!taken.contains(&id) && id >> 10 != first as u32 + 2);
        assert!(new.insert(id));
    }
    assert_eq!(region.header().blocks.get() as usize, first + 3);
    for id in taken.into_iter().chain(new) {
        pool::free::<Message>(&region, id);
    }
}

/// Owners that are alive by decree.
struct Decree(BTreeSet<u32>);

impl Living for Decree {
    fn is_alive(&self, handle: u32) -> bool {
        self.0.contains(&handle)
    }
}

#[test]
fn a_lock_of_a_dead_owner_is_taken_over_and_of_a_living_one_is_not() {
    let word = AtomicU32::new(0);
    let living = Decree(BTreeSet::from([1, 2]));
    assert_eq!(lock::take(&word, 1, &living), Taken::Free);
    assert_eq!(lock::try_take(&word, 2, &living), None);
    lock::give(&word);
    assert_eq!(lock::try_take(&word, 2, &living), Some(Taken::Free));
    lock::give(&word);
    assert_eq!(lock::take(&word, 9, &living), Taken::Free);
    assert_eq!(lock::take(&word, 1, &living), Taken::FromTheDead);
    lock::give(&word);
    assert_eq!(word.load(Ordering::Relaxed), 0);
}

#[test]
fn one_owner_at_a_time_among_threads_some_of_which_die() {
    const OWNERS: u32 = 8;
    let word = AtomicU32::new(0);
    let inside = AtomicU32::new(0);
    let alive: Vec<AtomicU32> = (0..=OWNERS).map(|_| AtomicU32::new(1)).collect();
    struct Census<'a>(&'a [AtomicU32]);
    impl Living for Census<'_> {
        fn is_alive(&self, handle: u32) -> bool {
            self.0[handle as usize].load(Ordering::SeqCst) == 1
        }
    }
    let from_the_dead = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for me in 1..=OWNERS {
            let (word, inside, alive) = (&word, &inside, &alive);
            let from_the_dead = &from_the_dead;
            scope.spawn(move || {
                for turn in 0..400 {
                    if lock::take(word, me, &Census(alive)) == Taken::FromTheDead {
                        from_the_dead.fetch_add(1, Ordering::SeqCst);
                    }
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    if me % 2 == 0 && turn == 300 {
                        // Dies as the owner.
                        alive[me as usize].store(0, Ordering::SeqCst);
                        return;
                    }
                    lock::give(word);
                }
            });
        }
    });
    let last = lock::take(&word, 1, &Census(&alive)) == Taken::FromTheDead;
    let all = from_the_dead.load(Ordering::SeqCst) + u32::from(last);
    assert_eq!(all, OWNERS / 2, "each death is seen once");
}

#[test]
fn bytes_of_one_open_file_are_locked_to_another_in_the_same_process() {
    let path = std::env::temp_dir().join(format!("qrt-locks-{}", std::process::id()));
    let open = || {
        File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .unwrap()
    };
    let (one, two) = (open(), open());
    assert!(sys::lock_byte(&one, 5).unwrap());
    assert!(!sys::lock_byte(&two, 5).unwrap());
    assert!(sys::is_locked(&two, 5, 1) && sys::is_locked(&two, 1, 0));
    assert!(!sys::is_locked(&two, 6, 1) && !sys::is_locked(&one, 5, 1));
    drop(one);
    assert!(sys::lock_byte(&two, 5).unwrap());
    std::fs::remove_file(path).unwrap();
}
