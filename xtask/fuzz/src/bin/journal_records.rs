//! The records of a journal. An input whose first byte has its high bit set, as the magic has, is record 0 as it is. Any other
//! one is `options header LF changes`, one change a line and an empty line between two records, from which records are sealed
//! as they should be.
//!
//! Laws: the state is that of the base with every change made, or there is an error. With a real key, a journal of which a bit
//! was changed, or a record left out or doubled, does not open (R5). What opens is committed by the next run as it is; what does
//! not stays as it is, until what can be read of it is salvaged. No error tells a value of a change (E4).

#![no_main]

use fuzz::{ID, REVISION, check_error, rings, sealing, subject};
use sdk_state::encrypt::Keyring;
use sdk_state::{
    Appended, Backend as _, Change as _, Created, Error, ErrorKind, Expect, Holder, MemoryBackend, Pointer,
    Snapshot as _, State, StateChange, Store, TryLock, Wait,
};
use std::sync::LazyLock;

/// The journal is not encrypted.
const PLAIN: u8 = 1;
/// Each record claims one change too few.
const TOO_FEW: u8 = 2;
/// Each record has a byte behind its changes.
const LONGER: u8 = 4;
/// What the base holds.
const DOCUMENT: &str = r#"{"format-version":1,"factory":{"name":"net","version":"v1","content-revision":"8c1f"},"stack":"prod","generated-at":"2026-07-10T12:00:00Z","entries":[{"address":"resource.vpc","entry-kind":"leaf","category":"resource","binding":{"alias":"aws","kind":"vpc"}}]}"#;
const HEADER: &str = r#"{"envelope-version":2,"payload-type":"state","factory":"net","stack":"prod","revision":"2026-07-10T12:00:00Z","parent":null,"compression":"none","length":@length@,"seal":"@seal@","recipients":[@recipients@],"provenance":{"written-at":"2026-07-10T12:00:00Z"}}"#;
const RECIPIENT: &str =
    r#"{"name":"env-key","body":{"env-var":"KEY","fingerprint":"64983290c72ca770"},"wrapped-key":"@key@"}"#;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((&options, rest)) if options < 0x80 => made(options, rest),
        _ => {
            for ring in [&rings().plain, &rings().without_v1] {
                let stack = Stack::new(ring, base(ring), &[input.to_vec()]);
                stack.settle(stack.head().is_ok(), input, input);
            }
        }
    }
});

/// Sealed once for each ring.
fn base(ring: &Keyring) -> &'static [u8] {
    static BASES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
        [
            (&rings().plain, "none", ""),
            (&rings().without_v1, "chacha20-poly1305", RECIPIENT),
        ]
        .map(|(ring, seal, recipients)| {
            let header = HEADER.replace("@seal@", seal).replace("@recipients@", recipients);
            sealing::seal(ring, subject(), &header, DOCUMENT.as_bytes(), DOCUMENT.len())
        })
    });
    &BASES[usize::from(!ring.is_plain())]
}

fn made(options: u8, input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (header, changes) = input.split_at(end.unwrap_or(input.len()));
    let Ok(header) = str::from_utf8(header) else {
        return;
    };
    let ring = match options & PLAIN {
        0 => &rings().without_v1,
        _ => &rings().plain,
    };
    let changes: Vec<Vec<&[u8]>> = changes
        .get(1..)
        .unwrap_or_default()
        .split(|byte| *byte == b'\n')
        .collect::<Vec<_>>()
        .split(|line| line.is_empty())
        .map(<[_]>::to_vec)
        .collect();
    let batches: Vec<_> = changes.iter().map(|changes| batch(options, changes)).collect();
    let records = sealing::seal_journal(ring, subject(), base(ring), header, &batches);

    let stack = Stack::new(ring, base(ring), &records);
    let expected = expected(options, &changes);
    let opened = stack.head();
    let told = header.as_bytes();
    match &opened {
        Ok(state) => {
            assert!(Some(state) == expected.as_ref(), "another state");
            obeys(ring, &records, input, told);
        }
        // The header may be anything, and the document may be valid nevertheless.
        Err(error) => check(error, input, told),
    }
    stack.settle(opened.is_ok(), input, told);
}

fn batch(options: u8, changes: &[&[u8]]) -> (u32, Vec<u8>) {
    let mut batch = Vec::new();
    for change in changes {
        batch.extend_from_slice(&(change.len() as u32).to_le_bytes());
        batch.extend_from_slice(change);
    }
    if options & LONGER != 0 {
        batch.push(0);
    }
    let fewer = u32::from(options & TOO_FEW != 0);
    ((changes.len() as u32).wrapping_sub(fewer), batch)
}

/// `None` if there can be no state.
fn expected(options: u8, changes: &[Vec<&[u8]>]) -> Option<State> {
    let mut state = State::decode(DOCUMENT.as_bytes()).expect("a document");
    if options & (TOO_FEW | LONGER) != 0 {
        return None;
    }
    for change in changes.iter().flatten() {
        StateChange::decode(change).ok()?.apply(&mut state);
    }
    Some(state)
}

