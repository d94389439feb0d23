//! Checks a stack: whatever keeps it, or may keep it, from being read.

mod finding;
mod graph;

pub(crate) use finding::{Finding, Severity};

use crate::exit::Failure;
use crate::keys::sealed_for;
use crate::progress;
use crate::stack::Stack;
use crate::unfinished::UnfinishedDocument;
use finding::Code;
use rand::TryRng as _;
use rand::rngs::SysRng;
use sdk_state::encrypt::Recipient;
use sdk_state::envelope::UnverifiedHeader;
use sdk_state::{Error, ErrorKind, IrregularityKind, Liveness, Raw, Revision, Snapshot as _, StackId, State};
use serde::Serialize;
use std::collections::BTreeSet;
use std::str::FromStr;

/// What a check of one stack found.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Checked {
    pub(crate) stack: String,
    pub(crate) current: Option<String>,
    pub(crate) revisions: usize,
    /// How many of the revisions were opened.
    pub(crate) opened: usize,
    pub(crate) findings: Vec<Finding>,
}

impl Checked {
    pub(crate) fn count(&self, severity: Severity) -> usize {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.severity == severity).count()
    }
}

/// How many of the revisions are opened, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share(f64);

impl Share {
    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0.0
    }

    /// Draws that many of the revisions at random, and always the current one.
    fn draw(
        self,
        revisions: &[Revision],
        current: Option<&Revision>,
        mut random: impl FnMut() -> Result<u64, Failure>,
    ) -> Result<BTreeSet<Revision>, Failure> {
        if self.is_zero() {
            return Ok(BTreeSet::new());
        }
        let mut others: Vec<&Revision> = revisions.iter().filter(|rev| Some(*rev) != current).collect();
        let is_listed = others.len() < revisions.len();
        let count = (revisions.len() as f64 * self.0 / 100.0).ceil() as usize;
        let count = count.saturating_sub(usize::from(is_listed)).min(others.len());
        let mut drawn: BTreeSet<Revision> = current.filter(|_| is_listed).cloned().into_iter().collect();
        for _ in 0..count {
            let position = random()? % others.len() as u64;
            drawn.insert(others.swap_remove(position as usize).clone());
        }
        Ok(drawn)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
        number
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(Self)
            .ok_or_else(|| "write it like 10%, from 0% to 100%".into())
    }
}

/// Checks a stack without its lock, and changes nothing. Others may change it meanwhile.
pub(crate) fn check(stack: &Stack<'_>, share: Share) -> Result<Checked, Failure> {
    let mut checker = Checker {
        stack,
        looks: Vec::new(),
        findings: Vec::new(),
    };
    let current = stack.store().current();
    let known = current.as_ref().ok().and_then(Option::as_ref);
    match stack.store().list() {
        Ok(revisions) => checker.look_at_revisions(revisions, known, share)?,
        // Nothing else can be read either.
        Err(error) => {
            checker.note_unreadable(&error);
            return Ok(checker.done(None));
        }
    }
    if let Err(error) = &current {
        checker.judge_pointer(error);
    }
    checker.judge_revisions(known);
    checker.judge_recipients(known);
    checker.judge_changes(known);
    checker.judge_lock();
    checker.judge_place();
    Ok(checker.done(known))
}

struct Checker<'a> {
    stack: &'a Stack<'a>,
    looks: Vec<Look>,
    findings: Vec<Finding>,
}

/// What one revision looks like.
struct Look {
    revision: Revision,
    /// What it says about itself.
    header: Option<UnverifiedHeader>,
    is_opened: bool,
    problem: Option<Problem>,
}

struct Problem {
    code: Code,
    message: String,
    /// Which options open it.
    options: Option<String>,
}

