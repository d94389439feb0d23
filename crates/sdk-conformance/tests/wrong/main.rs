//! Storages and backends that are wrong in one point each: the kit must say so, and say nothing else.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a helper of a test may panic")]

mod backend;
mod fault;
mod lock;
mod place;
mod pointer;
mod snapshots;
mod storage;

use backend::{Slip, WrongBackends};
use fault::Fault;
use place::{Place, WrongMedium};
use sdk_conformance::{BACKEND_RULES, BackendMedium, RULES, Report, Stores};
use std::sync::Arc;

/// A rule that no wrong storage breaks may as well not be there.
macro_rules! wrong {
    ($($name:ident: $fault:ident breaks [$($rule:literal)*];)*) => {
        $(
            #[test]
            fn $name() {
                let report = Report::run(RULES, || Arc::new(WrongMedium(Place::new(Fault::$fault))), &[]);
                let expected: &[&str] = &[$($rule),*];
                assert_eq!(report.broken(), expected, "{report}");
            }
        )*

        #[test]
        fn every_rule_is_broken_by_some_storage() {
            let broken = [$($($rule,)*)*];
            for rule in RULES {
                assert!(broken.contains(&rule.id), "{}", rule.id);
            }
        }
    };
}

wrong! {
    the_storage_without_a_fault: None breaks [];
    looking_whether_a_name_is_free_before_creating: CheckThenCreate breaks ["CREATE-03" "SEALED-04"];
    creating_over_what_is_there: CreateOverwrites breaks ["CREATE-02" "CREATE-03" "SEALED-04"];
    creating_in_parts: CreateInParts breaks ["CREATE-04"];
    creating_under_any_name: CreateTakesAnyName breaks ["CREATE-07"];
    creating_and_moving_current: CreateMovesCurrent breaks ["CREATE-08"];
    storing_equal_bytes_once: CreateDeduplicates breaks ["SEALED-03"];
    keeping_times_to_the_microsecond: CreateRoundsTimes breaks ["CREATE-06"];
    keeping_bytes_as_text: KeepsText breaks ["CREATE-01" "CREATE-05" "SEALED-01" "SEALED-02" "SEALED-03" "SEALED-04"];
    replacing_nothing: ReplaceForgets breaks ["REPLACE-01" "SEALED-02"];
    replacing_and_panicking: ReplacePanics breaks
        ["REPLACE-01" "REPLACE-02" "REPLACE-03" "REPLACE-04" "SEALED-02"];
    cutting_a_snapshot_off_before_replacing_it: ReplaceInParts breaks ["REPLACE-03"];
    looking_whether_a_snapshot_is_there_before_replacing_it: CheckThenReplace breaks ["REPLACE-04"];
    replacing_what_is_absent: ReplaceCreates breaks ["REPLACE-02"];
    making_the_stack_before_replacing: ReplaceMakesTheStack breaks ["READ-06"];
    reading_64_kibibytes: ReadTruncates breaks ["CREATE-05"];
    a_limit_that_is_off_by_one: LimitOffByOne breaks ["READ-02"];
    taking_a_beginning_as_the_whole: PrefixIsTheWhole breaks ["READ-07"];
    reading_an_empty_snapshot: ReadsNothing breaks ["READ-03"];
    failing_to_read_from_what_does_not_exist: AbsentIsAnError breaks ["READ-01"];
    failing_to_list_what_does_not_exist: ListFailsWhenAbsent breaks ["READ-04"];
    listing_and_creating: ListCreates breaks ["READ-05"];
    opening_what_is_listed: ListOpensSnapshots breaks ["LIST-02"];
    listing_one_page: ListsOnePage breaks ["LIST-01"];
    listing_what_was_there_before: ListIsStale breaks ["CREATE-01" "REMOVE-01"];
    listing_what_was_removed: ListsTheRemoved breaks ["REMOVE-01"];
    writing_the_pointer_over_the_old_one: PointerInPlace breaks ["POINTER-01"];
    emptying_the_pointer_before_writing_it: PointerInTwoSteps breaks ["POINTER-06"];
    comparing_before_moving: CompareThenMove breaks ["POINTER-04" "POINTER-05"];
    not_telling_what_was_found: MovedSaysNothing breaks ["POINTER-03"];
    moving_to_what_does_not_exist: MovesToNothing breaks ["READ-03" "POINTER-02"];
    taking_a_damaged_pointer_for_none: DamageIsNone breaks ["POINTER-07" "POINTER-08" "REMOVE-04"];
    failing_to_remove_what_is_absent: RemoveIsStrict breaks ["REMOVE-02"];
    removing_the_current_revision: RemovesCurrent breaks ["REMOVE-03" "REMOVE-04" "REMOVE-05"];
    looking_what_is_current_before_removing: CheckThenRemove breaks ["REMOVE-05"];
    a_lock_for_everybody: LockAdmitsAll breaks ["LOCK-02" "LOCK-05" "LOCK-06"];
    looking_whether_the_lock_is_free_before_taking_it: CheckThenLock breaks ["LOCK-05" "LOCK-06"];
    not_telling_a_waiter_who_holds_the_lock: BusyIsAnonymous breaks ["LOCK-02"];
    not_telling_who_holds_the_lock: StatusIsAnonymous breaks ["LOCK-01"];
    unlocking_nothing: UnlockKeeps breaks ["LOCK-03" "GUARD-05"];
    keeping_a_dropped_lock: DropKeeps breaks ["LOCK-04"];
    a_token_that_repeats: TokenRepeats breaks
        ["LOCK-07" "LOCK-11" "LOCK-12" "LOCK-13" "GUARD-02" "GUARD-03" "GUARD-05"];
    unlocking_the_lock_of_anybody: UnlocksAnyones breaks ["LOCK-11" "LOCK-12" "LOCK-13"];
    leaving_the_lock_to_the_dead: DeadHolderStays breaks ["LOCK-13"];
    not_telling_the_dead_from_the_living: DeadIsUnknown breaks ["LOCK-13"];
    freeing_the_lock_that_was_taken_over_from_the_dead: DeadDropFrees breaks ["LOCK-13"];
    comparing_before_evicting: CompareThenEvict breaks ["LOCK-14"];
    evicting_anybody: ForceIgnoresToken breaks ["LOCK-09"];
    not_telling_who_was_evicted: ForceIsSilent breaks ["LOCK-08"];
    failing_to_evict_nobody: ForceNeedsAHolder breaks ["LOCK-10"];
    a_token_that_one_handle_knows: TokenOfOneHandle breaks ["GUARD-01"];
    moving_without_a_look_at_the_token: MoveIgnoresToken breaks ["GUARD-02" "GUARD-04" "GUARD-05"];
    removing_without_a_look_at_the_token: RemoveIgnoresToken breaks ["GUARD-03" "GUARD-05"];
    looking_at_the_token_before_moving: GuardThenMove breaks ["GUARD-04"];
    refusing_the_evicted_alone: RefusesTheEvicted breaks ["GUARD-05"];
    being_content_with_any_holder: AnyHolderWillDo breaks ["GUARD-02" "GUARD-03" "GUARD-05"];
    a_wrong_id: WrongId breaks ["SEALED-01" "SEALED-02" "SEALED-03" "SEALED-04" "STACKS-01"];
    names_that_are_glued_together: NamesAreGlued breaks ["STACKS-02"];
    names_in_lower_case: NamesAreFolded breaks ["STACKS-03"];
    names_that_must_be_short: NamesAreShort breaks ["STACKS-04"];
}

