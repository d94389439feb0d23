//! What a dead run leaves, and what becomes of it (R1, R2, R3, R4).

use crate::support::{Note, add, id, key, note, reseal, store};
use crate::watched::{Fault, Method, Watched};
use sdk_state::encrypt::{Encrypter as _, Keyring};
use sdk_state::{
    Backend as _, Error, ErrorKind, Lock, MemoryBackend, Provenance, Revision, Run, Store, Wait,
};
use std::sync::Arc;

pub(crate) fn begin(store: &Store<Note>) -> Run<Note> {
    store.begin("apply", Wait::none()).unwrap()
}

fn by(backend: &MemoryBackend, author: &str) -> Store<Note> {
    store(backend).with_provenance(Provenance::new().with_author(author))
}

/// A stack with two revisions, of which the first is current.
pub(crate) fn two() -> (MemoryBackend, [Revision; 2]) {
    let backend = MemoryBackend::new(id());
    let written = ["1", "2"].map(|text| store(&backend).write(&note(text), "").unwrap());
    store(&backend).set_current(&written[0]).unwrap();
    (backend, written)
}

/// A run on the first of two revisions that made `count` changes and was killed.
pub(crate) fn dead_run(count: usize) -> (MemoryBackend, [Revision; 2]) {
    let (backend, written) = two();
    let run = begin(&by(&backend, "alice"));
    for _ in 0..count {
        run.apply(add("a")).unwrap();
    }
    kill(&backend, run);
    (backend, written)
}

/// Ends a process: nothing of the run happens any more.
pub(crate) fn kill(backend: &MemoryBackend, run: Run<Note>) {
    backend.kill_holder();
    std::mem::forget(run);
}

#[test]
fn what_a_dead_run_left_is_committed_in_its_name() {
    let (backend, _) = dead_run(2);
    let next = begin(&by(&backend, "bob"));
    assert_eq!(next.recovered(), 2);
    let dead = next.took_over().unwrap().holder.provenance.clone();
    assert_eq!(dead.author.as_deref(), Some("alice"));
    let reader = store(&backend);
    let head = reader.head().unwrap().unwrap();
    assert_eq!((head.document, head.unfinished), (note("1aa"), None));
    let header = reader.header(&head.revision).unwrap();
    assert_eq!(header.provenance.author.as_deref(), Some("alice"));
    assert_eq!(header.message.as_deref(), Some("recovered, 2 changes"));
    assert!(header.run_id.is_some());
    // The base belongs to another run, and stays.
    assert_eq!((header.replaces, reader.list().unwrap().len()), (None, 3));
    assert_eq!(next.finish("").unwrap(), None);
    let third = begin(&reader);
    assert_eq!((third.took_over(), third.recovered()), (None, 0));
}

#[test]
fn a_dropped_run_leaves_its_changes_to_the_next() {
    let backend = MemoryBackend::new(id());
    let run = begin(&by(&backend, "alice"));
    run.apply(add("a")).unwrap();
    drop(run.submit(add("b")));
    drop(run);
    let reader = store(&backend);
    assert_eq!(reader.lock_status().unwrap(), None);
    let head = reader.head().unwrap().unwrap();
    let unfinished = head.unfinished.unwrap();
    assert_eq!((head.document, unfinished.changes), (note("ab"), 2));
    assert_eq!(unfinished.by.provenance.author.as_deref(), Some("alice"));
    let next = begin(&reader);
    assert_eq!((next.took_over(), next.recovered()), (None, 2));
    // The genesis is replaced.
    assert_eq!(reader.list().unwrap(), [next.base().unwrap()]);
}

