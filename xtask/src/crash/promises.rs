//! Compares what the library finds after a crash with the promises.

use super::disk::Tree;
use super::script::{Mark, Request, lines, path_to, place, words_of};
use crate::place::{LOCK, Line, Note, save};
use sdk_state::{Error, ErrorKind, Expect, Revision, Store, Wait};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The length of every marker that can be taken over, as docs/architecture.md says.
const MARKER_BYTES: usize = 1024;

/// The states that are right after a crash, given the calls that have begun and returned so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    /// Returned, and no delete of them has begun: they must be there.
    written: BTreeMap<String, String>,
    /// The delete has returned: they must not be there.
    deleted: BTreeMap<String, String>,
    /// Of all writes that have begun.
    texts: BTreeSet<String>,
    moves: Vec<Move>,
    /// The process that runs, and what each one has asked for.
    running: usize,
    requests: BTreeMap<usize, Request>,
    /// What the revisions hold whose delete has begun.
    deleting: BTreeMap<usize, String>,
    /// When the last delete of each revision, and the last request of each process, has begun.
    deletes: BTreeMap<String, usize>,
    begun: BTreeMap<usize, usize>,
    /// Counts the marks.
    now: usize,
    runs: Runs,
}

/// What has become of the lines that runs have put.
#[derive(Debug, Clone, Default)]
struct Runs {
    lines: BTreeMap<String, Fate>,
    /// What each process's run holds, and the revision that it has committed last.
    documents: BTreeMap<usize, Vec<String>>,
    own: BTreeMap<usize, String>,
    /// The process that has begun its run last.
    holder: usize,
    /// The most revisions that they may leave: one each, and one more for each time that they go back.
    revisions: usize,
    /// Lost already before a crash.
    problems: Vec<String>,
}

/// Whether a line is in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Required,
    Open,
    Forbidden,
}

/// A move of the pointer that happens at some moment between its begin and its end, or not at all if it does not return.
#[derive(Debug, Clone, Default)]
struct Move {
    rev: Option<String>,
    by: usize,
    begun: usize,
    ended: Option<usize>,
    has_returned: bool,
}

impl Expected {
    /// Nothing is written, and nothing is current.
    pub(super) fn new() -> Self {
        let nothing = Move {
            ended: Some(0),
            has_returned: true,
            ..Move::default()
        };
        Self {
            moves: vec![nothing],
            ..Self::default()
        }
    }

    pub(super) fn note(&mut self, mark: &Mark) {
        self.now += 1;
        match mark {
            Mark::Runs(process) => self.running = *process,
            Mark::Begins(request) => self.begin(request),
            Mark::Returned(written) => match self.end(true) {
                Some(Request::Commit | Request::Finish) => {
                    if let (Some(rev), Some(document)) = (written, self.runs.documents.get(&self.running)) {
                        self.written.insert(rev.clone(), document.join("+"));
                        self.runs.own.insert(self.running, rev.clone());
                    }
                }
                Some(Request::Begin) => self
                    .runs
                    .found(self.running, written.iter().flat_map(|it| lines(it))),
                Some(Request::Put(line)) => self.runs.put(self.running, &line),
                Some(Request::Rollback(document)) => {
                    self.runs.went_back(self.running, lines(&document).collect());
                }
                Some(Request::Write(text)) => {
                    let begun = self.begun.get(&self.running);
                    // Visible is not yet returned: somebody may have deleted it already.
                    if let Some(rev) = written
                        && self.deletes.get(rev) <= begun
                    {
                        self.deleted.remove(rev);
                        self.written.insert(rev.clone(), text);
                    }
                }
                Some(Request::Delete(rev)) => {
                    if let Some(text) = self.deleting.remove(&self.running) {
                        self.deleted.insert(rev, text);
                    }
                }
                _ => {}
            },
            Mark::Failed => match self.end(false) {
                Some(Request::Delete(rev)) => {
                    if let Some(text) = self.deleting.remove(&self.running) {
                        self.written.insert(rev, text);
                    }
                }
                // An error does not move the pointer.
                Some(Request::Move(_)) => {
                    let last = self.moves.iter().rposition(|one| one.by == self.running);
                    last.map(|last| self.moves.remove(last));
                }
                _ => {}
            },
            // What a killed process has begun has happened or not, and will not happen later.
            Mark::Ended => {
                self.end(false);
            }
        }
    }