/// The rules of `Backend`, which are broken by a storage below a `Store` or by a backend without one.
mod backends {
    use super::*;

    macro_rules! wrong_backends {
        (
            below a store { $($below:ident: $fault:ident breaks [$($below_rule:literal)*];)* }
            without one { $($without:ident: $slip:ident breaks [$($without_rule:literal)*];)* }
        ) => {
            mod below_a_store {
                use super::*;
                $(
                    #[test]
                    fn $below() {
                        let medium = || Stores(WrongMedium(Place::new(Fault::$fault)));
                        breaks_exactly(medium, &[$($below_rule),*]);
                    }
                )*
            }

            mod without_a_store {
                use super::*;
                $(
                    #[test]
                    fn $without() {
                        breaks_exactly(|| WrongBackends::new(Slip::$slip), &[$($without_rule),*]);
                    }
                )*
            }

            #[test]
            fn every_rule_is_broken_by_some_backend() {
                let broken = [$($($below_rule,)*)* $($($without_rule,)*)*];
                for rule in BACKEND_RULES {
                    assert!(broken.contains(&rule.id), "{}", rule.id);
                }
            }
        };
    }

    fn breaks_exactly<M: BackendMedium>(medium: impl Fn() -> M, expected: &[&str]) {
        let report = Report::run(BACKEND_RULES, || Arc::new(medium()), &[]);
        assert_eq!(report.broken(), expected, "{report}");
    }

