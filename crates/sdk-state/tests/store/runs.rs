//! What a run keeps, and what it leaves (R1, R2, R3).

use crate::support::{Note, add, base64_of, id, key, note, reseal, store};
use crate::watched::{Method, Watched};
use sdk_state::encrypt::{Keyring, Noop};
use sdk_state::{
    Binding, Category, Change, Entry, EntryKind, EnvelopeVersion, Error, ErrorKind, Json, MemoryBackend,
    Provenance, Revision, Run, Snapshot, StackId, Store, Wait,
};
use std::pin::pin;
use std::slice;
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

fn begin(watched: &Watched) -> Run<Note> {
    store(watched).begin("apply", Wait::none()).unwrap()
}

fn head(watched: &Watched) -> Note {
    store(&watched.backend).head().unwrap().unwrap().document
}

/// Waits without a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_change_is_durable_when_its_call_returns() {
    let backend = MemoryBackend::new(id());
    let run = store(&backend).begin("apply", Wait::none()).unwrap();
    for (text, expected, count) in [("a", "a", 1), ("b", "ab", 2), ("c", "abc", 3)] {
        run.apply(add(text)).unwrap();
        let head = store(&backend).head().unwrap().unwrap();
        assert_eq!(head.document, note(expected));
        let unfinished = head.unfinished.unwrap();
        assert_eq!((unfinished.changes, &*unfinished.by.operation), (count, "apply"));
        // Nobody needs a key to see that.
        let seen = Store::new(backend.clone(), Noop).unfinished().unwrap();
        assert_eq!(seen, Some(unfinished));
    }
    let revision = run.finish("three").unwrap().unwrap();
    let head = store(&backend).head().unwrap().unwrap();
    assert_eq!((&head.revision, head.document), (&revision, note("abc")));
    assert_eq!(head.unfinished, None);
    assert_eq!(store(&backend).list().unwrap(), slice::from_ref(&revision));
    assert_eq!(store(&backend).lock_status().unwrap(), None);
    let header = store(&backend).header(&revision).unwrap();
    assert_eq!(header.message.as_deref(), Some("three"));
    assert!(!header.is_genesis);
}

#[test]
fn a_run_without_changes_writes_nothing() {
    let watched = Watched::fresh();
    assert_eq!(begin(&watched).finish("nothing").unwrap(), None);
    drop(begin(&watched));
    let revision = store(&watched.backend).write(&note("one"), "").unwrap();
    store(&watched.backend).set_current(&revision).unwrap();
    let run = begin(&watched);
    assert_eq!(
        (run.base(), run.commit("nothing").unwrap()),
        (Some(revision), None)
    );
    run.finish("nothing").unwrap();
    for method in [Method::Create, Method::SetCurrent, Method::Append, Method::Remove] {
        assert_eq!(watched.count(method), 0, "{method:?}");
    }
}

#[test]
fn a_finished_run_takes_nothing_more() {
    let run = begin(&Watched::fresh());
    run.apply(add("a")).unwrap();
    run.finish("").unwrap();
    for error in [
        run.check().unwrap_err(),
        run.apply(add("b")).unwrap_err(),
        run.submit(add("b")).wait().unwrap_err(),
        run.commit("").unwrap_err(),
        run.finish("").unwrap_err(),
        run.save(note("b"), "").unwrap_err(),
    ] {
        assert_eq!(error.kind(), &ErrorKind::Finished);
    }
    assert_eq!(run.orphan(), None);
}

/// A change submitted while `finish` wrote was reported as durable, but stayed in the journal.
#[test]
fn finish_commits_what_is_submitted_meanwhile() {
    let watched = Watched::fresh();
    let run = Arc::new(begin(&watched));
    run.apply(add("a")).unwrap();
    let (tickets, submitted) = mpsc::channel();
    let other = Arc::downgrade(&run);
    watched.hook(move |method, nth| {
        if (method, nth) == (Method::SetCurrent, 2) {
            tickets.send(other.upgrade().unwrap().submit(add("b"))).unwrap();
        }
        None
    });
    let revision = run.finish("both").unwrap();
    submitted.recv().unwrap().wait().unwrap();
    let head = store(&watched).head().unwrap().unwrap();
    assert_eq!((head.document, head.unfinished), (note("ab"), None));
    assert_eq!(Some(head.revision), revision);
}