    /// What was asked for and has not been answered, in words.
    pub(super) fn in_progress(&self) -> String {
        let requests = self.requests.iter();
        let words: Vec<String> = requests
            .map(|(process, request)| format!("{request:?} of process {process} in progress"))
            .collect();
        match words.is_empty() {
            true => "nothing in progress".into(),
            false => words.join(" and "),
        }
    }

    fn begin(&mut self, request: &Request) {
        match request {
            Request::Write(text) => {
                self.texts.insert(text.clone());
            }
            Request::Move(rev) => self.moves.push(Move {
                rev: Some(rev.clone()),
                by: self.running,
                begun: self.now,
                ..Move::default()
            }),
            Request::Delete(rev) => {
                self.deletes.insert(rev.clone(), self.now);
                if let Some(text) = self.written.remove(rev) {
                    self.deleting.insert(self.running, text);
                }
            }
            Request::Put(line) => {
                self.runs.lines.insert(line.clone(), Fate::Open);
            }
            Request::Rollback(document) => self.runs.go_back(&lines(document).collect::<Vec<_>>()),
            Request::Begin => self.runs.revisions += 1,
            Request::Replace(_)
            | Request::Lock
            | Request::Unlock
            | Request::ForceUnlock
            | Request::Commit
            | Request::Finish
            | Request::Drop => {}
        }
        // A run that writes a revision removes the one before.
        if let Request::Put(_) | Request::Commit | Request::Finish | Request::Rollback(_) = request
            && let Some(own) = self.runs.own.remove(&self.running)
            && !matches!(request, Request::Rollback(_))
        {
            self.written.remove(&own);
        }
        self.begun.insert(self.running, self.now);
        self.requests.insert(self.running, request.clone());
    }

    fn end(&mut self, has_returned: bool) -> Option<Request> {
        let request = self.requests.remove(&self.running)?;
        if matches!(request, Request::Move(_))
            && let Some(last) = self.moves.iter_mut().rfind(|one| one.by == self.running)
        {
            last.ended = Some(self.now);
            last.has_returned = has_returned;
        }
        Some(request)
    }

    /// What the moves have left: each but those after whose end another one has begun and returned.
    fn currents(&self) -> BTreeSet<Option<&String>> {
        let is_over = |one: &Move, other: &Move| {
            other.has_returned && one.ended.is_some_and(|ended| ended < other.begun)
        };
        self.moves
            .iter()
            .filter(|one| !self.moves.iter().any(|other| is_over(one, other)))
            .map(|one| one.rev.as_ref())
            .collect()
    }

    /// The promises that what was found breaks.
    pub(super) fn check(&self, seen: &Observation) -> Vec<String> {
        let mut broken = Vec::new();
        let mut say = |promise: &str, problem: String| broken.push(format!("{promise}: {problem}"));
        if let Some(problem) = &seen.unreadable {
            say("W1", format!("the store cannot be read: {problem}"));
            return broken;
        }
        for (rev, text) in &self.written {
            match seen.listed.get(rev) {
                None => say("W1", format!("{rev}, whose write had returned, is gone")),
                Some(Ok(found)) if found == text => {}
                Some(found) => say("W1", format!("{rev} held {text}, and now {}", outcome(found))),
            }
        }
        for (rev, found) in &seen.listed {
            match found {
                Err(problem) => say("W2", format!("{rev} is visible and not whole: {problem}")),
                Ok(found) if !self.texts.contains(found) && !self.runs.have_put(found) => {
                    say("W2", format!("{rev} holds {found}, which nobody has written"));
                }
                Ok(found) if self.is_deleted(rev, found) => {
                    say("delete", format!("{rev}, whose delete had returned, is back"));
                }
                Ok(_) => {}
            }
        }
        match self.runs.revisions {
            0 => self.check_pointer(seen, &mut say),
            _ => self.runs.check(seen, &mut say),
        }
        check_lock(seen, &mut say);
        if let Some(problem) = &seen.afterwards {
            say("afterwards", problem.clone());
        }
        broken
    }

