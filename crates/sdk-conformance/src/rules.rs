//! The list of rules, and the tests that a backend's author gets from it.

use crate::{
    Rule, create, eviction, guard, journal, lock, lost_answer, pointer, read, remove, replace, sealed, stacks,
};

/// Expands to one `#[test]` for each rule, named like its check.
///
/// The first argument is called for each test and returns a fresh [`Fixture`](crate::Fixture). Exceptions are declared by
/// the rule's id and the reason; the test of a rule that has an exception and is kept fails. Which rules have an exception,
/// and which are skipped because the fixture lacks a hook, is printed to standard error, although their tests pass. Two
/// uses in one file need a module each.
///
/// ```
/// # use sdk_conformance::{Fixture, backend_tests};
/// # use sdk_state::{Backend, Error, MemoryBackend, StackId};
/// # struct Small;
/// # impl Small { fn new() -> Self { Self } }
/// # impl Fixture for Small {
/// #     fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> { Ok(Box::new(MemoryBackend::new(id.clone()))) }
/// # }
/// backend_tests!(Small::new, except "CREATE-05": "a row of this server has 1 MiB at most");
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! backend_tests {
    ($fixture:expr $(, except $id:literal : $reason:literal)* $(,)?) => {
        $crate::__rules! { tests { $fixture } { $($id : $reason),* } }
    };
}

