use crate::medium::BackendMedium;

mod checks;

/// The rules of `Backend`: see `__storage_rules`.
#[doc(hidden)]
#[macro_export]
macro_rules! __backend_rules {
    ($($use:tt)*) => {
        $crate::__expand! { $($use)* [
            backend {
                what_is_written_is_read_and_not_current "BACKEND-01"
                    "a written snapshot is read back through every handle, and is not current before it is made so"
                nothing_current_is_told_from_a_lost_pointer "BACKEND-02"
                    "without a current revision head, current and current_rev are NoCurrent with the number of snapshots"
                head_is_the_current_revision_and_its_snapshot "BACKEND-03"
                    "head, current and current_rev tell the revision that was made current, and its snapshot"
                the_list_is_sorted "BACKEND-04"
                    "the list has every revision once, oldest first"
                writers_at_once_get_revisions_of_their_own "BACKEND-05"
                    "backends that write at the same time get different revisions, each with its own snapshot"
                a_write_sorts_after_the_current_revision "BACKEND-06"
                    "a written revision sorts after the one that was current when the write began"
                a_snapshot_of_another_stack_is_not_written "BACKEND-07"
                    "writing a state of another stack is InvalidSnapshot and adds no revision"
                what_does_not_exist_is_not_found "BACKEND-08"
                    "getting or pointing at a revision that does not exist is NotFound"
                a_compared_move_compares "BACKEND-09"
                    "a compared move of current that expects something else is CurrentMoved and leaves it"
                no_update_is_lost "BACKEND-10"
                    "when many threads increment a counter by head, write and compared move, none is lost"
                deleting_spares_the_current_revision "BACKEND-11"
                    "a deleted revision is gone, deleting it again succeeds, and the current one is RevisionIsCurrent"
                opening_and_reading_create_nothing "BACKEND-12"
                    "after opening and reading nothing is listed, current or locked"
                a_held_lock_is_not_got_and_names_the_holder "BACKEND-13"
                    "waiting for a held lock ends at the deadline as Locked, and names the holder"
                a_waiter_gets_the_lock_when_it_is_free "BACKEND-14"
                    "who waits for a held lock gets it once it is free"
                a_wait_that_is_cancelled_ends "BACKEND-15"
                    "a cancelled wait for a lock ends as Cancelled, and leaves the lock with its holder"
                an_evicted_holder_changes_nothing "BACKEND-16"
                    "with an evicted lock a compared move and a deletion are LockLost and change nothing"
                force_unlock_compares "BACKEND-17"
                    "force_unlock evicts the expected holder, and is Locked for another"
                moving_and_deleting_at_once_never_leave_current_dangling "BACKEND-18"
                    "when one thread makes a revision current and another deletes it, current exists afterwards"
                writers_whose_clocks_stand_still_get_revisions_of_their_own "BACKEND-19"
                    "backends that write at the same moment of a clock get different revisions, each with its own snapshot"
                a_damaged_pointer_is_never_a_fresh_start "BACKEND-20"
                    "with a damaged pointer head, current and current_rev are Damaged, until set_current repairs it"
                a_damaged_snapshot_is_refused_and_hides_no_other "BACKEND-21"
                    "getting a damaged snapshot is Damaged, and all others are listed and read"
                a_misplaced_snapshot_is_refused "BACKEND-22"
                    "a snapshot that was copied to another revision or another stack is Misplaced there"
                a_dead_holder_is_replaced_and_named "BACKEND-23"
                    "who asks for a dead holder's lock gets it, and is told whose it was"
                a_large_snapshot_is_kept "BACKEND-24"
                    "a state of 8 MiB is written and read back"
                stacks_do_not_see_each_other "BACKEND-25"
                    "a backend says whose it is, and stacks with legal names, however odd or alike, are kept apart"
            }
        ] }
    };
}

__backend_rules! { table BackendMedium BACKEND_RULES }
