//! What a backend says of a change whose request or answer was lost on the way, or that the medium refused.
//!
//! A right backend finds out by itself what became of the change, and answers as if nothing had happened. One that cannot
//! says [`OutcomeUnknown`](ErrorKind::OutcomeUnknown). Every other answer is a statement about the place, which the checks
//! compare with what they find there through another handle.

use crate::Method;
use crate::TransportFault::{self, AnswerLost, Refused, RequestLost};
use crate::expect::{Check, Flaw, done, equal, holds};
use crate::journal::{MANY, NO_JOURNAL, contains, is_appended, records};
use crate::place::{Held, NO_LIMIT, Place, create, held_by, holder, lock, point, reads};
use sdk_state::{Appended, Backend, Created, Error, ErrorKind, Expect, LockToken, Revision, TryLock};

pub(crate) fn a_lost_create_is_told_truthfully(place: &Place) -> Check {
    [RequestLost, AnswerLost]
        .into_iter()
        .try_for_each(|fault| create_meets(place, fault))
}

pub(crate) fn a_lost_move_is_told_truthfully(place: &Place) -> Check {
    [RequestLost, AnswerLost]
        .into_iter()
        .try_for_each(|fault| move_meets(place, fault))
}

pub(crate) fn a_lost_removal_is_told_truthfully(place: &Place) -> Check {
    [RequestLost, AnswerLost]
        .into_iter()
        .try_for_each(|fault| removal_meets(place, fault))
}

pub(crate) fn a_lost_replacement_is_told_truthfully(place: &Place) -> Check {
    [RequestLost, AnswerLost]
        .into_iter()
        .try_for_each(|fault| replacement_meets(place, fault))
}

pub(crate) fn a_lost_lock_is_told_truthfully(place: &Place) -> Check {
    [RequestLost, AnswerLost]
        .into_iter()
        .try_for_each(|fault| lock_meets(place, fault))
}

pub(crate) fn a_lost_unlock_is_told_truthfully(place: &Place) -> Check {
    [RequestLost, AnswerLost]
        .into_iter()
        .try_for_each(|fault| unlock_meets(place, fault))
}

pub(crate) fn a_lost_record_is_told_truthfully(place: &Place) -> Check {
    [RequestLost, AnswerLost]
        .into_iter()
        .try_for_each(|fault| record_meets(place, fault))
}

pub(crate) fn a_backend_error_changes_nothing(place: &Place) -> Check {
    let mut missing = None;
    let mut asked = 0;
    for meets in [
        create_meets,
        move_meets,
        removal_meets,
        replacement_meets,
        lock_meets,
        unlock_meets,
        record_meets,
    ] {
        match meets(place, Refused) {
            Err(Flaw::NoHook(hook)) => missing = Some(hook),
            Err(Flaw::NotApplicable(_)) => {}
            checked => {
                checked?;
                asked += 1;
            }
        }
    }
    match missing {
        // A medium may be unable to refuse some requests, but not all of them.
        Some(hook) if asked == 0 => Err(Flaw::NoHook(hook)),
        _ => Ok(()),
    }
}

fn create_meets(place: &Place, fault: TransportFault) -> Check {
    let other = place.open()?;
    // So that the stack exists.
    works_again(place, &*other)?;
    let rev = place.unused()?;
    let ours = format!("ours at {rev}");
    let backend = place.open_faulty(Method::Create, fault)?;
    let answer = backend.create(&rev, ours.as_bytes());
    if let Ok(Created::Exists) = answer {
        return Err(lie("creating under a free name", fault, "that the name is taken"));
    }
    let found = stored(&*other, &rev)?;
    let is_there = found.as_deref() == Some(ours.as_bytes());
    is_true("creating", fault, &answer, Some(&rev), is_there, found.is_none())?;
    works_again(place, &*backend)?;

    // Under a name that somebody else has taken.
    let taken = place.unused()?;
    let theirs = format!("theirs at {taken}");
    create(&*other, &taken, theirs.as_bytes())?;
    let backend = place.open_faulty(Method::Create, fault)?;
    match backend.create(&taken, ours.as_bytes()) {
        Ok(Created::Exists) => {}
        answer => is_backend_error("creating under a taken name", fault, answer)?,
    }
    reads(&*other, &taken, theirs.as_bytes())
}