/// Nobody made a genesis on purpose, so it goes once there is another revision.
#[test]
fn the_genesis_of_a_dead_first_run_does_not_stay() {
    let watched = Watched::fresh();
    watched.fail_all(Method::Append, Fault::Before(ErrorKind::Unavailable));
    let run = begin(&store(&watched));
    run.apply(add("a")).unwrap_err();
    watched.backend.kill_holder();
    let genesis = store(&watched.backend).head().unwrap().unwrap();
    assert_eq!((genesis.document, genesis.unfinished), (note(""), None));
    let next = begin(&store(&watched.backend));
    assert_eq!(next.commit("nothing").unwrap(), None);
    next.apply(add("b")).unwrap();
    let revision = next.finish("").unwrap().unwrap();
    drop(run);
    assert_eq!(store(&watched.backend).list().unwrap(), [revision]);
}

/// The run died between its last two calls. Another of its revisions was never current either.
#[test]
fn what_a_dead_run_could_not_make_current_is_removed() {
    let (backend, _) = two();
    let orphan = store(&backend).write(&note("saved by somebody"), "").unwrap();
    let watched = Watched::over(backend.clone());
    let run = begin(&store(&watched));
    run.apply(add("a")).unwrap();
    watched.hook(|method, _| match method {
        Method::SetCurrent | Method::Remove => Some(Fault::Before(ErrorKind::Io)),
        _ => None,
    });
    run.commit("").unwrap_err();
    kill(&backend, run);
    assert_eq!(store(&backend).list().unwrap().len(), 4);
    let next = begin(&store(&backend));
    let list = store(&backend).list().unwrap();
    assert_eq!(list.len(), 4);
    assert_eq!(list[2..], [orphan, next.base().unwrap()]);
}

/// V9: the acknowledged changes of a dead run become a revision before `current` moves.
#[test]
fn a_move_without_a_run_commits_unfinished_changes() {
    let (backend, [_, second]) = dead_run(2);
    let reader = store(&backend);
    reader.set_current(&second).unwrap();
    let head = reader.head().unwrap().unwrap();
    assert_eq!((head.document, head.unfinished), (note("2"), None));
    let kept: Vec<Note> = contents(&reader);
    assert_eq!(kept, ["1", "2", "1aa"].map(note));
    assert_eq!(begin(&reader).recovered(), 0);
}

/// V10: the journal of what is current already is live.
#[test]
fn a_move_to_what_is_current_drops_no_change() {
    let (backend, [first, _]) = dead_run(2);
    let reader = store(&backend);
    reader.set_current(&first).unwrap();
    assert!(
        contents(&reader).contains(&note("1aa")) || reader.head().unwrap().unwrap().document == note("1aa")
    );
}

/// A repair of the pointer elsewhere dropped the changes.
#[test]
fn a_repair_of_the_pointer_discards_no_change() {
    let (backend, [first, second]) = dead_run(2);
    let reader = store(&backend);
    backend.overwrite_pointer("");
    let refused = reader.set_current(&second).unwrap_err();
    assert!(refused.is_damaged(), "{refused}");
    assert_eq!(refused.revision(), Some(&first));
    reader.set_current(&first).unwrap();
    assert_eq!(begin(&reader).recovered(), 2);
    assert_eq!(reader.head().unwrap().unwrap().document, note("1aa"));
    // Nobody can read the changes without their base.
    let (backend, [first, second]) = dead_run(2);
    backend.overwrite_pointer("");
    backend.overwrite_snapshot(&first, "");
    store(&backend).set_current(&second).unwrap();
}

#[test]
fn a_deletion_leaves_unfinished_changes() {
    let (backend, [first, second]) = dead_run(2);
    let reader = store(&backend);
    let refused = reader.delete(&first).unwrap_err();
    assert_eq!(refused.kind(), &ErrorKind::RevisionIsCurrent);
    reader.delete(&second).unwrap();
    assert_eq!(reader.head().unwrap().unwrap().unfinished.unwrap().changes, 2);
    assert_eq!(begin(&reader).recovered(), 2);
}

fn contents(store: &Store<Note>) -> Vec<Note> {
    let list = store.list().unwrap();
    list.iter().map(|revision| store.get(revision).unwrap()).collect()
}