/// While the first thread appends, nine wait. One of them writes for all; the others write nothing.
#[test]
fn threads_that_change_at_once_share_an_append() {
    let watched = Watched::fresh();
    let gate = Arc::new(Barrier::new(2));
    let open = Arc::clone(&gate);
    watched.hook(move |method, nth| {
        if (method, nth) == (Method::Append, 1) {
            open.wait();
        }
        None
    });
    let run = begin(&watched);
    thread::scope(|scope| {
        for number in 0..10 {
            let run = &run;
            scope.spawn(move || run.apply(add(&number.to_string())).unwrap());
        }
        while run.state().0.len() < 10 {
            thread::yield_now();
        }
        gate.wait();
    });
    assert_eq!(watched.count(Method::Append), 2);
    watched.backend.kill_holder();
    let next = begin(&watched);
    assert_eq!((next.recovered(), next.took_over().is_some()), (10, true));
    assert_eq!(next.state(), run.state());
    let mut digits: Vec<char> = next.state().0.chars().collect();
    digits.sort_unstable();
    assert_eq!(digits.into_iter().collect::<String>(), "0123456789");
}

#[test]
fn tickets_tell_when_changes_are_durable() {
    let watched = Watched::fresh();
    let run = begin(&watched);
    let (first, second) = (run.submit(add("a")), run.submit(add("b")));
    block_on(second).unwrap();
    assert_eq!(head(&watched), note("ab"));
    // The change stays submitted.
    drop(run.submit(add("c")));
    run.submit(add("d")).wait().unwrap();
    assert_eq!(head(&watched), note("abcd"));
    first.wait().unwrap();
    let last = run.submit(add("e"));
    drop(run);
    block_on(last).unwrap();
    assert_eq!(head(&watched), note("abcde"));
}