impl Checker<'_> {
    fn id(&self) -> &StackId {
        self.stack.id()
    }

    fn find(&mut self, finding: Finding) {
        match self.findings.iter_mut().find(|found| found.is_alike(&finding)) {
            Some(found) => found.extend(finding),
            None => self.findings.push(finding),
        }
    }

    fn note_unreadable(&mut self, error: &Error) {
        let finding = Finding::new(Code::StackUnreadable, error.to_string());
        self.find(finding.repair("check the disk, and the directories and their owner"));
    }

    fn look_at_revisions(
        &mut self,
        revisions: Vec<Revision>,
        current: Option<&Revision>,
        share: Share,
    ) -> Result<(), Failure> {
        let drawn = share.draw(&revisions, current, random)?;
        let stack = self.stack;
        let looks = progress::each_in_parallel("revisions", revisions, |rev| {
            let opens = drawn.contains(&rev);
            look_at(stack, rev, opens)
        });
        self.looks = looks.into_iter().flatten().collect();
        Ok(())
    }

    /// The newest revision in which nothing is wrong, apart from `but`.
    fn newest_sound(&self, but: Option<&Revision>) -> Option<&Revision> {
        let newest_first = self.looks.iter().rev();
        let mut sound = newest_first.filter(|look| look.problem.is_none() && Some(&look.revision) != but);
        sound.next().map(|look| &look.revision)
    }

    fn judge_pointer(&mut self, error: &Error) {
        let code = match error.kind() {
            ErrorKind::PointerLost { .. } => Code::CurrentLost,
            ErrorKind::Damaged => match (self.stack.store().backend().current(), error.revision()) {
                (Ok(Some(_)), _) => Code::CurrentDangling,
                // The journal names the revision.
                (Err(_), Some(_)) => Code::CurrentLost,
                _ => Code::CurrentDamaged,
            },
            _ => return self.note_unreadable(error),
        };
        let base = error.revision().filter(|_| code == Code::CurrentLost);
        let repair = match (base, self.newest_sound(None)) {
            (Some(base), _) => format!("`statectl set-current {} {base}`", self.id()),
            (None, Some(newest)) => format!(
                "`statectl set-current {} REV`, where REV was current last; {newest} is the newest without an error",
                self.id()
            ),
            (None, None) => "restore the stack from a backup".into(),
        };
        self.find(Finding::new(code, error.to_string()).repair(repair));
    }

    fn judge_revisions(&mut self, current: Option<&Revision>) {
        let mut findings = Vec::new();
        for look in &self.looks {
            let rev = &look.revision;
            if !rev.is_writable() {
                let message = "the name is not a time: a later revision may sort before it";
                let finding = Finding::new(Code::NameNotATime, message).about_revision(rev);
                findings.push(finding.repair("push its content again, and delete it"));
            }
            if let Some(problem) = &look.problem {
                let repair = match &problem.options {
                    Some(options) => options.clone(),
                    None => self.repair_of(problem.code, rev, current == Some(rev)),
                };
                let finding = Finding::new(problem.code, &problem.message).about_revision(rev);
                findings.push(finding.repair(repair));
            }
        }
        findings.into_iter().for_each(|finding| self.find(finding));
    }

    fn repair_of(&self, code: Code, rev: &Revision, is_current: bool) -> String {
        let id = self.id();
        let first = match code {
            Code::RevisionMisplaced => "move the file back to where it was",
            Code::RevisionUnreadable => return "check the disk, and who owns the file".into(),
            Code::RevisionInvalid => {
                return format!("`statectl pull --raw {id} --rev {rev}` prints it: correct it, and push it");
            }
            _ => "restore the file from a copy",
        };
        match (is_current, self.newest_sound(Some(rev))) {
            (false, _) => format!("{first}, or `statectl delete {id} {rev}`"),
            (true, Some(newest)) => format!("{first}, or `statectl set-current {id} {newest}`"),
            (true, None) => first.into(),
        }
    }

    /// A file of version 1 does not say which key it is sealed for.
    fn judge_recipients(&mut self, current: Option<&Revision>) {
        let headers = self.looks.iter().filter_map(|look| {
            let header = look.header.as_ref().filter(|header| header.version > 1);
            header.map(|header| (&look.revision, header))
        });
        let Some((_, expected)) = headers.clone().find(|(rev, _)| Some(*rev) == current) else {
            return;
        };
        let others = headers.filter(|(_, header)| !are_same(&header.recipients, &expected.recipients));
        let findings: Vec<Finding> = others
            .map(|(rev, header)| {
                let message = format!(
                    "{}, and the current revision is {}",
                    sealed_for(header),
                    sealed_for(expected)
                );
                Finding::new(Code::RecipientsDiffer, message)
                    .about_revision(rev)
                    .repair(format!("`statectl rekey {}`", self.id()))
            })
            .collect();
        findings.into_iter().for_each(|finding| self.find(finding));
    }

    /// The changes that no revision holds yet, and the graph of the document with them.
    fn judge_changes(&mut self, current: Option<&Revision>) {
        let Some(current) = current else {
            return;
        };
        let unfinished = match UnfinishedDocument::of(self.stack.store()) {
            Ok(unfinished) => unfinished.filter(|unfinished| !unfinished.is_being_made()),
            Err(error) => return self.note_changes(&error),
        };
        let mut repair = format!("`statectl recover {}`", self.id());
        let mut looks = self.looks.iter();
        if looks.any(|look| look.revision == *current && look.is_opened) {
            match self.stack.store().head() {
                Ok(Some(head)) => self.judge_graph(&head.revision, &head.document),
                Ok(None) => {}
                Err(error) if matches!(error.kind(), ErrorKind::OtherPayload { .. }) => {
                    repair = "run the tool that made this document: it commits them".into();
                }
                Err(error) => return self.note_changes(&error),
            }
        }
        if let Some(unfinished) = unfinished {
            self.find(Finding::new(Code::UnfinishedChanges, unfinished.in_full()).repair(repair));
        }
    }

    /// Why unfinished changes cannot be committed.
    fn note_changes(&mut self, error: &Error) {
        let (code, repair) = match error.kind() {
            ErrorKind::WrongKey | ErrorKind::MissingKey { .. } | ErrorKind::Refused => (
                Code::ChangesNotOpened,
                "give the key of the run with --also-open".into(),
            ),
            ErrorKind::Damaged | ErrorKind::Misplaced | ErrorKind::InvalidSnapshot | ErrorKind::TooLarge => (
                Code::ChangesDamaged,
                format!("`statectl recover {} --discard-damaged`", self.id()),
            ),
            _ => return self.note_unreadable(error),
        };
        self.find(Finding::new(code, error.to_string()).repair(repair));
    }

    fn judge_graph(&mut self, rev: &Revision, state: &State) {
        let repair = format!(
            "`statectl pull {id} > FILE`, correct `depends-on`, and `statectl push {id} FILE --expect {rev}`",
            id = self.id()
        );
        for (entry, missing) in graph::missing(state) {
            let message = format!("needs {}, which is not in the document", missing.join(" and "));
            let finding = Finding::new(Code::DependencyMissing, message).about_entries([entry]);
            self.find(finding.repair(&repair));
        }
        for cycle in graph::cycles(state) {
            let message = match cycle[..] {
                [_] => "the entry needs itself",
                _ => "each of these entries needs the next one, and the last one the first",
            };
            let finding = Finding::new(Code::DependencyCycle, message).about_entries(cycle);
            self.findings.push(finding.repair(&repair));
        }
    }

    fn judge_lock(&mut self) {
        let id = self.id();
        let finding = match self.stack.store().lock_status() {
            Ok(None) => return,
            Ok(Some(status)) => match status.liveness {
                Liveness::Alive => return,
                Liveness::Dead | Liveness::Expired => {
                    let message = format!("the lock is held by {}, who is dead", status.info);
                    Finding::new(Code::LockDead, message).repair(format!(
                        "check what the holder had done; the next command takes the lock over, and `statectl force-unlock {id}` removes it"
                    ))
                }
                _ => {
                    let message = format!("the lock is held by {}, who may be alive or dead", status.info);
                    Finding::new(Code::LockUnknown, message).repair(format!(
                        "make sure that nobody works on the stack, then `statectl force-unlock {id}`"
                    ))
                }
            },
            Err(error) if error.is_damaged() => Finding::new(Code::LockDamaged, error.to_string()),
            Err(error) => return self.note_unreadable(&error),
        };
        self.find(finding);
    }

    fn judge_place(&mut self) {
        let irregularities = match self.stack.store().backend().inspect() {
            Ok(irregularities) => irregularities,
            Err(error) => return self.note_unreadable(&error),
        };
        for found in irregularities {
            let (code, message, repair) = match found.kind {
                IrregularityKind::Leftover => (
                    Code::LeftoverFile,
                    "a process that died left this file, which nobody needs",
                    "remove the file, or leave it to later writers",
                ),
                IrregularityKind::Exposed => (
                    Code::FileExposed,
                    "other users can read or write this file",
                    "`chmod go= FILE`",
                ),
                IrregularityKind::OtherOwner => (
                    Code::FileOwner,
                    "this file belongs to another user than the stack",
                    "`chown USER FILE`, with the owner of the stack",
                ),
                _ => (
                    Code::ForeignFile,
                    "this file is not part of the store",
                    "move the file elsewhere",
                ),
            };
            self.find(Finding::new(code, message).about_file(found.name).repair(repair));
        }
    }

    fn done(mut self, current: Option<&Revision>) -> Checked {
        self.findings.sort_by_key(|finding| finding.severity);
        Checked {
            stack: self.id().to_string(),
            current: current.map(Revision::to_string),
            revisions: self.looks.len(),
            opened: self.looks.iter().filter(|look| look.is_opened).count(),
            findings: self.findings,
        }
    }
}