    fn check_pointer(&self, seen: &Observation, say: &mut impl FnMut(&str, String)) {
        let current = match &seen.current {
            None => None,
            Some(Ok(rev)) => Some(rev),
            Some(Err(problem)) => return say("C1", format!("the pointer is damaged: {problem}")),
        };
        let currents = self.currents();
        if !currents.contains(&current) {
            let expected: Vec<String> = currents.iter().map(|rev| name(*rev)).collect();
            say(
                "C1",
                format!(
                    "{} is current, and {} was expected",
                    name(current),
                    expected.join(" or ")
                ),
            );
        }
        if let Some(Err(problem)) = &seen.head {
            say("C1", format!("what is current cannot be read: {problem}"));
        }
    }

    fn is_deleted(&self, rev: &String, text: &str) -> bool {
        self.deleted.get(rev).is_some_and(|deleted| deleted == text)
    }
}

impl Runs {
    /// A run has found these lines when it began.
    fn found(&mut self, process: usize, found: impl Iterator<Item = String>) {
        let found: Vec<String> = found.collect();
        let problems = self.problems(&found);
        self.problems.extend(
            problems
                .iter()
                .map(|(_, problem)| format!("at its begin a run finds that {problem}")),
        );
        self.documents.insert(process, found);
        self.holder = process;
    }

    fn put(&mut self, process: usize, line: &str) {
        if let Some(document) = self.documents.get_mut(&process) {
            document.push(line.to_owned());
        }
        match self.documents.get(&process) {
            Some(document) if self.holder == process => self.settle(&document.clone()),
            // Whoever has evicted it must have found the line.
            _ => drop(self.lines.insert(line.to_owned(), Fate::Required)),
        }
    }

    fn go_back(&mut self, target: &[String]) {
        self.revisions += 1;
        for (line, fate) in &mut self.lines {
            if target.contains(line) != (*fate == Fate::Required) {
                *fate = Fate::Open;
            }
        }
    }

    fn went_back(&mut self, process: usize, target: Vec<String>) {
        self.settle(&target);
        self.documents.insert(process, target);
    }

    /// The document is this one, durably.
    fn settle(&mut self, document: &[String]) {
        for (line, fate) in &mut self.lines {
            *fate = match document.contains(line) {
                true => Fate::Required,
                false => Fate::Forbidden,
            };
        }
    }

    /// Whether a document consists of lines that runs have put.
    fn have_put(&self, document: &str) -> bool {
        self.revisions > 0 && lines(document).all(|line| self.lines.contains_key(&line))
    }

    /// The promises that a document breaks.
    fn problems(&self, document: &[String]) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        for (line, fate) in &self.lines {
            match (fate, document.contains(line)) {
                (Fate::Required, false) => {
                    problems.push(("R1", format!("{line}, whose put had returned, is lost")));
                }
                (Fate::Forbidden, true) => problems.push(("C1", format!("{line} is back"))),
                _ => {}
            }
        }
        for (at, line) in document.iter().enumerate() {
            if !self.lines.contains_key(line) || document[..at].contains(line) {
                problems.push(("W2", format!("{line} is there, which nobody has put there")));
            }
        }
        problems
    }

    fn check(&self, seen: &Observation, say: &mut impl FnMut(&str, String)) {
        for problem in &self.problems {
            say("R1", problem.clone());
        }
        if seen.is_pointer_lost {
            return say("R4", "the pointer is lost".into());
        }
        if let Some(Err(problem)) = &seen.current {
            return say("C1", format!("the pointer is damaged: {problem}"));
        }
        match &seen.head {
            Some(Err(problem)) => return say("R2", format!("the head cannot be read: {problem}")),
            head => {
                let document = head.iter().flatten().flat_map(|head| lines(head));
                for (promise, problem) in self.problems(&document.collect::<Vec<_>>()) {
                    say(promise, problem);
                }
            }
        }
        if seen.kept > self.revisions + 1 {
            let most = self.revisions + 1;
            say("R3", format!("{} revisions stay of {most} runs", seen.kept));
        }
    }
}