/// V15: the reader pages through a journal. Between its calls the run commits, goes back to the same revision and begins another
/// journal there. In a local directory every pointer has version 0.
#[test]
fn a_reader_sees_a_state_that_existed() {
    for hides_versions in [false, true] {
        for method in [Method::ReadJournal, Method::Current] {
            for nth in 1..=7 {
                let (backend, [first, _]) = two();
                let watched = Watched::over(backend.clone());
                if hides_versions {
                    watched.hide_versions();
                }
                let run = Arc::new(begin(&store(&watched)));
                for text in ["a", "b", "c"] {
                    run.apply(add(text)).unwrap();
                }
                let reader = Watched::over(backend);
                if hides_versions {
                    reader.hide_versions();
                }
                reader.page_by_record();
                let writer = Arc::clone(&run);
                reader.hook(move |called, count| {
                    if called == method && count == nth {
                        writer.set_current(&first).unwrap();
                        for text in ["x", "y", "z", "!"] {
                            writer.apply(add(text)).unwrap();
                        }
                    }
                    None
                });
                let head = store(&reader).head().unwrap().unwrap();
                let states = ["1abc", "1", "1x", "1xy", "1xyz", "1xyz!"].map(note);
                assert!(
                    states.contains(&head.document),
                    "{method:?} {nth}: {}",
                    head.document.0
                );
                // What was acknowledged before the last call of the reader began is there.
                assert_eq!(store(&reader).head().unwrap().unwrap().document, *run.state());
            }
        }
    }
}

/// A run of a child under its parent's lock.
fn join(watched: &Watched, parent: &dyn Lock) -> Run<Note> {
    let token = parent.token().unwrap().clone();
    store(watched).join("child", token).unwrap()
}

/// B1: two runs under one lock do not append to one journal.
#[test]
fn two_children_lose_no_acknowledged_change() {
    let watched = Watched::over(two().0);
    let parent = store(&watched).lock("parent", Wait::none()).unwrap();
    let (one, two) = (join(&watched, &*parent), join(&watched, &*parent));
    one.apply(add("a")).unwrap();
    assert!(two.apply(add("b")).unwrap_err().is_current_moved());
    one.apply(add("c")).unwrap();
    assert_eq!(store(&watched).head().unwrap().unwrap().document, note("1ac"));
    assert!(two.finish("").unwrap_err().is_current_moved());
    assert_eq!(store(&watched).get(&two.orphan().unwrap()).unwrap(), note("1b"));
    let revision = one.finish("").unwrap().unwrap();
    assert_eq!(watched.count(Method::Append), 0);
    parent.check().unwrap();
    let third = join(&watched, &*parent);
    assert_eq!((third.base(), third.state().0.as_str()), (Some(revision), "1ac"));
}

#[test]
fn nobody_joins_a_run_with_uncommitted_changes() {
    let backend = two().0;
    let run = begin(&store(&backend));
    run.apply(add("a")).unwrap();
    let refused = store(&backend).join("child", run.token().clone()).unwrap_err();
    assert_eq!(refused.kind(), &ErrorKind::Unsupported);
    run.apply(add("b")).unwrap();
    assert_eq!(run.finish("").unwrap(), store(&backend).current().unwrap());
    assert_eq!(store(&backend).head().unwrap().unwrap().document, note("1ab"));
}

/// The parent did not share its lock. The child moved `current`, which ended the parent's journal.
#[test]
fn a_child_ends_no_journal_of_its_parent() {
    type Call = fn(&Run<Note>, &Revision) -> Result<(), Error>;
    let calls: [Call; 3] = [
        |child, _| child.apply(add("b")),
        |child, _| child.save(note("b"), "").map(drop),
        |child, revision| child.set_current(revision),
    ];
    for call in calls {
        let (backend, [_, second]) = two();
        let run = begin(&store(&backend));
        let child = store(&backend).join("child", run.token().clone()).unwrap();
        run.apply(add("a")).unwrap();
        let refused = call(&child, &second).unwrap_err();
        assert_eq!(refused.kind(), &ErrorKind::Unsupported);
        drop(child);
        run.finish("").unwrap();
        assert_eq!(store(&backend).head().unwrap().unwrap().document, note("1a"));
    }
}

