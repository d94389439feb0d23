//! The journal of a mutant.

use super::backend::Mutant;
use super::mutation::Mutation;
use super::place::{Stack, Stacks, error};
use sdk_conformance::Method;
use sdk_state::{Appended, Error, ErrorKind, Expect, LockToken, Pointer};

#[derive(Debug, Clone)]
pub(crate) struct Journal {
    base: Pointer,
    records: Vec<Vec<u8>>,
}

impl Mutant {
    pub(crate) fn append_record(
        &self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
    ) -> Result<Appended, Error> {
        if !self.keeps_a_journal() {
            return Err(error(ErrorKind::Unsupported));
        }
        let request = |index| self.add_record(base, index, record, token);
        if let Some(answer) = self.send(Method::Append, || request(index)) {
            return answer;
        }
        let count = self.with_stack(|stack| count(stack.journal.as_ref()));
        match self.place.mutation {
            Mutation::LostAppendIsUnavailable => Err(error(ErrorKind::Unavailable)),
            Mutation::LostAppendIsDone => Ok(Appended::Appended),
            Mutation::LostAppendIsRetriedBlindly => request(count),
            _ => request(index),
        }
    }

    fn keeps_a_journal(&self) -> bool {
        let mut stacks = self.place.enter();
        let Some(stack) = stacks.get_mut(&self.key) else {
            return true;
        };
        stack.seen.appends += 1;
        match self.place.mutation {
            Mutation::RecordsOfNobody => false,
            Mutation::JournalFromTheSecond => stack.seen.appends > 1,
            _ => true,
        }
    }

    fn add_record(
        &self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
    ) -> Result<Appended, Error> {
        let mut stacks = self.place.enter();
        if self.has(Mutation::AppendMakesTheStack) {
            let _ = stacks.entry(self.key.clone()).or_default();
        }
        let Some(stack) = stacks.get_mut(&self.key) else {
            return Err(error(ErrorKind::LockLost));
        };
        self.demand_token(stack, token, Mutation::AppendIgnoresToken)?;
        self.demand_base(stack, base)?;
        let count = match self.place.mutation {
            Mutation::DeadJournalIsCounted => count(stack.journal.as_ref()),
            _ => self.live(stack, base).len() as u64,
        };
        let last = self.live(stack, base).last();
        // Of several threads only chance would show it.
        let is_alone = !self.place.is_contended();
        let is_repeat = count.checked_sub(1) == Some(index)
            && last.is_some_and(|last| last == record || self.has(Mutation::RepeatIgnoresBytes) && is_alone);
        match self.place.mutation {
            Mutation::RepeatIsTaken | Mutation::RepeatIsAdded => {}
            _ if is_repeat => return Ok(Appended::Appended),
            _ => {}
        }
        let is_next = match self.place.mutation {
            Mutation::IndexIsIgnored => true,
            Mutation::IndexZeroReplaces => index == 0 && is_alone || index == count,
            Mutation::RepeatIsAdded => index == count || is_repeat,
            _ => index == count,
        };
        if !is_next {
            return Ok(Appended::Taken);
        }
        let mut stacks = self.add_in_two_steps(base, index, record, token, stacks)?;
        if self.has(Mutation::JournalIsShared) {
            let journal = stacks[&self.key].journal.clone();
            stacks
                .values_mut()
                .for_each(|stack| stack.journal.clone_from(&journal));
        }
        self.place.tell();
        Ok(Appended::Appended)
    }