fn check_lock(seen: &Observation, say: &mut impl FnMut(&str, String)) {
    if let Some(bytes) = seen.marker.filter(|&bytes| bytes != MARKER_BYTES) {
        say(
            "L2",
            format!("the lock marker has {bytes} bytes: its holder looks like unobin"),
        );
    }
    match &seen.takes_over {
        Some(Ok(takes_over)) if *takes_over == seen.marker.is_some() => {}
        Some(Ok(true)) => say("L2", "a lock is taken over from nobody".into()),
        Some(Ok(false)) => say(
            "L2",
            "a marker was there, and nobody is named as the dead holder".into(),
        ),
        Some(Err(problem)) => say(
            "L2",
            format!("a dead holder's lock keeps the next one out: {problem}"),
        ),
        None => say("L2", "nobody could look at the lock".into()),
    }
}

fn outcome(found: &Result<String, String>) -> String {
    match found {
        Ok(text) => format!("holds {text}"),
        Err(problem) => format!("does not open: {problem}"),
    }
}

fn name(rev: Option<&String>) -> String {
    rev.map_or("nothing".into(), String::clone)
}

/// What the library finds in one state. Errors are kept as texts.
#[derive(Debug, Default)]
pub(super) struct Observation {
    /// What every listed revision holds.
    pub(super) listed: BTreeMap<String, Result<String, String>>,
    /// `None` when there is no pointer.
    pub(super) current: Option<Result<String, String>>,
    /// What the current revision holds.
    pub(super) head: Option<Result<String, String>>,
    /// There are revisions of which none is current.
    pub(super) is_pointer_lost: bool,
    /// How many revisions there are after the next run.
    pub(super) kept: usize,
    /// The length of the marker that lies there.
    pub(super) marker: Option<usize>,
    /// Whether the lock was had by taking it over from somebody.
    pub(super) takes_over: Option<Result<bool, String>>,
    /// What went wrong when the store was used afterwards.
    pub(super) afterwards: Option<String>,
    /// What nobody could look at.
    pub(super) unreadable: Option<String>,
}

/// Who uses a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum User {
    /// One that locks, writes and moves the pointer, whatever it finds.
    Lock,
    /// A run.
    Run,
}

/// Makes the state in an empty directory and uses it.
pub(super) fn observe(tree: &Tree, user: User, base: &Path) -> Observation {
    let mut seen = Observation {
        marker: tree.at(&path_to(LOCK)).and_then(Tree::bytes),
        ..Observation::default()
    };
    let made = tree.make(base).map_err(|error| error.to_string());
    match made.and_then(|()| look(base, &mut seen)) {
        Err(problem) => seen.unreadable = Some(problem),
        Ok(()) => {
            let used = match user {
                User::Lock => use_it(base, &mut seen),
                User::Run => run(base, &mut seen),
            };
            seen.afterwards = used.and_then(|()| used_up(base)).err();
        }
    }
    seen
}

fn look(base: &Path, seen: &mut Observation) -> Result<(), String> {
    let words = words(base);
    let store = place(base).open_at_noon().map_err(&words)?;
    for rev in store.list().map_err(&words)? {
        let held = store.get(&rev).map(|note| words_of(&note)).map_err(&words);
        seen.listed.insert(rev.to_string(), held);
    }
    let current = store.backend().current().map_err(&words).transpose();
    seen.current = current.map(|current| current.map(|pointer| pointer.revision.to_string()));
    seen.head = match store.head() {
        Ok(head) => head.map(|head| Ok(words_of(&head.document))),
        Err(error) if matches!(error.kind(), ErrorKind::PointerLost { .. }) => {
            seen.is_pointer_lost = true;
            None
        }
        Err(error) => Some(Err(words(error))),
    };
    Ok(())
}