fn move_meets(place: &Place, fault: TransportFault) -> Check {
    let other = place.open()?;
    let held = lock_anew(&*other)?;
    let [from, to, third] = [place.unused()?, place.unused()?, place.unused()?];
    for rev in [&from, &to, &third] {
        create(&*other, rev, rev.to_string().as_bytes())?;
    }
    // To another revision, and to the one that is current already.
    for to in [&to, &from] {
        for n in 0..3 {
            let before = point(&*other, &from, &held.token)?;
            let expect = [
                Expect::Anything,
                Expect::Revision(&from),
                Expect::Pointer(&before),
            ][n];
            let backend = place.open_faulty(Method::SetCurrent, fault)?;
            let answer = backend.set_current(expect, to, &held.token);
            let found = done("reading the pointer", other.current())?;
            if let Ok(pointer) = &answer {
                equal(
                    "the pointer after a move that succeeded",
                    &found.as_ref(),
                    &Some(pointer),
                )?;
            }
            let is_moved = found.as_ref().is_some_and(|found| {
                // A move to what is current changes nothing.
                let is_new = found.version == 0 || found.version != before.version;
                found.revision == *to && (is_new || *to == from)
            });
            let is_unchanged = found.as_ref() == Some(&before);
            is_true("a move", fault, &answer, Some(to), is_moved, is_unchanged)?;
            works_again(place, &*backend)?;
        }
    }

    // One that must be refused, although `current` already names the revision.
    for expect in [Expect::Nothing, Expect::Revision(&third)] {
        let before = point(&*other, &from, &held.token)?;
        let backend = place.open_faulty(Method::SetCurrent, fault)?;
        match backend.set_current(expect, &from, &held.token) {
            Err(error) if error.is_current_moved() => {}
            answer => is_backend_error("a move that expects something else", fault, answer)?,
        }
        let found = done("reading the pointer", other.current())?;
        equal("the pointer after a move that was refused", &found, &Some(before))?;
    }
    Ok(())
}

fn removal_meets(place: &Place, fault: TransportFault) -> Check {
    let other = place.open()?;
    let held = lock_anew(&*other)?;
    let (rev, current) = (place.unused()?, place.unused()?);
    for rev in [&rev, &current] {
        create(&*other, rev, rev.to_string().as_bytes())?;
    }
    point(&*other, &current, &held.token)?;
    let backend = place.open_faulty(Method::Remove, fault)?;
    let answer = backend.remove(&rev, Some(&held.token));
    let found = stored(&*other, &rev)?;
    let is_kept = found.as_deref() == Some(rev.to_string().as_bytes());
    is_true("a removal", fault, &answer, Some(&rev), found.is_none(), is_kept)?;
    works_again(place, &*backend)?;

    // What is current must be refused.
    point(&*other, &current, &held.token)?;
    let backend = place.open_faulty(Method::Remove, fault)?;
    match backend.remove(&current, Some(&held.token)) {
        Err(error) if error.kind() == &ErrorKind::RevisionIsCurrent => {}
        answer => is_backend_error("removing the current revision", fault, answer)?,
    }
    reads(&*other, &current, current.to_string().as_bytes())
}

fn replacement_meets(place: &Place, fault: TransportFault) -> Check {
    let other = place.open()?;
    let held = lock_anew(&*other)?;
    let rev = place.unused()?;
    create(&*other, &rev, b"old")?;
    let backend = place.open_faulty(Method::Replace, fault)?;
    let answer = backend.replace(&rev, b"new", &held.token);
    let found = stored(&*other, &rev)?;
    let (is_new, is_old) = (found.as_deref() == Some(b"new"), found.as_deref() == Some(b"old"));
    is_true("a replacement", fault, &answer, Some(&rev), is_new, is_old)?;
    works_again(place, &*backend)
}

fn lock_meets(place: &Place, fault: TransportFault) -> Check {
    let other = place.open()?;
    done("force_unlock", other.force_unlock(None))?;
    let backend = place.open_faulty(Method::TryLock, fault)?;
    let answer = backend.try_lock(&holder("push"));
    let status = done("the status of the lock", other.lock_status())?;
    let held = match answer {
        Ok(TryLock::Busy { status, .. }) => {
            let said = format!("that {} holds it", status.info);
            return Err(lie("locking what nobody held", fault, &said));
        }
        Ok(TryLock::Held(lock)) => Ok(lock),
        Err(error) => Err(error),
    };
    if let Ok(lock) = &held {
        let token = done("the token of a held lock", lock.token())?;
        held_by(&*other, Some(token))?;
        // Nobody else has ever held it.
        equal("who died with a lock that was free", &lock.took_over(), &None)?;
        done("checking the lock", lock.check())?;
    }
    is_true("locking", fault, &held, None, held.is_ok(), status.is_none())?;
    drop(held);
    done("force_unlock", other.force_unlock(None))?;

    // A lock that somebody else holds.
    let theirs = lock(&*other, "push")?;
    let backend = place.open_faulty(Method::TryLock, fault)?;
    match backend.try_lock(&holder("pull")) {
        Ok(TryLock::Busy { .. }) => {}
        answer => is_backend_error("locking what somebody holds", fault, answer)?,
    }
    held_by(&*other, Some(&theirs.token))
}

