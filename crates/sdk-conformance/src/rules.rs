use crate::medium::Medium;

mod checks;

/// The rules of `Storage`: in each group the function, its id, and the sentence that it checks.
#[doc(hidden)]
#[macro_export]
macro_rules! __storage_rules {
    ($($use:tt)*) => {
        $crate::__expand! { $($use)* [
            create {
                what_is_created_is_listed_and_read_through_every_handle "CREATE-01"
                    "a created snapshot is listed and read back, byte for byte, through every handle, old or new"
                a_taken_name_is_an_answer_and_changes_nothing "CREATE-02"
                    "creating under a taken name answers Exists and leaves the bytes that are there"
                one_of_many_creators_of_a_name_wins "CREATE-03"
                    "of simultaneous creators of one name exactly one is told Created, and its bytes are there"
                a_snapshot_appears_whole_or_not_at_all "CREATE-04"
                    "whoever reads while a snapshot is created finds all of it or nothing"
                a_large_snapshot_is_kept "CREATE-05"
                    "a snapshot of 16 MiB is kept"
                names_of_one_moment_are_different_snapshots "CREATE-06"
                    "revisions that differ in a suffix, a nanosecond or the year alone are different snapshots"
                a_name_that_is_no_moment_is_not_written "CREATE-07"
                    "creating under a name that is no moment is refused as InvalidName and stores nothing"
                creating_does_not_move_current "CREATE-08"
                    "creating a snapshot does not move current"
            }
            replace {
                a_snapshot_is_replaced_as_a_whole "REPLACE-01"
                    "replacing a snapshot by a shorter or longer one leaves exactly the new bytes"
                an_absent_snapshot_is_not_replaced "REPLACE-02"
                    "replacing what does not exist is NotFound and creates nothing"
                a_snapshot_is_old_or_new_while_it_is_replaced "REPLACE-03"
                    "whoever reads while a snapshot is replaced finds all of the old bytes or all of the new ones"
                a_removal_wins_over_a_replacement "REPLACE-04"
                    "when one thread replaces a snapshot and another removes it, it is gone afterwards"
            }
            read {
                an_absent_snapshot_is_not_found "READ-01"
                    "reading a revision that does not exist is NotFound"
                the_limit_is_exact "READ-02"
                    "a snapshot of as many bytes as the limit is read, and of one more is TooLarge"
                an_empty_snapshot_is_damaged "READ-03"
                    "a stored snapshot without a byte is Damaged and is not pointed at"
                an_untouched_place_is_empty "READ-04"
                    "in a place that nobody wrote to nothing is listed, current or locked"
                opening_and_reading_create_nothing "READ-05"
                    "opening a storage and calling every method that reads creates nothing"
                a_refused_change_creates_nothing "READ-06"
                    "in an untouched place a change that is refused, or finds nothing to do, creates nothing"
                a_beginning_comes_with_the_length_of_the_whole "READ-07"
                    "read_prefix answers as many bytes as are asked for, or all there are, and the length of the whole"
            }
            list {
                everything_is_listed_once_whatever_the_order "LIST-01"
                    "every snapshot is listed exactly once, whatever the order of creation"
                a_damaged_snapshot_hides_no_other "LIST-02"
                    "a snapshot that is damaged is listed, and so are all others"
            }
            pointer {
                current_names_what_it_was_moved_to "POINTER-01"
                    "current names the revision that it was last moved to, through every handle"
                current_is_not_moved_to_what_does_not_exist "POINTER-02"
                    "moving current to a revision that does not exist is NotFound and leaves it"
                a_move_with_an_expectation_compares "POINTER-03"
                    "a move is done if current is what is expected; else it is CurrentMoved, names both, and leaves it"
                one_of_many_movers_with_one_expectation_wins "POINTER-04"
                    "of simultaneous movers that expect the same exactly one moves current"
                no_update_is_lost "POINTER-05"
                    "when many threads increment a counter by read, create and compared move, none is lost"
                current_is_old_or_new_while_it_moves "POINTER-06"
                    "whoever reads current while it moves finds the old or the new revision, which exists"
                a_damaged_pointer_is_an_error "POINTER-07"
                    "a pointer that is anything but one valid name is Damaged and never none"
                a_damaged_pointer_is_repaired_by_a_move_without_expectation "POINTER-08"
                    "on a damaged pointer a move with an expectation is Damaged, and one without repairs it"
            }
            remove {
                what_is_removed_is_gone_and_nothing_else "REMOVE-01"
                    "a removed snapshot is neither listed nor read, and all others stay"
                removing_what_is_absent_is_fine "REMOVE-02"
                    "removing a revision that does not exist, or twice, succeeds"
                the_current_revision_is_not_removed "REMOVE-03"
                    "removing the current revision is RevisionIsCurrent and leaves it, until current is elsewhere"
                nothing_is_removed_while_the_pointer_is_damaged "REMOVE-04"
                    "while the pointer is damaged a removal is Damaged and removes nothing"
                moving_and_removing_at_once_never_leave_current_dangling "REMOVE-05"
                    "when one thread moves current to a revision and another removes it, current exists afterwards"
            }
            lock {
                a_free_lock_is_held_and_says_by_whom "LOCK-01"
                    "a free lock is held at once, by nobody before, and its info and status name the holder"
                a_held_lock_is_busy_and_names_the_holder "LOCK-02"
                    "a held lock is Busy through every handle, and the answer names the holder"
                unlocking_frees "LOCK-03"
                    "an unlocked lock is free"
                dropping_frees "LOCK-04"
                    "a dropped lock is free"
                one_of_many_lockers_gets_it "LOCK-05"
                    "of simultaneous tries for a free lock exactly one gets it"
                holders_never_overlap "LOCK-06"
                    "threads that lock and unlock again and again all get it, and never two at once"
                tokens_do_not_repeat "LOCK-07"
                    "every holding has a token that no other had"
                force_unlock_evicts_the_expected_holder "LOCK-08"
                    "force_unlock with the holder's token, or none, frees the lock and returns who was evicted"
                force_unlock_spares_another_holder "LOCK-09"
                    "force_unlock with another token is Locked, names the holder, and leaves the lock"
                force_unlock_of_a_free_lock_finds_nobody "LOCK-10"
                    "force_unlock of a free lock returns nobody"
                an_evicted_holder_has_lost_the_lock "LOCK-11"
                    "after an eviction check and unlock of the old lock are LockLost"
                an_evicted_holder_does_not_touch_the_next_one "LOCK-12"
                    "neither unlock nor drop of an evicted lock frees that of the next holder"
                a_dead_holder_is_replaced_and_named "LOCK-13"
                    "a dead holder is Dead, its lock is taken over by one who is told whose it was and does not lose it to the dead"
                an_eviction_spares_who_came_meanwhile "LOCK-14"
                    "force_unlock with a token never evicts one who takes the lock while it runs"
            }
            guard {
                the_holder_moves_and_removes "GUARD-01"
                    "a move and a removal with the token of the lock are done"
                an_evicted_holder_does_not_move_current "GUARD-02"
                    "a move with the token of an evicted holder is LockLost and leaves current, whoever holds the lock"
                an_evicted_holder_does_not_remove "GUARD-03"
                    "a removal with the token of an evicted holder is LockLost and removes nothing, whoever holds the lock"
                no_move_of_an_evicted_holder_is_done_later "GUARD-04"
                    "once force_unlock has returned, no move that the evicted holder had begun is done any more"
                no_other_token_guards "GUARD-05"
                    "a token that was given back, of another stack, or of nobody is LockLost, and changes nothing"
            }
            sealed {
                a_store_reads_what_another_one_wrote "SEALED-01"
                    "what a store writes another store with the same key reads"
                a_changed_snapshot_does_not_open "SEALED-02"
                    "a sealed snapshot that is changed, cut or lengthened in the storage does not open"
                a_moved_snapshot_is_misplaced "SEALED-03"
                    "a sealed snapshot that is copied to another revision or stack is Misplaced"
                writers_at_once_get_revisions_of_their_own "SEALED-04"
                    "stores that write at the same moment get different revisions, each with its own snapshot"
            }
            stacks {
                a_storage_says_whose_place_it_is "STACKS-01"
                    "a storage has the id that it was opened with"
                stacks_do_not_see_each_other "STACKS-02"
                    "snapshots, current and lock of one stack are not those of another, however alike the names"
                names_that_differ_in_case_are_not_mixed "STACKS-03"
                    "stacks whose names differ in case are kept apart, or the second one is refused"
                every_legal_name_is_a_stack "STACKS-04"
                    "a name of 128 bytes, with every legal character, or of a word that a medium may use itself is a stack"
            }
        ] }
    };
}

__storage_rules! { table Medium RULES }

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