/// A whole run, as the next user of the store makes it: leftover files must not disturb it, and it must not disturb the rest.
fn use_it(base: &Path, seen: &mut Observation) -> Result<(), String> {
    let words = words(base);
    let place = place(base);
    let store = place.open_at_noon().map_err(&words)?;
    let lock = match store.lock("afterwards", Wait::none()) {
        Ok(lock) => lock,
        Err(error) => {
            seen.takes_over = Some(Err(words(error)));
            return Ok(());
        }
    };
    seen.takes_over = Some(Ok(lock.took_over().is_some()));
    let text = "afterwards";
    let token = lock.token().map_err(&words)?;
    let rev = save(&store, text, Expect::Anything, token).map_err(&words)?;
    if let Some(Ok(current)) = &seen.current
        && current.parse().is_ok_and(|current: Revision| rev <= current)
    {
        return Err(format!(
            "the next write got {rev}, which does not sort after the current {current}"
        ));
    }
    match store.head().map_err(&words)? {
        Some(head) if head.revision == rev && head.document.0 == text => {}
        head => return Err(format!("after the next move the head is {head:?}")),
    }
    let mut listed = store.list().map_err(&words)?;
    for (rev, held) in &seen.listed {
        let rev = rev.parse().map_err(&words)?;
        if &store.get(&rev).map(|note| words_of(&note)).map_err(&words) != held {
            return Err(format!("the next write has changed {rev}"));
        }
    }
    if listed.len() != seen.listed.len() + 1 {
        return Err("the next write has added or removed more than one revision".into());
    }
    let oldest = listed.remove(0);
    if oldest != rev {
        store.backend().remove(&oldest, Some(token)).map_err(&words)?;
    }
    lock.unlock().map_err(&words)
}

/// The next run: what it finds is what the head has shown, and it adds one revision, beside the one of a dead run.
fn run(base: &Path, seen: &mut Observation) -> Result<(), String> {
    let words = words(base);
    let store = place(base).open_at_noon().map_err(&words)?;
    let unfinished = store.unfinished();
    if seen.is_pointer_lost || !matches!(seen.head, None | Some(Ok(_))) {
        seen.takes_over = Some(Ok(seen.marker.is_some()));
        return Ok(());
    }
    let unfinished = unfinished
        .map_err(&words)?
        .map_or(0, |unfinished| unfinished.changes);
    let run = match store.begin("afterwards", Wait::none()) {
        Ok(run) => run,
        Err(error) => {
            seen.takes_over = Some(Err(words(error)));
            return Ok(());
        }
    };
    seen.takes_over = Some(Ok(run.took_over().is_some()));
    let head = match &seen.head {
        Some(Ok(head)) => head.as_str(),
        _ => "",
    };
    let found = words_of(&run.state());
    if found != head {
        return Err(format!("the head was {head}, and the next run finds {found}"));
    }
    if run.recovered() != unfinished {
        let recovered = run.recovered();
        return Err(format!(
            "{unfinished} changes were unfinished, and {recovered} are recovered"
        ));
    }
    let before = seen.listed.len() + usize::from(unfinished > 0);
    demand_at_most(before, &store, "the begin of the next run").map_err(&words)??;
    run.apply(Line("afterwards".into())).map_err(&words)?;
    let rev = run.finish(None).map_err(&words)?;
    seen.kept = store.list().map_err(&words)?.len();
    demand_at_most(before + 1, &store, "the next run").map_err(&words)??;
    let mut expected: Vec<String> = lines(head).collect();
    expected.push("afterwards".into());
    match store.head().map_err(&words)? {
        Some(head)
            if words_of(&head.document) == expected.join("+") && Some(&head.revision) == rev.as_ref() =>
        {
            Ok(())
        }
        head => Err(format!("after the next run the head is {head:?}")),
    }
}

fn demand_at_most(most: usize, store: &Store<Note>, who: &str) -> Result<Result<(), String>, Error> {
    let found = store.list()?.len();
    Ok(match found <= most {
        true => Ok(()),
        false => Err(format!("{who} leaves {found} revisions instead of {most}")),
    })
}