/// What opens does so in this form only.
fn obeys(ring: &Keyring, records: &[Vec<u8>], hidden: &[u8], told: &[u8]) {
    // A place that depends on the whole input, so that in time every bit has its turn.
    let place = hidden.iter().fold(7_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    let refuses = |records: &[Vec<u8>]| match Stack::new(ring, base(ring), records).head() {
        Ok(_) => panic!("a changed journal opens"),
        Err(error) => check(&error, hidden, told),
    };
    let mut changed = records.to_vec();
    let number = place % changed.len();
    let at = place % changed[number].len();
    changed[number][at] ^= 1 << (place % 8);
    refuses(&changed);
    let mut cut = records.to_vec();
    cut[number].truncate(at);
    if at > 0 {
        refuses(&cut);
    }
    if number + 1 < records.len() {
        let mut fewer = records.to_vec();
        fewer.remove(number);
        refuses(&fewer);
        let mut swapped = records.to_vec();
        swapped.swap(number, number + 1);
        refuses(&swapped);
    }
    let mut doubled = records.to_vec();
    doubled.insert(number, records[number].clone());
    refuses(&doubled);
    let other = &rings().other;
    assert!(
        Stack::new(other, base(ring), records).head().is_err(),
        "another key"
    );
}

fn check(error: &Error, hidden: &[u8], told: &[u8]) {
    use ErrorKind::{Damaged, InvalidSnapshot, Misplaced, OtherPayload, Refused, TooLarge, WrongKey};
    match error.kind() {
        Damaged | InvalidSnapshot | Misplaced | OtherPayload { .. } | Refused | TooLarge | WrongKey => {}
        _ => panic!("{error:?}"),
    }
    check_error(error, hidden, told);
}

/// A stack whose current revision has a journal, of a run that died.
struct Stack {
    backend: MemoryBackend,
    store: Store,
    pointer: Pointer,
    records: Vec<Vec<u8>>,
}

impl Stack {
    fn new(ring: &Keyring, base: &[u8], records: &[Vec<u8>]) -> Self {
        let backend = MemoryBackend::new(ID.clone());
        assert_eq!(backend.create(&REVISION, base).expect("a base"), Created::Created);
        let TryLock::Held(lock) = backend.try_lock(&Holder::new("fuzz")).expect("a lock") else {
            panic!("nobody else has it");
        };
        let token = lock.token().expect("it is held").clone();
        let pointer = backend
            .set_current(Expect::Nothing, &REVISION, &token)
            .expect("a base");
        for (number, record) in records.iter().enumerate() {
            if record.is_empty() {
                break;
            }
            let appended = backend.append(&pointer, number as u64, record, &token);
            assert_eq!(appended.expect("a record"), Appended::Appended);
        }
        backend.kill_holder();
        std::mem::forget(lock);
        let store = Store::new(backend.clone(), ring.clone());
        Self {
            records: backend.read_journal(&pointer, 0, usize::MAX).expect("records"),
            backend,
            store,
            pointer,
        }
    }

    fn head(&self) -> Result<State, Error> {
        let head = self.store.head()?.expect("a current revision");
        let unfinished = self.store.unfinished().expect("what opens tells about itself");
        assert_eq!(head.unfinished, unfinished);
        assert_eq!(unfinished.is_some(), !self.records.is_empty());
        Ok(head.document)
    }

    /// The next run commits what opens.
    fn settle(&self, opens: bool, hidden: &[u8], told: &[u8]) {
        if let Err(error) = self.store.unfinished() {
            check(&error, hidden, told);
        }
        let before = self.store.head().map(|head| head.expect("a current revision"));
        match (self.store.begin("fuzz", Wait::none()), before) {
            (Ok(run), Ok(before)) => {
                assert!(opens);
                assert!(*run.state() == before.document);
                let changes = before.unfinished.map_or(0, |unfinished| unfinished.changes);
                assert_eq!(run.recovered(), changes);
                run.finish(None).expect("nothing to write");
                let after = self.store.head().expect("a head").expect("a current revision");
                assert!(after.document == before.document && after.unfinished.is_none());
            }
            (Err(error), Err(before)) => {
                assert!(!opens);
                assert_eq!(error.kind(), before.kind());
                check(&error, hidden, told);
                let kept = self.backend.read_journal(&self.pointer, 0, usize::MAX);
                assert_eq!(kept.expect("records"), self.records, "what does not open stays");
                let salvaged = self.store.salvage().expect("a base").expect("a journal");
                check(&salvaged.lost.expect("it does not open"), hidden, told);
                let head = self.store.head().expect("a head").expect("a current revision");
                assert!(head.revision == salvaged.revision && head.unfinished.is_none());
            }
            (began, before) => panic!("{began:?} after {before:?}"),
        }
    }
}