fn unlock_meets(place: &Place, fault: TransportFault) -> Check {
    let other = place.open()?;
    done("force_unlock", other.force_unlock(None))?;
    let backend = place.open_faulty(Method::Unlock, fault)?;
    let held = lock(&*backend, "push")?;
    let token = held.token;
    match held.lock.unlock() {
        Ok(()) => held_by(&*other, None)?,
        // It may be free or not: the lock's documentation says so.
        Err(error) => {
            is_backend_error("unlocking", fault, Err::<(), _>(error))?;
            let status = done("the status of the lock", other.lock_status())?;
            let is_own = |found: Option<LockToken>| found.as_ref() == Some(&token);
            let is_known = status.is_none_or(|status| is_own(status.info.token));
            holds("nobody else has the lock after an unlock that failed", is_known)?;
        }
    }
    done("force_unlock", other.force_unlock(None)).map(drop)
}

fn record_meets(place: &Place, fault: TransportFault) -> Check {
    let other = place.open()?;
    let held = lock_anew(&*other)?;
    let rev = place.unused()?;
    create(&*other, &rev, rev.to_string().as_bytes())?;
    let base = point(&*other, &rev, &held.token)?;
    let mut expected: Vec<Vec<u8>> = Vec::new();
    // The first record of a journal, and later ones.
    for index in 0..3 {
        let backend = place.open_faulty(Method::Append, fault)?;
        let ours = format!("record {index} at {rev}").into_bytes();
        let add = || backend.append(&base, index, &ours, &held.token);
        let answer = add();
        match &answer {
            Err(error) if index == 0 && error.kind() == &ErrorKind::Unsupported => {
                return Err(Flaw::NotApplicable(NO_JOURNAL));
            }
            Ok(Appended::Taken) => return Err(lie("adding the next record", fault, "that it is taken")),
            _ => {}
        }
        let found = records(&*other, &base, MANY)?;
        let is_unchanged = found == expected;
        expected.push(ours.clone());
        // It may name the revision of the base, or none.
        let named = answer.as_ref().err().and_then(Error::revision);
        let is_there = found == expected;
        is_true("adding a record", fault, &answer, named, is_there, is_unchanged)?;
        match add() {
            // This handle no longer trusts the medium, so another one repeats the call.
            Err(error) if error.is_outcome_unknown() && answer.is_err() => {
                let repeated = other.append(&base, index, &ours, &held.token);
                is_appended(repeated)?;
            }
            repeated => is_appended(repeated)?,
        }
        contains(&*other, &base, &expected)?;

        // Under a number that is taken.
        let backend = place.open_faulty(Method::Append, fault)?;
        match backend.append(&base, index, b"another", &held.token) {
            Ok(Appended::Taken) => {}
            answer => is_backend_error("adding a record under a taken number", fault, answer)?,
        }
        contains(&*other, &base, &expected)?;
    }
    Ok(())
}

/// Demands that the answer to a change is true: it is done, or nothing is, or the backend does not know and names the
/// revision.
fn is_true<T>(
    what: &str,
    fault: TransportFault,
    answer: &Result<T, Error>,
    rev: Option<&Revision>,
    is_done: bool,
    is_unchanged: bool,
) -> Check {
    match answer {
        Ok(_) if is_done => Ok(()),
        Ok(_) => Err(lie(what, fault, "that it is done, which it is not")),
        Err(error) if error.is_outcome_unknown() => {
            equal("the revision that OutcomeUnknown names", &error.revision(), &rev)
        }
        Err(error) => {
            is_backend_error::<()>(what, fault, Err(error.clone()))?;
            match is_unchanged {
                true => Ok(()),
                false => Err(lie(
                    what,
                    fault,
                    &format!("that nothing changed, and it did: {error:?}"),
                )),
            }
        }
    }
}

/// Demands that a change which could not be done was answered with a backend error, and with nothing that is untrue.
fn is_backend_error<T>(what: &str, fault: TransportFault, answer: Result<T, Error>) -> Check {
    match answer {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::Unavailable | ErrorKind::Io | ErrorKind::OutcomeUnknown
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(lie(what, fault, &format!("{error:?}"))),
        Ok(_) => Err(lie(what, fault, "that it is done")),
    }
}

fn lie(what: &str, fault: TransportFault, said: &str) -> Flaw {
    Flaw::new(format!("a true answer to {what} when it meets {fault:?}"), said)
}

/// Demands that a handle which met a fault works as before.
fn works_again(place: &Place, backend: &dyn Backend) -> Check {
    let rev = place.unused()?;
    let content = rev.to_string();
    create(backend, &rev, content.as_bytes())?;
    reads(backend, &rev, content.as_bytes())
}

fn stored(backend: &dyn Backend, rev: &Revision) -> Check<Option<Vec<u8>>> {
    match backend.read(rev, NO_LIMIT) {
        Err(error) if error.is_not_found() => Ok(None),
        read => done("reading a snapshot", read).map(Some),
    }
}

/// Takes the lock, whatever became of it before.
fn lock_anew(backend: &dyn Backend) -> Check<Held> {
    done("force_unlock", backend.force_unlock(None))?;
    lock(backend, "push")
}