/// The lock is free, and what lies there is cleaned.
fn used_up(base: &Path) -> Result<(), String> {
    let words = words(base);
    let place = place(base);
    let again = place
        .open()
        .and_then(|store| store.lock("again", Wait::none()))
        .map_err(&words)?;
    if again.took_over().is_some() {
        return Err("a lock that was given back is taken over".into());
    }
    again.unlock().map_err(&words)?;
    match place.leftovers() {
        Ok(leftovers) if leftovers.is_empty() => Ok(()),
        _ => {
            let problems = place.clean().map_err(&words)?;
            problems.first().map_or(Ok(()), |problem| {
                Err(problem.replace(&format!("{}/", base.display()), ""))
            })
        }
    }
}

/// An error with all its causes, without the path of the base, which differs each time.
fn words(base: &Path) -> impl Fn(Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(request: fn(String) -> Request, of: &str) -> Mark {
        Mark::Begins(request(of.into()))
    }

    fn returned(rev: &str) -> Mark {
        Mark::Returned(Some(rev.into()))
    }

    /// What is broken after these marks when these revisions and their texts are listed and this one is current.
    fn broken(marks: &[Mark], listed: &[(&str, &str)], current: Option<&str>) -> Vec<String> {
        let mut expected = Expected::new();
        marks.iter().for_each(|mark| expected.note(mark));
        let seen = Observation {
            listed: listed
                .iter()
                .map(|(rev, text)| ((*rev).into(), Ok((*text).into())))
                .collect(),
            current: current.map(|rev| Ok(rev.into())),
            takes_over: Some(Ok(false)),
            ..Observation::default()
        };
        let promise = |violation: &String| violation.split(':').next().unwrap().to_owned();
        expected.check(&seen).iter().map(promise).collect()
    }

    #[test]
    fn a_change_may_be_lost_until_it_has_returned() {
        let mut marks = vec![begins(Request::Write, "A")];
        assert_eq!(broken(&[], &[("a", "A")], None), ["W2"]);
        assert!(broken(&marks, &[], None).is_empty());
        marks.push(returned("a"));
        assert_eq!(broken(&marks, &[], None), ["W1"]);
        marks.push(begins(Request::Delete, "a"));
        assert!(broken(&marks, &[], None).is_empty());
        assert!(broken(&marks, &[("a", "A")], None).is_empty());
        marks.push(Mark::Returned(None));
        assert_eq!(broken(&marks, &[("a", "A")], None), ["delete"]);
        // The name is given again.
        marks.extend([begins(Request::Write, "B"), returned("a")]);
        assert!(broken(&marks, &[("a", "B")], None).is_empty());
    }

    #[test]
    fn of_two_moves_that_overlap_either_may_be_the_last() {
        let mut marks = vec![
            Mark::Runs(1),
            begins(Request::Move, "a"),
            Mark::Runs(2),
            begins(Request::Move, "b"),
            Mark::Returned(None),
        ];
        assert_eq!(broken(&marks, &[], None), ["C1"]);
        for end in [Vec::new(), vec![Mark::Runs(1), Mark::Returned(None)]] {
            marks.extend(end);
            assert!(broken(&marks, &[], Some("a")).is_empty());
            assert!(broken(&marks, &[], Some("b")).is_empty());
        }
        // A killed mover has moved it, or not.
        marks.extend([begins(Request::Move, "c"), Mark::Ended]);
        assert!(broken(&marks, &[], Some("b")).is_empty());
        assert!(broken(&marks, &[], Some("c")).is_empty());
        marks.extend([begins(Request::Move, "d"), Mark::Returned(None)]);
        assert_eq!(broken(&marks, &[], Some("c")), ["C1"]);
        assert!(broken(&marks, &[], Some("d")).is_empty());
    }

    #[test]
    fn an_error_moves_and_deletes_nothing() {
        let marks = [
            begins(Request::Write, "A"),
            returned("a"),
            begins(Request::Move, "b"),
            Mark::Failed,
            begins(Request::Delete, "a"),
            Mark::Failed,
        ];
        assert!(broken(&marks, &[("a", "A")], None).is_empty());
        assert_eq!(broken(&marks, &[], Some("b")), ["W1", "C1"]);
    }
}
