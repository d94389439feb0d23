//! Compares the revisions of a history with those that they follow, on several threads.

use crate::diff::{Counts, Diff, EntryChange};
use crate::document::{Document, candidates, text_in_layout};
use crate::exit::Failure;
use crate::history::{Base, Node};
use crate::stack::Stack;
use sdk_state::{Raw, Revision};
use std::num::NonZero;
use std::thread;

/// A thread holds two documents: more threads than this would need much memory.
const MOST_THREADS: usize = 8;

/// Counts the changes of each revision.
pub(crate) fn counts(stack: &Stack<'_>, nodes: &[Node]) -> Vec<Result<Option<Counts>, Failure>> {
    of_documents(stack, nodes, |old, new| Diff::between(old, new).counts)
}

/// What each revision changed.
pub(crate) fn diffs(stack: &Stack<'_>, nodes: &[Node]) -> Vec<Result<Option<Diff>, Failure>> {
    of_documents(stack, nodes, Diff::between)
}

/// All documents are opened once, except at the seams between threads.
fn of_documents<C: Send>(
    stack: &Stack<'_>,
    nodes: &[Node],
    compare: impl Fn(&Document, &Document) -> C + Sync,
) -> Vec<Result<Option<C>, Failure>> {
    let open = |rev: &Revision, near: &Document| {
        let found = stack.document(Some(rev))?;
        let Raw { bytes, .. } = stack.state_of(rev, found.document)?;
        Ok(Document::split_like(bytes, near)?)
    };
    let compare = |old: &Document, new: &Document| Ok(compare(old, new));
    in_parallel(nodes, &Document::default(), open, compare)
}

/// What each revision changed in the entry with this address.
pub(crate) fn changes_of(
    stack: &Stack<'_>,
    nodes: &[Node],
    address: &str,
) -> Vec<Result<Option<Option<EntryChange>>, Failure>> {
    let open = |rev: &Revision, _: &String| {
        let found = stack.document(Some(rev))?;
        let Raw { bytes, .. } = stack.state_of(rev, found.document)?;
        Ok(text_in_layout(bytes)?)
    };
    let compare = |old: &String, new: &String| {
        // Most revisions leave most entries as they are: that is seen without splitting the documents.
        if candidates(old, address) == candidates(new, address) {
            return Ok(None);
        }
        let split = |text: &String| match text.is_empty() {
            true => Ok(Document::default()),
            false => Document::split(text.clone().into_bytes()),
        };
        let (old, new) = (split(old)?, split(new)?);
        Ok(Diff::of_entry(address, old.find(address), new.find(address)))
    };
    in_parallel(nodes, &String::new(), open, compare)
}

/// Compares each revision with its base, in the order of `nodes`; `None` where the base is not known. A base is opened after the
/// revision that it resembles.
fn in_parallel<D: Sync, C: Send>(
    nodes: &[Node],
    nothing: &D,
    open: impl Fn(&Revision, &D) -> Result<D, Failure> + Sync,
    compare: impl Fn(&D, &D) -> Result<C, Failure> + Sync,
) -> Vec<Result<Option<C>, Failure>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = nodes.len().div_ceil(threads.min(MOST_THREADS)).max(1);
    let in_turn = |nodes: &[Node]| {
        // Usually the base of one revision is the next revision.
        let mut last: Option<(Revision, D)> = None;
        let compared = nodes.iter().map(|node| {
            let base = match &node.base {
                Base::Unknown => return Ok(None),
                Base::Nothing => None,
                Base::Revision(base) => Some(base),
            };
            let new = match last.take() {
                Some((rev, document)) if rev == node.step.revision => document,
                _ => open(&node.step.revision, nothing)?,
            };
            let Some(base) = base else {
                return compare(nothing, &new).map(Some);
            };
            let old = open(base, &new)?;
            let compared = compare(&old, &new)?;
            last = Some((base.clone(), old));
            Ok(Some(compared))
        });
        compared.collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let shares: Vec<_> = nodes
            .chunks(share)
            .map(|nodes| scope.spawn(|| in_turn(nodes)))
            .collect();
        shares
            .into_iter()
            .flat_map(|share| {
                share
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}