    /// Adds the record at once, unless the mutation is to do that in two steps.
    fn add_in_two_steps<'a>(
        &'a self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
        mut stacks: Stacks<'a>,
    ) -> Result<Stacks<'a>, Error> {
        let stack = stacks.entry(self.key.clone()).or_default();
        // Neither in a race of all, nor for the first record, which a check adds alone.
        let is_shared = self.place.is_contended() && !self.place.is_race() && index > 0;
        let has_another = stack.snapshots.len() > 1;
        let (reads, ends) = (stack.seen.journal_reads, stack.seen.journal_ends);
        stack.seen.appenders += usize::from(is_shared);
        // Once, until somebody has seen the first step, or come between.
        let is_first = is_shared && stack.seen.appenders == 1;
        match self.place.mutation {
            Mutation::RecordInParts if is_first && !has_another => {
                self.push(stack, base, index, &record[..record.len() / 2]);
                stacks = self
                    .place
                    .meet(&self.key, stacks, |stack| stack.seen.journal_reads > reads);
                let stack = stacks.entry(self.key.clone()).or_default();
                stack.journal.as_mut().and_then(|journal| journal.records.pop());
                self.push(stack, base, index, record);
            }
            Mutation::GuardThenAppend | Mutation::BaseThenAppend if is_first && has_another => {
                let is_right = |stack: &Stack| {
                    let is_held = self.demand_token(stack, token, Mutation::None);
                    (is_held, self.demand_base(stack, base))
                };
                stacks = self.place.meet(&self.key, stacks, |stack| {
                    let (is_held, is_current) = is_right(stack);
                    (is_held.is_err() || is_current.is_err()) && stack.seen.journal_ends > ends
                });
                let stack = stacks.entry(self.key.clone()).or_default();
                let (is_held, is_current) = is_right(stack);
                match self.place.mutation {
                    Mutation::GuardThenAppend => is_current?,
                    _ => is_held?,
                }
                // To the journal of whatever is current now.
                let current = self.pointer(stack)?.unwrap_or_else(|| base.clone());
                self.push(stack, &current, index, record);
            }
            _ => self.push(stack, base, index, record),
        }
        Ok(stacks)
    }

    fn push(&self, stack: &mut Stack, base: &Pointer, index: u64, record: &[u8]) {
        // Acknowledged into nothing.
        if self.has(Mutation::AppendIgnoresBase) && self.pointer(stack).ok().flatten().as_ref() != Some(base)
        {
            return;
        }
        let mut record = record.to_vec();
        match self.place.mutation {
            Mutation::RecordsLoseZeros => {
                let zeros = record.iter().rev().take_while(|byte| **byte == 0).count();
                record.truncate(record.len() - zeros);
            }
            Mutation::RecordsAreShort => record.truncate(64 << 10),
            _ => {}
        }
        let is_live = !self.live(stack, base).is_empty();
        let is_replaced = index == 0 && self.has(Mutation::IndexZeroReplaces);
        match &mut stack.journal {
            Some(journal) if is_live && !is_replaced || self.has(Mutation::DeadRecordsStay) => {
                journal.base = base.clone();
                journal.records.push(record);
            }
            journal => {
                *journal = Some(Journal {
                    base: base.clone(),
                    records: vec![record],
                });
            }
        }
    }

    pub(crate) fn read_records(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut stacks = self.place.enter();
        if self.has(Mutation::ReadingMakesTheStack) {
            let _ = stacks.entry(self.key.clone()).or_default();
        }
        if self.has(Mutation::RecordsOfNobody) {
            let record = (from == 0).then(|| b"of nobody".to_vec());
            return Ok(record.into_iter().collect());
        }
        let Some(stack) = stacks.get_mut(&self.key) else {
            return Ok(Vec::new());
        };
        self.pointer(stack)?;
        let skipped = match self.place.mutation {
            // Where others add records, only chance would show it.
            Mutation::PageDropsARecord if from > 0 && !self.place.is_contended() => from + 1,
            _ => from,
        };
        let (mut room, mut page) = (most, Vec::new());
        for record in self.live(stack, base).iter().skip(skipped as usize) {
            let is_first = page.is_empty() && !self.has(Mutation::PageHasNoRoomForTheFirst);
            if !is_first && !self.has(Mutation::PageIsTheWhole) {
                match room.checked_sub(record.len()) {
                    Some(rest) => room = rest,
                    None => break,
                }
            }
            page.push(record.clone());
        }
        stack.seen.journal_reads += 1;
        stack.seen.journal_ends += usize::from(page.is_empty());
        self.place.tell();
        Ok(page)
    }

    /// Called by a move to another revision, and by one to the same where that is the mutation.
    pub(crate) fn end_journal(&self, stack: &mut Stack, moved: &Pointer) {
        match self.place.mutation {
            Mutation::MoveKeepsTheJournal => {
                stack
                    .journal
                    .iter_mut()
                    .for_each(|journal| journal.base = moved.clone());
            }
            Mutation::JournalIsOfTheName | Mutation::DeadJournalIsCounted | Mutation::DeadRecordsStay => {}
            _ => {
                let left = self.place.left_journal.lock().unwrap().take();
                stack.journal = left.filter(|left| left.base == *moved);
            }
        }
    }

    /// The records of the journal of `base`, if that is current.
    fn live<'a>(&self, stack: &'a Stack, base: &Pointer) -> &'a [Vec<u8>] {
        let is_base = |found: &Pointer| match self.place.mutation {
            Mutation::JournalIsOfTheName => found.revision == base.revision,
            _ => found == base,
        };
        let current = self.pointer(stack).ok().flatten();
        match &stack.journal {
            Some(journal) if is_base(&journal.base) && current.is_some_and(|current| is_base(&current)) => {
                &journal.records
            }
            _ => &[],
        }
    }

    fn demand_base(&self, stack: &Stack, base: &Pointer) -> Result<(), Error> {
        let expect = match self.place.mutation {
            Mutation::JournalIsOfTheName => Expect::Revision(&base.revision),
            _ => Expect::Pointer(base),
        };
        match self.compare(expect, stack) {
            Err(refused) if refused.is_current_moved() && self.has(Mutation::AppendIgnoresBase) => Ok(()),
            compared => compared,
        }
    }
}

fn count(journal: Option<&Journal>) -> u64 {
    journal.map_or(0, |journal| journal.records.len() as u64)
}