/// `None` for a revision that somebody deleted meanwhile.
fn look_at(stack: &Stack<'_>, rev: Revision, opens: bool) -> Option<Look> {
    let header = stack.store().header(&rev);
    let looked = match &header {
        Ok(header) if opens => open(stack, &rev, header),
        Ok(header) => demand_place(stack, &rev, header),
        Err(error) => Err(error.clone()),
    };
    let header = header.ok();
    let problem = match looked {
        Ok(()) => None,
        Err(error) if error.is_not_found() && !is_listed(stack, &rev) => return None,
        Err(error) => Some(problem(stack, &rev, &error, header.as_ref())),
    };
    Some(Look {
        is_opened: opens && problem.is_none(),
        header,
        revision: rev,
        problem,
    })
}

fn is_listed(stack: &Stack<'_>, rev: &Revision) -> bool {
    stack
        .store()
        .list()
        .is_ok_and(|revisions| revisions.contains(rev))
}

/// Opens a revision, and decodes it if it is a document of this project.
fn open(stack: &Stack<'_>, rev: &Revision, header: &UnverifiedHeader) -> Result<(), Error> {
    let document: Raw = stack.store().document().get(rev)?;
    // Old files of unobin do not record what they hold.
    let is_unmarked = header.version == 1 && header.payload.is_none();
    if stack.is_genesis(&document) || !(is_unmarked || document.payload == State::PAYLOAD) {
        return Ok(());
    }
    State::decode(&document.bytes)
        .and_then(|state| state.check_stack(stack.id()))
        .map_err(|error| error.at_revision(rev))
}