    wrong_backends! {
        below a store {
            the_storage_without_a_fault: None breaks [];
            comparing_before_moving: CompareThenMove breaks ["BACKEND-10"];
            moving_without_a_look_at_the_token: MoveIgnoresToken breaks ["BACKEND-16"];
            removing_without_a_look_at_the_token: RemoveIgnoresToken breaks ["BACKEND-16"];
            removing_the_current_revision: RemovesCurrent breaks ["BACKEND-11" "BACKEND-18"];
            failing_to_remove_what_is_absent: RemoveIsStrict breaks ["BACKEND-11"];
            moving_to_what_does_not_exist: MovesToNothing breaks ["BACKEND-08"];
            not_telling_a_waiter_who_holds_the_lock: BusyIsAnonymous breaks ["BACKEND-13"];
            unlocking_nothing: UnlockKeeps breaks ["BACKEND-14"];
            unlocking_the_lock_of_anybody: UnlocksAnyones breaks ["BACKEND-16" "BACKEND-23"];
            evicting_anybody: ForceIgnoresToken breaks ["BACKEND-17"];
            not_telling_who_was_evicted: ForceIsSilent breaks ["BACKEND-17"];
            keeping_bytes_as_text: KeepsText breaks
                ["BACKEND-01" "BACKEND-03" "BACKEND-05" "BACKEND-10" "BACKEND-11" "BACKEND-16" "BACKEND-18" "BACKEND-19"
                    "BACKEND-21" "BACKEND-22" "BACKEND-24" "BACKEND-25"];
            creating_and_moving_current: CreateMovesCurrent breaks ["BACKEND-01"];
            listing_what_was_there_before: ListIsStale breaks ["BACKEND-02"];
            listing_what_was_removed: ListsTheRemoved breaks ["BACKEND-11"];
            failing_to_list_what_does_not_exist: ListFailsWhenAbsent breaks
                ["BACKEND-02" "BACKEND-07" "BACKEND-12"];
            looking_what_is_current_before_removing: CheckThenRemove breaks ["BACKEND-18"];
            creating_over_what_is_there: CreateOverwrites breaks ["BACKEND-19"];
            taking_a_damaged_pointer_for_none: DamageIsNone breaks ["BACKEND-20"];
            opening_what_is_listed: ListOpensSnapshots breaks ["BACKEND-21"];
            leaving_the_lock_to_the_dead: DeadHolderStays breaks ["BACKEND-23"];
            reading_64_kibibytes: ReadTruncates breaks ["BACKEND-24"];
            names_that_are_glued_together: NamesAreGlued breaks ["BACKEND-25"];
            names_in_lower_case: NamesAreFolded breaks ["BACKEND-25"];
        }
        without one {
            the_backend_without_a_slip: None breaks [];
            reading_current_once: ReadsCurrentOnce breaks ["BACKEND-03"];
            listing_the_newest_first: ListsNewestFirst breaks ["BACKEND-04"];
            taking_a_name_that_is_taken_for_done: ExistsIsDone breaks ["BACKEND-05" "BACKEND-10"];
            naming_revisions_by_the_clock_alone: NamesByTheClock breaks ["BACKEND-06"];
            getting_what_belongs_elsewhere: TakesTheMisplaced breaks ["BACKEND-22"];
            waiting_longer_than_was_asked: WaitsTooLong breaks ["BACKEND-13" "BACKEND-15"];
            writing_a_state_of_any_stack: TakesAnyStack breaks ["BACKEND-07"];
            expecting_nothing_where_none_is_expected: NoneIsNoExpectation breaks ["BACKEND-09"];
            trying_once_whatever_the_wait: DoesNotWait breaks ["BACKEND-13" "BACKEND-14" "BACKEND-15"];
            telling_a_cancelled_wait_as_too_long: CancelledIsLocked breaks ["BACKEND-15"];
        }
    }
}