#[test]
fn sharing_the_lock_commits_first_and_ends_the_journal() {
    let watched = Watched::over(two().0);
    let run = begin(&store(&watched));
    run.apply(add("a")).unwrap();
    // A lock in memory cannot be shared.
    let shared = run.share_with_children().unwrap_err();
    assert_eq!(shared.kind(), &ErrorKind::Unsupported);
    assert_eq!(store(&watched).unfinished().unwrap(), None);
    assert_eq!(store(&watched).head().unwrap().unwrap().document, note("1a"));
    let child = store(&watched).join("child", run.token().clone()).unwrap();
    run.apply(add("b")).unwrap();
    assert_eq!(watched.count(Method::Append), 1);
    assert!(child.apply(add("c")).unwrap_err().is_current_moved());
}

#[test]
fn a_damaged_journal_is_reported_and_salvaged() {
    for (damaged, kept, changes) in [(0, "1", 0), (1, "1a", 1), (2, "1aa", 2)] {
        let (backend, _) = dead_run(3);
        let watched = Watched::over(backend);
        watched.damage_record(Some(damaged));
        let store = store(&watched);
        for error in [
            store.head().unwrap_err(),
            store.begin("apply", Wait::none()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), &ErrorKind::Damaged, "{error}");
        }
        let salvaged = store.salvage().unwrap().unwrap();
        assert_eq!(salvaged.changes, changes);
        assert!(salvaged.lost.unwrap().is_damaged());
        assert_eq!(store.salvage().unwrap().map(|salvaged| salvaged.changes), None);
        let head = store.head().unwrap().unwrap();
        assert_eq!((head.revision, head.document), (salvaged.revision, note(kept)));
        let next = begin(&store);
        assert_eq!(next.recovered(), 0);
        next.apply(add("!"))
            .unwrap_or_else(|error| assert!(error.is_damaged()));
    }
}

#[test]
fn an_undamaged_journal_is_salvaged_whole() {
    let (backend, _) = dead_run(3);
    let salvaged = store(&backend).salvage().unwrap().unwrap();
    assert_eq!((salvaged.changes, salvaged.lost.is_none()), (3, true));
    assert_eq!(store(&backend).head().unwrap().unwrap().document, note("1aaa"));
    assert!(store(&backend).salvage().unwrap().is_none());
    assert!(store(&MemoryBackend::new(id())).salvage().unwrap().is_none());
}

/// Whoever lost the key of a run gives up its changes, on purpose.
#[test]
fn a_journal_of_a_lost_key_is_salvaged_on_purpose_only() {
    let (backend, [first, _]) = two();
    let keys = Keyring::from(key(2)).also_open(key(1)).unwrap();
    let lost: Store<Note> = Store::new(backend.clone(), keys)
        .with_recipients([key(2).recipient().clone()])
        .document();
    let run = begin(&lost);
    run.apply(add("a")).unwrap();
    kill(&backend, run);

    let store = store(&backend);
    for error in [
        store.head().unwrap_err(),
        store.begin("apply", Wait::none()).unwrap_err(),
        store.set_current(&store.list().unwrap()[1]).unwrap_err(),
    ] {
        assert_eq!(error.kind(), &ErrorKind::WrongKey, "{error}");
    }
    assert_eq!(store.get(&first).unwrap(), note("1"));
    let salvaged = store.salvage().unwrap().unwrap();
    assert_eq!(salvaged.changes, 0);
    assert_eq!(salvaged.lost.unwrap().kind(), &ErrorKind::WrongKey);
    assert_eq!(store.head().unwrap().unwrap().document, note("1"));
}

#[test]
fn a_journal_without_its_base_is_not_salvaged() {
    let (backend, [first, _]) = dead_run(3);
    let sealed = backend.read(&first, u64::MAX).unwrap();
    let mut damaged = sealed.clone();
    *damaged.last_mut().unwrap() ^= 1;
    backend.overwrite_snapshot(&first, damaged);
    assert!(store(&backend).salvage().unwrap_err().is_damaged());
    assert!(store(&backend).begin("apply", Wait::none()).is_err());
    // Nothing was dropped.
    backend.overwrite_snapshot(&first, sealed);
    assert_eq!(begin(&store(&backend)).recovered(), 3);
}