/// A woken executor may look at the run at once, or drop its owner. Both happened under the run's mutex.
#[test]
fn a_waker_may_use_and_drop_the_run() {
    struct Look(Run<Note>, mpsc::Sender<String>);
    impl Wake for Look {
        fn wake(self: Arc<Self>) {
            self.1.send(self.0.state().0.clone()).unwrap();
        }
    }
    let watched = Watched::fresh();
    let gate = Arc::new(Barrier::new(2));
    let open = Arc::clone(&gate);
    watched.hook(move |method, _| {
        if method == Method::Append {
            open.wait();
        }
        None
    });
    let run = begin(&watched);
    let mut ticket = Box::pin(run.submit(add("a")));
    let (seen, looks) = mpsc::channel();
    let waker = Waker::from(Arc::new(Look(run, seen)));
    assert!(
        ticket
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    gate.wait();
    assert_eq!(looks.recv_timeout(Duration::from_secs(60)).unwrap(), "a");
    assert!(block_on(ticket).is_ok());
    let next = store(&watched.backend)
        .begin("next", Duration::from_secs(60))
        .unwrap();
    assert_eq!((next.took_over(), next.recovered()), (None, 1));
}

#[test]
fn a_view_does_not_change_later() {
    let run = begin(&Watched::fresh());
    run.apply(add("a")).unwrap();
    let view = run.state();
    run.apply(add("b")).unwrap();
    run.commit("").unwrap();
    run.save(note("c"), "").unwrap();
    assert_eq!((view.0.as_str(), run.state().0.as_str()), ("a", "c"));
}

#[test]
fn an_entry_is_found_as_soon_as_it_is_submitted() {
    let store = Store::new(MemoryBackend::new(id()), key(1));
    let run = store.begin("apply", Wait::none()).unwrap();
    let vpc = || {
        let binding = Binding::new("aws", "vpc");
        Entry::new("vpc", EntryKind::Leaf, Category::Resource, binding)
    };
    let ticket = run.submit(sdk_state::StateChange::Put(vpc()));
    assert_eq!(run.find("vpc").as_deref(), Some(&vpc()));
    ticket.wait().unwrap();
    run.set_outputs(Some(Json::parse(r#"{"n":1}"#).unwrap())).unwrap();
    run.remove("vpc").unwrap();
    assert_eq!(run.find("vpc"), None);
    let mut broken = vpc();
    broken.address = String::new();
    assert_eq!(run.put(broken).unwrap_err().kind(), &ErrorKind::InvalidSnapshot);
    // The refused change is not in the document.
    run.finish("").unwrap();
    let document = store.head().unwrap().unwrap().document;
    assert_eq!(
        (document.len(), document.outputs),
        (0, Some(Json::parse(r#"{"n":1}"#).unwrap()))
    );
}

/// V12: the document was built before the change.
#[test]
fn a_save_over_uncommitted_changes_is_refused() {
    let watched = Watched::fresh();
    let run = begin(&watched);
    let document = (*run.state()).clone();
    run.apply(add("a")).unwrap();
    let error = run.save(document.clone(), "").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unsupported);
    assert_eq!(head(&watched), note("a"));
    run.commit("").unwrap();
    run.save(document.clone(), "").unwrap();
    assert_eq!(head(&watched), document);
}

#[test]
fn a_run_keeps_the_last_revision_that_it_made() {
    let watched = Watched::fresh();
    let run = begin(&watched);
    let first = run.save(note("one"), "first").unwrap();
    let second = run.save(note("two"), "second").unwrap();
    assert_ne!(first, second);
    assert_eq!(store(&watched).list().unwrap(), [second]);
    run.apply(add("+")).unwrap();
    let third = run.commit("third").unwrap();
    assert_eq!(run.commit("again").unwrap(), third);
    assert_eq!(run.base(), third);
    // What was committed with a message keeps it.
    assert_eq!(run.finish("last").unwrap(), third);
    assert_eq!(
        store(&watched).list().unwrap(),
        third.clone().into_iter().collect::<Vec<_>>()
    );
    let header = store(&watched).header(&third.unwrap()).unwrap();
    assert_eq!(header.message.as_deref(), Some("third"));
}

/// A run removes its previous revision, and the first run its genesis. The next revision named that one as its parent, so that
/// the history ended at every long run.
#[test]
fn a_parent_is_never_a_revision_that_is_replaced() {
    let watched = Watched::fresh();
    let parent = |rev: &Option<Revision>| store(&watched).header(rev.as_ref().unwrap()).unwrap().parent;
    let run = begin(&watched);
    run.apply(add("a")).unwrap();
    let first = run.finish("first").unwrap();
    assert_eq!(parent(&first), None);

    let run = begin(&watched);
    for text in ["b", "c", "d"] {
        run.apply(add(text)).unwrap();
        let committed = run.commit(text).unwrap();
        assert_eq!(parent(&committed), first);
    }
    // It dies, and its journal continues its own revision.
    run.apply(add("e")).unwrap();
    drop(run);
    let run = begin(&watched);
    let recovered = run.base();
    assert_eq!(parent(&recovered), first);
    run.apply(add("f")).unwrap();
    let last = run.finish("last").unwrap();
    assert_eq!(parent(&last), recovered);
    assert_eq!(head(&watched), note("abcdef"));
}

/// A journal of 1 MiB becomes a revision, which gets the message at the end.
#[test]
fn a_long_journal_is_folded() {
    let watched = Watched::fresh();
    let run = begin(&watched);
    let mut expected = String::new();
    for number in 0..5 {
        let text = number.to_string().repeat(400 << 10);
        run.apply(add(&text)).unwrap();
        expected += &text;
        assert_eq!(head(&watched).0.len(), expected.len());
    }
    assert_eq!(store(&watched).list().unwrap().len(), 1);
    assert!(watched.count(Method::Append) < 5);
    let moves = watched.count(Method::SetCurrent);
    assert_eq!(moves, 2, "the genesis and one fold");
    let revision = run.finish("long").unwrap().unwrap();
    assert_eq!(store(&watched).list().unwrap(), slice::from_ref(&revision));
    let header = store(&watched).header(&revision).unwrap();
    assert_eq!(header.message.as_deref(), Some("long"));
    assert_eq!(head(&watched), note(&expected));
}

/// The journal of a small document may be longer than the store's limit for documents.
#[test]
fn a_journal_longer_than_the_limit_is_read() {
    let backend = MemoryBackend::new(id());
    let limited = Store::new(backend.clone(), key(1)).with_limit(4 << 10);
    let run = limited.begin("apply", Wait::none()).unwrap();
    for _ in 0..100 {
        let binding = Binding::new("aws", "vpc");
        run.put(Entry::new("vpc", EntryKind::Leaf, Category::Resource, binding))
            .unwrap();
    }
    assert_eq!(limited.head().unwrap().unwrap().unfinished.unwrap().changes, 100);
    backend.kill_holder();
    assert_eq!(limited.begin("next", Wait::none()).unwrap().recovered(), 100);
}

#[test]
fn a_run_moves_current_and_goes_on_from_there() {
    let watched = Watched::fresh();
    let old = store(&watched).write(&note("old"), "").unwrap();
    let new = store(&watched).write(&note("new"), "").unwrap();
    store(&watched).set_current(&new).unwrap();
    let run = begin(&watched);
    run.set_current(&new).unwrap();
    run.apply(add("+")).unwrap();
    run.set_current(&old).unwrap();
    // What was there is a revision now.
    let list = store(&watched).list().unwrap();
    assert_eq!(
        (list.len(), store(&watched).get(&list[2]).unwrap()),
        (3, note("new+"))
    );
    assert_eq!((run.base(), head(&watched)), (Some(old.clone()), note("old")));
    run.apply(add("!")).unwrap();
    run.delete(&new).unwrap();
    let error = run.delete(&old).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::RevisionIsCurrent);
    run.finish("").unwrap();
    assert_eq!(head(&watched), note("old!"));
    assert_eq!(store(&watched).list().unwrap().len(), 3);
}

#[test]
fn a_missing_revision_does_not_become_current() {
    let watched = Watched::fresh();
    let run = begin(&watched);
    run.apply(add("a")).unwrap();
    let error = run.set_current(&"2026-07-10T12:00:00Z".parse().unwrap());
    assert!(error.unwrap_err().is_not_found());
    run.apply(add("b")).unwrap();
    assert_eq!(head(&watched), note("ab"));
}

#[test]
fn no_journal_stays_wrapped_for_old_recipients() {
    let watched = Watched::fresh();
    let run = begin(&watched);
    run.apply(add("a")).unwrap();
    let base = run.base().unwrap();
    // The base was replaced by a revision before its bytes could be.
    assert!(reseal(&run, &base).unwrap_err().is_not_found());
    assert_eq!(store(&watched).unfinished().unwrap(), None);
    let base = run.base().unwrap();
    reseal(&run, &base).unwrap();
    run.apply(add("b")).unwrap();
    assert_eq!(head(&watched), note("ab"));
}

#[test]
fn without_a_journal_each_batch_is_a_revision() {
    let watched = Watched::fresh();
    let plain = || Keyring::from(Noop).accept_v1(Noop).unwrap();
    let old = Store::new(watched.clone(), plain())
        .with_envelope(EnvelopeVersion::V1)
        .document::<Note>();
    let run = old.begin("apply", Wait::none()).unwrap();
    for (text, expected) in [("a", "a"), ("b", "ab"), ("c", "abc")] {
        run.apply(add(text)).unwrap();
        let head = old.head().unwrap().unwrap();
        assert_eq!((head.document, head.unfinished), (note(expected), None));
        assert_eq!(old.list().unwrap(), [head.revision]);
    }
    let revision = run.finish("").unwrap().unwrap();
    assert_eq!(old.list().unwrap(), [revision]);
    assert_eq!(watched.count(Method::Append), 0);
}

#[test]
fn no_run_and_no_ticket_shows_a_secret() {
    let watched = Watched::fresh();
    let run = store(&watched)
        .with_provenance(Provenance::new().with_author("alice"))
        .begin("apply", Wait::none())
        .unwrap();
    let ticket = run.submit(add("hunter2-hunter2"));
    let shown = format!("{run:?} {ticket:?} {:?}", run.check());
    ticket.wait().unwrap();
    let head = format!("{:?}", store(&watched).unfinished().unwrap());
    for text in [shown, head] {
        assert!(
            !text.contains("hunter2") && !text.contains(&base64_of([1; 32])),
            "{text}"
        );
    }
}

/// A panic in a waker ended the thread that writes: tickets that came later never became ready.
#[test]
fn a_waker_that_panics_stops_nobody() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a panic in an executor");
        }
    }
    let watched = Watched::fresh();
    let gate = Arc::new(Barrier::new(2));
    let open = Arc::clone(&gate);
    watched.hook(move |method, nth| {
        if method == Method::Append && nth == 1 {
            open.wait();
        }
        None
    });
    let run = begin(&watched);
    let mut ticket = Box::pin(run.submit(add("a")));
    let waker = Waker::from(Arc::new(Panics));
    assert!(
        ticket
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    gate.wait();
    assert!(block_on(ticket).is_ok());
    let (done, answers) = mpsc::channel();
    let later = run.submit(add("b"));
    thread::spawn(move || done.send(block_on(later)));
    answers.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
}

/// A text in one of two versions of its format, of which the older one is still read and changed.
#[derive(Debug, Clone, PartialEq)]
struct Versioned(&'static str, String);

#[derive(Debug)]
struct Extend(String);

impl Change<Versioned> for Extend {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn apply(self, text: &mut Versioned) {
        assert_ne!(self.0, "panic");
        text.1.push_str(&self.0);
    }
}

impl Snapshot for Versioned {
    const PAYLOAD: &'static str = "text-2";
    type Change = Extend;

    fn fresh(_: &StackId) -> Self {
        Self(Self::PAYLOAD, String::new())
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        Ok(self.1.clone().into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Self::decode_payload(Self::PAYLOAD, bytes.to_vec())
    }

    fn payload(&self) -> &str {
        self.0
    }

    fn decode_payload(payload: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        let payload = if payload == "text-1" {
            "text-1"
        } else {
            Self::PAYLOAD
        };
        Ok(Self(payload, String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// The journal named the first type of the Rust type, and could not be read.
#[test]
fn a_journal_names_the_type_of_the_document_that_it_changes() {
    let store = Store::new(MemoryBackend::new(id()), key(1)).document::<Versioned>();
    for payload in ["text-1", "text-2"] {
        let run = store.begin("apply", Wait::none()).unwrap();
        run.save(Versioned(payload, "a".into()), "").unwrap();
        run.apply(Extend("b".into())).unwrap();
        drop(run);
        let run = store.begin("apply", Wait::none()).unwrap();
        run.apply(Extend("c".into())).unwrap();
        let head = store.head().unwrap().unwrap();
        assert_eq!(head.document, Versioned(payload, "abc".into()));
    }
}

/// What it had made of the change by then was committed with the next one.
#[test]
fn a_change_that_panics_ends_the_run() {
    let store = Store::new(MemoryBackend::new(id()), key(1)).document::<Versioned>();
    let run = store.begin("apply", Wait::none()).unwrap();
    run.apply(Extend("a".into())).unwrap();
    let panicked = thread::scope(|scope| scope.spawn(|| run.apply(Extend("panic".into()))).join());
    assert!(panicked.is_err());
    assert!(run.check().unwrap_err().is_outcome_unknown());
    assert!(run.commit("").is_err());
    drop(run);
    assert_eq!(store.head().unwrap().unwrap().document.1, "a");
}
