//! The pointer of a wrong storage.

use crate::fault::Fault;
use crate::place::Stack;
use crate::storage::{Wrong, error};
use sdk_state::{Error, ErrorKind, Expect, LockToken, Revision};

impl Wrong {
    pub(crate) fn read_pointer(&self) -> Result<Option<Revision>, Error> {
        let mut gate = self.place.enter();
        let Some(stack) = gate.get_mut(&self.key) else {
            return Ok(None);
        };
        stack.seen.looks += 1;
        stack.seen.found_none += usize::from(stack.pointer.is_none());
        self.place.tell();
        self.pointer(stack)
    }

    pub(crate) fn move_pointer(
        &self,
        expect: Expect<'_>,
        rev: &Revision,
        held: Option<&LockToken>,
    ) -> Result<(), Error> {
        let is_race = self.place.is_race();
        let mut gate = self.place.enter();
        // Where threads remove too, this fault would show by chance only.
        if is_race && self.has(Fault::PointerInTwoSteps) && expect == Expect::Anything {
            gate = self.place.meet(&self.key, gate, |stack| {
                is_read_all_the_time(stack) || !stack.seen.removers_of.is_empty()
            });
        }
        let Some(stack) = gate.get_mut(&self.key) else {
            return Err(error(ErrorKind::NotFound));
        };
        if stack.snapshots.get(&self.name(rev)).is_none_or(Vec::is_empty)
            && (is_race || !self.has(Fault::MovesToNothing))
        {
            return Err(error(ErrorKind::NotFound));
        }
        self.demand_lock(stack, held, Fault::MoveIgnoresToken)?;
        if self.has(Fault::GuardThenMove) && self.place.is_contended() && held.is_some() {
            stack.seen.movers += 1;
            let looks = stack.seen.looks;
            // Once: until the holder is evicted and somebody has looked what that has left.
            if stack.seen.movers == 1 {
                gate = self.place.meet(&self.key, gate, |stack| {
                    stack.lock.is_none() && stack.seen.looks > looks
                });
            }
        }
        let stack = gate.entry(self.key.clone()).or_default();
        if let Expect::Exactly(expected) = expect {
            let found = self.pointer(stack)?;
            if found.as_ref() != expected {
                let found = if self.has(Fault::MovedSaysNothing) {
                    None
                } else {
                    found
                };
                return Err(Error::current_moved(expected.cloned(), found));
            }
        }
        match (self.place.fault, expect) {
            (Fault::CompareThenMove, Expect::Exactly(_)) if is_race => {
                stack.seen.movers += 1;
                gate = self.place.meet(&self.key, gate, |stack| stack.seen.movers > 1);
            }
            (Fault::PointerInTwoSteps, Expect::Anything) if is_race && is_read_all_the_time(stack) => {
                stack.seen.movers += 1;
                // Once: the reader that finds nothing may not come back.
                if stack.seen.movers == 1 {
                    stack.pointer = None;
                }
                // All wait for it, or else the next mover would hide what the first one did.
                gate = self
                    .place
                    .meet(&self.key, gate, |stack| stack.seen.found_none > 0);
            }
            // The remover has looked before this moves: unless nobody removes, which shows in that threads read.
            (Fault::CheckThenRemove, Expect::Anything) if is_race => {
                gate = self.place.meet(&self.key, gate, |stack| {
                    stack.seen.removers_of.contains(rev) || is_read_all_the_time(stack)
                });
            }
            _ => {}
        }
        let stack = gate.entry(self.key.clone()).or_default();
        let mut pointer = format!("{rev}\n").into_bytes();
        if self.has(Fault::PointerInPlace)
            && let Some(tail) = stack.pointer.as_deref().and_then(|old| old.get(pointer.len()..))
        {
            pointer.extend_from_slice(tail);
        }
        stack.pointer = Some(pointer);
        stack.seen.moved_to.insert(rev.clone());
        self.place.tell();
        Ok(())
    }

    pub(crate) fn pointer(&self, stack: &Stack) -> Result<Option<Revision>, Error> {
        let pointer = stack.pointer.as_deref().map(Revision::from_pointer).transpose();
        if self.has(Fault::DamageIsNone) {
            return Ok(pointer.unwrap_or_default());
        }
        pointer
    }
}

/// Whether threads do nothing but read the pointer while others move it.
fn is_read_all_the_time(stack: &Stack) -> bool {
    stack.seen.removers_of.is_empty() && stack.seen.looks > 64
}
