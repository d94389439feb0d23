//! What the real library finds in a state that a crash has left.

use super::script::{FACTORY, LOCK, ROOT, SNAPSHOTS, STACK, open};
use super::states::{Tree, age};
use crate::note::Note;
use sdk_state::{Backend as _, ErrorKind, Expect, Revision, Wait, WriteOptions};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Errors are kept as what they say.
#[derive(Debug, Default)]
pub(super) struct Observation {
    /// What every listed revision holds.
    pub(super) listed: BTreeMap<Revision, Result<String, String>>,
    /// `None` when there is no pointer.
    pub(super) current: Option<Result<Revision, String>>,
    /// What the current revision holds.
    pub(super) head: Option<Result<String, String>>,
    /// The length of the marker that lies there.
    pub(super) marker: Option<usize>,
    /// Whether the lock was had by taking it over from somebody.
    pub(super) takes_over: Option<Result<bool, String>>,
    /// What went wrong when the store was used afterwards.
    pub(super) afterwards: Option<String>,
    /// What nobody could look at.
    pub(super) unreadable: Option<String>,
}

/// Makes the state in an empty directory and uses it.
pub(super) fn observe(tree: &Tree, base: &Path) -> Observation {
    let marker: Vec<&str> = ROOT.split('/').chain([FACTORY, STACK, LOCK]).collect();
    let mut seen = Observation {
        marker: tree.at(&marker).and_then(Tree::bytes),
        ..Observation::default()
    };
    let looked = tree
        .make(base)
        .map_err(|error| error.to_string())
        .and_then(|()| look(base, &mut seen));
    if let Err(problem) = looked {
        seen.unreadable = Some(problem);
    } else {
        seen.afterwards = use_it(base, &mut seen).err();
    }
    seen
}

fn look(base: &Path, seen: &mut Observation) -> Result<(), String> {
    let words = words(base);
    let store = open(base).map_err(&words)?;
    for rev in store.list().map_err(&words)? {
        let held = store.get(&rev).map(|note| note.0).map_err(&words);
        seen.listed.insert(rev, held);
    }
    match store.current_rev() {
        Err(error) if matches!(error.kind(), ErrorKind::NoCurrent { .. }) => {}
        current => {
            seen.current = Some(current.map_err(&words));
            seen.head = Some(store.current().map(|note| note.0).map_err(&words));
        }
    }
    Ok(())
}

/// A whole run, as the next user of the store makes it: litter must not disturb it, and it must not disturb the rest.
fn use_it(base: &Path, seen: &mut Observation) -> Result<(), String> {
    let words = words(base);
    let store = open(base).map_err(&words)?;
    let lock = match store.lock("afterwards", &Wait::none()) {
        Ok(lock) => lock,
        Err(error) => {
            seen.takes_over = Some(Err(words(error)));
            return Ok(());
        }
    };
    seen.takes_over = Some(Ok(lock.took_over().is_some()));
    let text = "afterwards";
    let rev = store
        .write(&Note(text.into()), &WriteOptions::new())
        .map_err(&words)?;
    if let Some(Ok(current)) = &seen.current
        && rev <= *current
    {
        return Err(format!(
            "the next write got {rev}, which does not sort after the current {current}"
        ));
    }
    store
        .compare_and_set_current(Expect::Anything, &rev, Some(lock.as_ref()))
        .map_err(&words)?;
    let head = store.head().map_err(&words)?;
    if head.0 != rev || head.1.0 != text {
        return Err(format!("after the next set_current the head is {head:?}"));
    }
    for (listed, held) in &seen.listed {
        if &store.get(listed).map(|note| note.0).map_err(&words) != held {
            return Err(format!("the next write has changed {listed}"));
        }
    }
    if store.list().map_err(&words)?.len() != seen.listed.len() + 1 {
        return Err("the next write has added or removed more than one revision".into());
    }
    if let Some(oldest) = seen.listed.keys().next() {
        store.delete(oldest, Some(lock.as_ref())).map_err(&words)?;
    }
    lock.unlock().map_err(&words)?;
    // The second name of a marker that was taken over is young again, and free only now; and a handle cleans once in ten
    // minutes.
    let stack = base.join(ROOT).join(FACTORY).join(STACK);
    let io_words = |error: io::Error| error.to_string();
    for path in temporaries(&stack).map_err(io_words)? {
        let file = fs::File::options().write(true).open(path).map_err(io_words)?;
        age(&file).map_err(io_words)?;
    }
    let store = open(base).map_err(&words)?;
    let again = store.lock("again", &Wait::none()).map_err(&words)?;
    if again.took_over().is_some() {
        return Err("a lock that was given back is taken over".into());
    }
    again.unlock().map_err(&words)?;
    match temporaries(&stack).map_err(io_words)?.as_slice() {
        [] => Ok(()),
        litter => Err(format!("old temporaries were not cleaned away: {litter:?}")),
    }
}

/// The temporaries in the stack's directory and in that of the snapshots.
fn temporaries(stack: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for directory in [stack, &stack.join(SNAPSHOTS)] {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// An error with all its causes, and without the place of the base, which is another one each time.
fn words(base: &Path) -> impl Fn(sdk_state::Error) -> String {
    let base = format!("{}/", base.display());
    move |error| {
        let mut words = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            words = format!("{words}: {cause}");
            source = cause.source();
        }
        words.replace(&base, "")
    }
}