/// What can be said about the place of a revision that is not opened.
fn demand_place(stack: &Stack<'_>, rev: &Revision, header: &UnverifiedHeader) -> Result<(), Error> {
    let here = [stack.id().to_string(), rev.to_string()];
    let claims = [header.stack.as_ref(), header.revision.as_ref()];
    for (claimed, here) in claims.into_iter().zip(&here) {
        if let Some(claimed) = claimed.filter(|claimed| *claimed != here) {
            let message = format!(
                "the file says that it was sealed for {}, not for {here}: somebody moved it here",
                claimed.escape_debug()
            );
            return Err(Error::new(ErrorKind::Misplaced, message));
        }
    }
    Ok(())
}

fn problem(stack: &Stack<'_>, rev: &Revision, error: &Error, header: Option<&UnverifiedHeader>) -> Problem {
    let code = match error.kind() {
        ErrorKind::Damaged => Code::RevisionDamaged,
        ErrorKind::Misplaced => Code::RevisionMisplaced,
        ErrorKind::WrongKey | ErrorKind::MissingKey { .. } => Code::RevisionWrongKey,
        ErrorKind::Refused => Code::RevisionRefused,
        ErrorKind::TooLarge => Code::RevisionTooLarge,
        ErrorKind::InvalidSnapshot => Code::RevisionInvalid,
        _ => Code::RevisionUnreadable,
    };
    let is_about_keys = matches!(code, Code::RevisionWrongKey | Code::RevisionRefused);
    let message = error.to_string();
    // The finding names the revision.
    let prefix = format!("revision {rev}: ");
    Problem {
        code,
        message: message.strip_prefix(&prefix).unwrap_or(&message).into(),
        options: header
            .filter(|_| is_about_keys)
            .map(|header| stack.keys().how_to_open(header)),
    }
}

fn are_same(some: &[Recipient], others: &[Recipient]) -> bool {
    let is_in = |recipient: &Recipient| others.iter().any(|other| other.is_same_key(recipient));
    some.len() == others.len() && some.iter().all(is_in)
}

fn random() -> Result<u64, Failure> {
    let drawn = SysRng.try_next_u64();
    drawn.map_err(|error| {
        Failure::io(
            "the operating system gives no random bytes",
            &std::io::Error::other(error),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revisions(count: usize) -> Vec<Revision> {
        (0..count)
            .map(|second| format!("2026-07-10T12:00:{second:02}Z").parse().unwrap())
            .collect()
    }

    #[test]
    fn share_draws_its_part_and_the_current_revision() {
        let revisions = revisions(40);
        let current = &revisions[17];
        for (share, count) in [("0%", 0), ("1%", 1), ("10%", 4), ("12.6%", 6), ("100%", 40)] {
            let share: Share = share.parse().unwrap();
            let drawn = share.draw(&revisions, Some(current), random).unwrap();
            assert_eq!(drawn.len(), count, "{share:?}");
            assert_eq!(drawn.contains(current), count > 0);
        }
        let dangling = "2030-01-01T00:00:00Z".parse().unwrap();
        let drawn = Share(50.0).draw(&revisions, Some(&dangling), random).unwrap();
        assert_eq!((drawn.len(), drawn.contains(&dangling)), (20, false));
    }

    #[test]
    fn shares_differ_from_check_to_check() {
        let revisions = revisions(4);
        let draw = |number| Share(25.0).draw(&revisions, None, || Ok(number)).unwrap();
        assert_ne!(draw(0), draw(1));
    }

    #[test]
    fn share_is_a_percentage() {
        for text in ["10", "-1%", "101%", "NaN%", "%", "ten%", "inf%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