/// Each try left a revision of the dead run that was never current.
#[test]
fn a_recovery_that_cannot_move_current_leaves_no_revision() {
    let (backend, written) = dead_run(2);
    let watched = Watched::over(backend);
    watched.fail_all(Method::SetCurrent, Fault::Before(ErrorKind::Io));
    for _ in 0..3 {
        let refused = store(&watched).begin("next", Wait::none()).unwrap_err();
        assert_eq!(refused.kind(), &ErrorKind::Io);
        assert_eq!(store(&watched).salvage().unwrap_err().kind(), &ErrorKind::Io);
    }
    assert_eq!(store(&watched).list().unwrap(), written);
    watched.without_faults();
    let next = begin(&store(&watched));
    assert_eq!((next.recovered(), next.state().0.as_str()), (2, "1aa"));
    assert_eq!(store(&watched).list().unwrap().len(), 3);
}

/// The reader has read the base when its bytes are replaced, and finds a journal that was begun for the new ones.
#[test]
fn a_reader_that_meets_a_replacement_reports_no_damage() {
    let (backend, [base, _]) = two();
    let writer = begin(&store(&backend));
    let reader = Watched::over(backend);
    reader.hook(move |method, nth| {
        if method == Method::ReadJournal && nth == 1 {
            reseal(&writer, &base).unwrap();
            writer.apply(add("a")).unwrap();
        }
        None
    });
    let head = store(&reader).head().unwrap().unwrap();
    assert_eq!(head.document, note("1a"));
}

/// A first run that dies again and again at the same place, with seventeen such deaths in all.
#[test]
fn first_runs_that_keep_dying_leave_a_fresh_stack() {
    let watched = Watched::fresh();
    for _ in 0..20 {
        let run = begin(&store(&watched));
        watched.fail_all(Method::SetCurrent, Fault::Panic);
        let panicked = std::thread::scope(|scope| scope.spawn(|| run.apply(add("a"))).join());
        assert!(panicked.is_err());
        kill(&watched.backend, run);
        watched.without_faults();
    }
    assert_eq!(store(&watched).head().unwrap(), None);
    let run = begin(&store(&watched));
    run.apply(add("a")).unwrap();
    let revision = run.finish("").unwrap().unwrap();
    assert_eq!(store(&watched).list().unwrap(), [revision]);
}

/// Each made a genesis, and one of them stayed.
#[test]
fn two_children_of_a_fresh_stack_leave_one_revision() {
    let watched = Watched::fresh();
    let parent = store(&watched).lock("parent", Wait::none()).unwrap();
    let (one, two) = (join(&watched, &*parent), join(&watched, &*parent));
    one.apply(add("a")).unwrap();
    assert!(two.apply(add("b")).unwrap_err().is_current_moved());
    let revision = one.finish("").unwrap().unwrap();
    assert_eq!(store(&watched).list().unwrap(), [revision]);
}

/// A handle that has seen a failed flush deletes nothing any more, so each of its commits left a revision.
#[test]
fn what_a_run_could_not_remove_goes_with_the_next_run() {
    let watched = Watched::over(two().0);
    let before = store(&watched).list().unwrap();
    let run = begin(&store(&watched));
    watched.fail_all(Method::Remove, Fault::Before(ErrorKind::Io));
    for text in ["a", "b", "c", "d"] {
        run.apply(add(text)).unwrap();
        run.commit("").unwrap();
    }
    let last = run.finish("").unwrap().unwrap();
    drop(run);
    assert_eq!(store(&watched).list().unwrap().len(), before.len() + 4);
    watched.without_faults();
    drop(begin(&store(&watched)));
    let after = store(&watched).list().unwrap();
    assert_eq!(after, [before, vec![last]].concat());
}