/// The two uses of the list. One list, so that neither can lack a rule.
#[doc(hidden)]
#[macro_export]
macro_rules! __expand {
    (tests { $fixture:expr } $exceptions:tt [$($module:ident { $($name:ident $id:literal $sentence:literal)* })*]) => {
        $($(
            #[test]
            fn $name() {
                $crate::__test! { $id { $fixture } $exceptions }
            }
        )*)*

        #[test]
        fn every_exception_is_to_a_rule() {
            $crate::__known! { $exceptions [$($($id)*)*] }
        }
    };
    (table [$($module:ident { $($name:ident $id:literal $sentence:literal)* })*]) => {
        /// Every rule.
        pub const RULES: &[Rule] = &[$($(
            Rule { id: $id, sentence: $sentence, check: $module::$name },
        )*)*];
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __test {
    ($id:literal { $fixture:expr } { $($except:literal : $reason:literal),* }) => {
        let exceptions: &[$crate::Exception] = &[$($crate::Exception { rule: $except, reason: $reason }),*];
        if let Err(failure) = $crate::try_rule($id, std::sync::Arc::new($fixture()), exceptions) {
            panic!("{failure}");
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __known {
    ({ $($except:literal : $reason:literal),* } [$($id:literal)*]) => {
        let rules: &[&str] = &[$($id),*];
        let exceptions: &[&str] = &[$($except),*];
        for (position, exception) in exceptions.iter().enumerate() {
            assert!(rules.contains(exception), "there is no rule {exception}");
            let is_first = !exceptions[..position].contains(exception);
            assert!(is_first, "{exception} has two exceptions");
        }
    };
}

/// Every rule: the file of its check, the check, its id, and the sentence that it checks.
#[doc(hidden)]
#[macro_export]
macro_rules! __rules {
    ($($use:tt)*) => {
        $crate::__expand! { $($use)* [
            create {
                what_is_created_is_listed_and_read_by_all "CREATE-01"
                    "a created snapshot is listed and read back, byte for byte, through every handle, old or new"
                a_taken_name_is_an_answer_and_changes_nothing "CREATE-02"
                    "creating under a taken name is answered by Exists and leaves the stored bytes"
                one_of_many_creators_of_a_name_wins "CREATE-03"
                    "of simultaneous creators of one name, exactly one gets Created, and its bytes are stored"
                a_snapshot_appears_whole_or_not_at_all "CREATE-04"
                    "a reader finds all of a snapshot that is being created, or nothing"
                a_large_snapshot_is_kept "CREATE-05"
                    "a snapshot of 16 MiB is kept"
                names_of_one_moment_are_different_snapshots "CREATE-06"
                    "revisions that differ in a suffix, a nanosecond or the year alone are different snapshots"
                a_name_that_is_no_moment_is_not_written "CREATE-07"
                    "creating under a name that is not a time is InvalidName and stores nothing"
                creating_does_not_move_current "CREATE-08"
                    "creating a snapshot does not move current"
            }
            replace {
                a_snapshot_is_replaced_as_a_whole "REPLACE-01"
                    "replacing a snapshot by a shorter or longer one leaves exactly the new bytes"
                an_absent_snapshot_is_not_replaced "REPLACE-02"
                    "replacing a snapshot that does not exist is NotFound and creates nothing"
                readers_see_old_or_new_during_a_replacement "REPLACE-03"
                    "a reader of a snapshot that is being replaced finds all of the old bytes or all of the new ones"
                a_removal_wins_over_a_replacement "REPLACE-04"
                    "when one thread replaces a snapshot and another removes it, the snapshot is gone afterwards"
            }
            read {
                an_absent_snapshot_is_not_found "READ-01"
                    "reading a revision that does not exist is NotFound"
                the_limit_is_exact "READ-02"
                    "a snapshot of exactly the limit is read, and one with one byte more is TooLarge"
                an_empty_snapshot_is_damaged "READ-03"
                    "an empty stored snapshot is Damaged, and current is not moved to it"
                an_untouched_place_is_empty "READ-04"
                    "in a place that nobody wrote to nothing is listed, current or locked"
                opening_and_reading_create_nothing "READ-05"
                    "opening a backend and calling every method that reads creates nothing"
                a_refused_change_creates_nothing "READ-06"
                    "in an untouched place a change that is refused, or finds nothing to do, creates nothing"
                a_prefix_comes_with_the_whole_length "READ-07"
                    "read_prefix returns the bytes that are asked for, or all there are, and the whole length"
                everything_is_listed_once_in_whatever_order "LIST-01"
                    "every snapshot is listed exactly once, whatever the order of creation"
                a_damaged_snapshot_hides_no_other "LIST-02"
                    "a damaged snapshot is listed, and so are all others"
                nothing_of_its_own_is_irregular "LIST-03"
                    "inspecting finds nothing in a stack that only the backend has changed"
            }
            pointer {
                current_names_what_it_was_moved_to "POINTER-01"
                    "current names the revision that it was last moved to, through every handle"
                current_is_not_moved_to_what_does_not_exist "POINTER-02"
                    "moving current to a revision that does not exist is NotFound and changes nothing"
                a_move_with_an_expectation_compares "POINTER-03"
                    "a move succeeds if current is as expected; else it is CurrentMoved, names both, and changes nothing"
                one_of_many_movers_with_one_expectation_wins "POINTER-04"
                    "of simultaneous moves with the same expectation, exactly one succeeds"
                no_update_is_lost "POINTER-05"
                    "when many threads increment a counter by read, create and move with an expectation, none is lost"
                readers_see_old_or_new_while_current_moves "POINTER-06"
                    "a reader of current while it moves finds the old or the new revision, which exists"
                a_damaged_pointer_is_an_error "POINTER-07"
                    "a pointer that is anything but one valid name is Damaged and never none"
                a_damaged_pointer_is_repaired_by_a_blind_move "POINTER-08"
                    "on a damaged pointer a move with an expectation is Damaged, and one without repairs it"
                the_version_is_new_at_every_move_elsewhere_or_always_0 "POINTER-09"
                    "a move to another revision returns a pointer with a new version, or always 0; a move to what is current changes nothing"
                an_expected_pointer_is_one_very_move "POINTER-10"
                    "a move that expects a pointer is CurrentMoved after any other move, even one back to the same revision"
            }
            remove {
                what_is_removed_is_gone_and_nothing_else "REMOVE-01"
                    "a removed snapshot is neither listed nor read, and all others stay"
                removing_what_is_absent_succeeds "REMOVE-02"
                    "removing a revision that does not exist, or twice, succeeds"
                the_current_revision_is_not_removed "REMOVE-03"
                    "removing the current revision is RevisionIsCurrent and leaves it, until another one is current"
                nothing_is_removed_while_the_pointer_is_damaged "REMOVE-04"
                    "while the pointer is damaged a removal is Damaged and removes nothing"
                moves_and_removals_never_leave_current_dangling "REMOVE-05"
                    "when one thread moves current to a revision and another removes it, current exists afterwards"
                a_handle_does_not_point_at_what_it_created_and_lost "REMOVE-06"
                    "a handle that created a revision, which was then removed, does not move current to it: NotFound"
            }
            lock {
                a_free_lock_is_held_and_names_its_holder "LOCK-01"
                    "a free lock is taken at once, from nobody, and its info and status name the holder"
                a_held_lock_is_busy_and_names_the_holder "LOCK-02"
                    "a held lock is Busy through every handle, and the answer names the holder"
                unlocking_frees "LOCK-03"
                    "an unlocked lock is free, and the next holder takes over from nobody"
                dropping_frees "LOCK-04"
                    "a dropped lock is free, and the next holder takes over from nobody"
                one_of_many_lockers_gets_it "LOCK-05"
                    "of simultaneous tries for a free lock exactly one gets it"
                holders_never_overlap "LOCK-06"
                    "threads that lock and unlock repeatedly all get the lock, and never two at once"
                tokens_do_not_repeat "LOCK-07"
                    "every lock has a token that no other lock had"
            }
            eviction {
                force_unlock_evicts_the_expected_holder "LOCK-08"
                    "force_unlock with the holder's token, or none, frees the lock and returns the evicted holder"
                force_unlock_spares_another_holder "LOCK-09"
                    "force_unlock with another token is Locked, names the holder, and leaves the lock"
                force_unlock_of_a_free_lock_finds_nobody "LOCK-10"
                    "force_unlock of a free lock returns nobody"
                an_evicted_holder_has_lost_the_lock "LOCK-11"
                    "after an eviction check and unlock of the old lock are LockLost"
                an_evicted_holder_does_not_touch_the_next_one "LOCK-12"
                    "neither unlock nor drop of an evicted lock frees the next holder's lock"
            }
            lock {
                a_dead_holder_is_replaced_and_named "LOCK-13"
                    "a dead holder is Dead, and the next one gets the lock, is told whose it was, and keeps it"
            }
            eviction {
                an_eviction_spares_those_who_came_meanwhile "LOCK-14"
                    "force_unlock with a token never evicts a holder who takes the lock while it runs"
                a_lock_knows_that_it_is_lost_once_it_has_looked "LOCK-15"
                    "is_lost is false while the lock is held, and true once check has found an eviction"
            }
            lock {
                unknown_members_of_a_lock_are_kept "LOCK-16"
                    "a lock that a newer version stored is held and shown with all of its members"
            }
            guard {
                the_holder_moves_replaces_and_removes "GUARD-01"
                    "a move, a replacement and a removal with the token of the lock succeed through every handle"
                an_evicted_holder_does_not_move_current "GUARD-02"
                    "a move with the token of an evicted holder is LockLost and leaves current, even while nobody holds the lock"
                an_evicted_holder_does_not_remove "GUARD-03"
                    "a removal with the token of an evicted holder is LockLost and removes nothing"
                no_move_of_an_evicted_holder_is_done_later "GUARD-04"
                    "once force_unlock has returned, no move that the evicted holder had begun takes effect"
                no_other_token_guards "GUARD-05"
                    "a token of a released lock, of another stack, or of nobody is LockLost, and changes nothing"
                an_evicted_holder_does_not_replace "GUARD-06"
                    "a replacement with the token of an evicted holder is LockLost and leaves the bytes"
                a_removal_without_a_token_respects_the_lock "GUARD-07"
                    "a removal without a token succeeds while nobody holds the lock, and is Locked otherwise"
                no_move_is_done_once_the_next_holder_has_the_lock "GUARD-08"
                    "once try_lock has returned, no move that an earlier holder had begun takes effect"
            }
            journal {
                records_come_back_in_order_to_the_byte "JOURNAL-01"
                    "records that any handle appends come back in order, byte for byte, through every handle"
                a_large_record_is_kept "JOURNAL-02"
                    "a record of 16 MiB is kept"
                another_number_is_taken_and_changes_nothing "JOURNAL-03"
                    "a record whose number is not the next one is Taken and changes nothing"
                a_repeated_record_is_there_once "JOURNAL-04"
                    "a repeat of the last record is Appended but stored once; other bytes under its number are Taken"
                a_record_stands_on_what_is_current "JOURNAL-05"
                    "a record on a pointer that is not current is CurrentMoved, and the journal of such a pointer is empty"
                a_move_ends_the_journal "JOURNAL-06"
                    "a move ends the journal: neither the new revision has records, nor the old one when it is current again"
                a_new_journal_begins_after_a_move "JOURNAL-07"
                    "after a move, record 0 begins a journal without the earlier records"
                a_move_to_what_is_current_leaves_the_journal "JOURNAL-08"
                    "a move to what is current leaves the pointer and the journal, which goes on"
                one_of_many_appenders_with_one_number_wins "JOURNAL-09"
                    "of simultaneous records with one number exactly one is Appended"
                no_record_is_added_once_current_has_moved "JOURNAL-10"
                    "once set_current has returned, no record is added to the journal that it ended, or to the next one"
                no_other_token_appends "JOURNAL-11"
                    "a record with a token of a released or evicted lock, of another stack, or of nobody is LockLost"
                no_record_is_added_once_the_next_holder_has_the_lock "JOURNAL-12"
                    "once try_lock has returned, no earlier holder adds a record, and every record that it added before is seen"
                a_journal_is_read_in_pages "JOURNAL-13"
                    "a page begins with the requested record, skips none, and keeps its limit beyond the first record"
                readers_see_whole_records_in_order "JOURNAL-14"
                    "a reader of a growing journal finds whole records in order, including all that were added before"
                a_damaged_pointer_hides_no_journal "JOURNAL-15"
                    "while the pointer is damaged, appending and reading the journal are Damaged, and a repair either keeps or ends it"
                a_backend_keeps_a_journal_always_or_never "JOURNAL-16"
                    "a backend keeps a journal, or it always says Unsupported and has no records"
            }
            sealed {
                a_store_reads_what_another_one_wrote "SEALED-01"
                    "a store reads what another store with the same key saved"
                a_changed_snapshot_does_not_open "SEALED-02"
                    "a sealed snapshot that is changed, cut or lengthened in the place does not open"
                a_moved_snapshot_is_misplaced "SEALED-03"
                    "a sealed snapshot that is copied to another revision or stack is Misplaced"
                writers_at_once_get_revisions_of_their_own "SEALED-04"
                    "stores that write at the same moment get different revisions, each with its own document"
            }
            stacks {
                a_backend_says_whose_place_it_is "STACKS-01"
                    "a backend has the id that it was opened with"
                stacks_do_not_see_each_other "STACKS-02"
                    "snapshots, current, journal and lock of one stack are not those of another, however alike the names"
                names_that_differ_in_case_are_not_mixed "STACKS-03"
                    "stacks whose names differ in case are kept apart, or the second one is refused"
                every_legal_name_is_a_stack "STACKS-04"
                    "a name of 128 bytes, one with every valid character, or a word that a medium may use itself is a stack"
                a_catalog_lists_each_stack_that_exists "CATALOG-01"
                    "a catalog lists every stack that was written to or locked, sorted, each once"
                a_catalog_removes_a_stack_as_a_whole "CATALOG-02"
                    "a catalog removes a stack as a whole and no other; its name can be used again"
                a_catalog_does_not_remove_a_locked_stack "CATALOG-03"
                    "removing a stack that somebody has locked is Locked and removes nothing"
                a_catalog_has_one_name_and_opens_the_place "CATALOG-04"
                    "a catalog has one name, and opens the place of the stack that it is asked for"
            }
            lost_answer {
                a_lost_create_is_told_truthfully "LOST-01"
                    "when the request or the answer of a create is lost, what the backend says about it is true"
                a_lost_move_is_told_truthfully "LOST-02"
                    "when the request or the answer of a move is lost, what the backend says about it is true"
                a_lost_removal_is_told_truthfully "LOST-03"
                    "when the request or the answer of a removal is lost, what the backend says about it is true"
                a_lost_replacement_is_told_truthfully "LOST-04"
                    "when the request or the answer of a replacement is lost, what the backend says about it is true"
                a_lost_lock_is_told_truthfully "LOST-05"
                    "when the request or the answer of a try_lock is lost, the answer is true and takes over from nobody"
                a_lost_unlock_is_told_truthfully "LOST-06"
                    "when the request or the answer of an unlock is lost, what the backend says about it is true"
                a_lost_record_is_told_truthfully "LOST-07"
                    "when the request or the answer of an append is lost, the report is true, and a repeat adds the record once"
                a_backend_error_changes_nothing "ERROR-01"
                    "a change that fails because the medium refuses it has changed nothing, and the next one works"
            }
        ] }
    };
}

__rules! { table }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rules_have_the_same_id() {
        let mut ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
