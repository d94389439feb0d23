//! Mutants: backends that are wrong in one point each. The kit must say so, and say nothing else.

mod backend;
mod journal;
mod lock;
mod mutation;
mod place;

use mutation::Mutation;
use place::{Mutants, Place};
use sdk_conformance::{RULES, Report};
use std::sync::Arc;

/// A rule that no mutant breaks may as well not be there.
macro_rules! mutants {
    ($($name:ident: $mutation:ident breaks [$($rule:literal)*];)*) => {
        $(
            #[test]
            fn $name() {
                let fixture = || Arc::new(Mutants(Place::new(Mutation::$mutation))) as _;
                let report = Report::run(RULES, fixture, &[]);
                let mut broken = report.broken();
                broken.sort_unstable();
                let mut expected: Vec<&str> = vec![$($rule),*];
                expected.sort_unstable();
                assert_eq!(broken, expected, "{report}");
            }
        )*

        #[test]
        fn every_rule_is_broken_by_some_mutant() {
            let broken = [$($($rule,)*)*];
            for rule in RULES {
                assert!(broken.contains(&rule.id), "{}", rule.id);
            }
        }
    };
}

mutants! {
    the_backend_without_a_fault: None breaks [];
    looking_whether_a_name_is_free_before_creating: CheckThenCreate breaks ["CREATE-03" "SEALED-04"];
    creating_over_what_is_there: CreateOverwrites breaks ["CREATE-02" "CREATE-03" "SEALED-04" "LOST-01"];
    creating_in_parts: CreateInParts breaks ["CREATE-04"];
    creating_under_any_name: CreateTakesAnyName breaks ["CREATE-07"];
    creating_and_moving_current: CreateMovesCurrent breaks ["CREATE-08"];
    storing_equal_bytes_once: CreateDeduplicates breaks ["SEALED-03"];
    keeping_times_to_the_microsecond: CreateRoundsTimes breaks ["CREATE-06"];
    keeping_bytes_as_text: KeepsText breaks ["CREATE-01" "CREATE-05" "SEALED-01" "SEALED-02" "SEALED-03" "SEALED-04"];
    replacing_nothing: ReplaceForgets breaks ["REPLACE-01" "GUARD-01" "SEALED-02" "LOST-04"];
    replacing_and_panicking: ReplacePanics breaks
        ["REPLACE-01" "REPLACE-02" "REPLACE-03" "REPLACE-04" "GUARD-01" "SEALED-02" "LOST-04"];
    cutting_a_snapshot_off_before_replacing_it: ReplaceInParts breaks ["REPLACE-03"];
    looking_whether_a_snapshot_is_there_before_replacing_it: CheckThenReplace breaks ["REPLACE-04"];
    replacing_what_is_absent: ReplaceCreates breaks ["REPLACE-02"];
    making_the_stack_before_replacing: ReplaceMakesTheStack breaks ["READ-06"];
    reading_64_kibibytes: ReadTruncates breaks ["CREATE-05"];
    a_limit_that_is_off_by_one: LimitOffByOne breaks ["READ-02"];
    taking_a_beginning_as_the_whole: PrefixIsTheWhole breaks ["READ-07"];
    reading_an_empty_snapshot: ReadsNothing breaks ["READ-03"];
    failing_to_read_from_what_does_not_exist: AbsentIsAnError breaks ["READ-01"];
    failing_to_list_what_does_not_exist: ListFailsWhenAbsent breaks ["READ-04" "CATALOG-02"];
    listing_and_creating: ListCreates breaks ["READ-05"];
    opening_what_is_listed: ListOpensSnapshots breaks ["LIST-02"];
    inspecting_what_is_its_own: InspectListsItsOwn breaks ["LIST-03"];
    listing_one_page: ListsOnePage breaks ["LIST-01"];
    listing_what_was_there_before: ListIsStale breaks ["CREATE-01" "REMOVE-01"];
    listing_what_was_removed: ListsTheRemoved breaks ["REMOVE-01"];
    writing_the_pointer_over_the_old_one: PointerInPlace breaks ["POINTER-01"];
    emptying_the_pointer_before_writing_it: PointerInTwoSteps breaks ["POINTER-06"];
    comparing_before_moving: CompareThenMove breaks ["POINTER-04" "POINTER-05"];
    not_telling_what_was_found: MovedSaysNothing breaks ["POINTER-03" "POINTER-10" "JOURNAL-05"];
    moving_to_what_does_not_exist: MovesToNothing breaks ["READ-03" "POINTER-02" "REMOVE-06"];
    taking_a_damaged_pointer_for_none: DamageIsNone breaks ["POINTER-07" "POINTER-08" "REMOVE-04" "JOURNAL-15"];
    failing_to_remove_what_is_absent: RemoveIsStrict breaks ["REMOVE-02" "LOST-03"];
    removing_the_current_revision: RemovesCurrent breaks ["REMOVE-03" "REMOVE-04" "REMOVE-05" "LOST-03"];
    looking_what_is_current_before_removing: CheckThenRemove breaks ["REMOVE-05"];
    a_lock_for_everybody: LockAdmitsAll breaks ["LOCK-02" "LOCK-05" "LOCK-06" "LOCK-16" "LOST-05"];
    looking_whether_the_lock_is_free_before_taking_it: CheckThenLock breaks ["LOCK-05" "LOCK-06"];
    not_telling_a_waiter_who_holds_the_lock: BusyIsAnonymous breaks ["LOCK-02" "LOCK-16"];
    not_telling_who_holds_the_lock: StatusIsAnonymous breaks ["LOCK-01" "LOCK-16"];
    unlocking_nothing: UnlockKeeps breaks ["LOCK-03" "GUARD-05" "LOST-06"];
    keeping_a_dropped_lock: DropKeeps breaks ["LOCK-04"];
    a_token_that_repeats: TokenRepeats breaks
        ["LOCK-07" "LOCK-11" "LOCK-12" "LOCK-13" "GUARD-02" "GUARD-03" "GUARD-05" "GUARD-06" "GUARD-08" "LOST-05"
        "JOURNAL-11" "JOURNAL-12"];
    unlocking_the_lock_of_anybody: UnlocksAnyones breaks ["LOCK-11" "LOCK-12" "LOCK-13"];
    leaving_the_lock_to_the_dead: DeadHolderStays breaks ["LOCK-13"];
    not_telling_the_dead_from_the_living: DeadIsUnknown breaks ["LOCK-13"];
    freeing_the_lock_that_was_taken_over_from_the_dead: DeadDropFrees breaks ["LOCK-13"];
    comparing_before_evicting: CompareThenEvict breaks ["LOCK-14"];
    evicting_anybody: ForceIgnoresToken breaks ["LOCK-09"];
    not_telling_who_was_evicted: ForceIsSilent breaks ["LOCK-08" "LOCK-16"];
    failing_to_evict_nobody: ForceNeedsAHolder breaks ["LOCK-10"];
    a_token_that_one_handle_knows: TokenOfOneHandle breaks
        ["GUARD-01" "POINTER-09" "REMOVE-03" "REMOVE-06" "STACKS-04" "LOST-02" "LOST-03" "LOST-04" "LOST-07" "ERROR-01"
        "JOURNAL-01" "JOURNAL-03" "JOURNAL-04" "JOURNAL-05" "JOURNAL-06" "JOURNAL-07" "JOURNAL-08" "JOURNAL-15"];
    moving_without_a_look_at_the_token: MoveIgnoresToken breaks ["GUARD-02" "GUARD-04" "GUARD-05" "GUARD-08"];
    removing_without_a_look_at_the_token: RemoveIgnoresToken breaks ["GUARD-03" "GUARD-05"];
    looking_at_the_token_before_moving: GuardThenMove breaks ["GUARD-04" "GUARD-08"];
    refusing_the_evicted_alone: RefusesTheEvicted breaks ["GUARD-05" "GUARD-08" "JOURNAL-11" "JOURNAL-12"];
    being_content_with_any_holder: AnyHolderWillDo breaks ["GUARD-02" "GUARD-03" "GUARD-05" "GUARD-06" "GUARD-08" "JOURNAL-11" "JOURNAL-12"];
    a_wrong_id: WrongId breaks ["STACKS-01" "CATALOG-04"];
    names_that_are_glued_together: NamesAreGlued breaks ["STACKS-02"];
    names_in_lower_case: NamesAreFolded breaks ["STACKS-03"];
    names_that_must_be_short: NamesAreShort breaks ["STACKS-04"];
    pointing_at_what_it_created_and_lost: RemembersItsWrites breaks ["REMOVE-06"];
    a_version_that_repeats: VersionRepeats breaks ["POINTER-09" "POINTER-10"];
    a_version_that_is_ignored: VersionIsIgnored breaks ["POINTER-10" "JOURNAL-05"];
    replacing_without_a_look_at_the_token: ReplaceIgnoresToken breaks ["GUARD-05" "GUARD-06"];
    removing_without_a_look_at_the_lock: RemoveIgnoresTheLock breaks ["GUARD-07"];
    removing_only_under_the_lock: RemoveNeedsTheLock breaks ["GUARD-07"];
    taking_over_what_was_given_back: TakesOverTheGivenBack breaks ["LOCK-03" "LOCK-04"];
    a_lock_that_is_never_lost: IsNeverLost breaks ["LOCK-15"];
    a_lock_that_is_always_lost: IsAlwaysLost breaks ["LOCK-15"];
    forgetting_the_members_of_a_lock: ForgetsMembers breaks ["LOCK-16"];
    a_catalog_that_is_unsorted: CatalogIsUnsorted breaks ["CATALOG-01"];
    a_catalog_without_stacks_that_are_only_locked: CatalogForgetsTheLocked breaks ["CATALOG-01"];
    removing_a_stack_without_its_pointer: CatalogLeavesThePointer breaks ["CATALOG-02"];
    removing_a_locked_stack: CatalogIgnoresTheLock breaks ["CATALOG-03"];
    a_catalog_that_changes_its_name: CatalogNamesItselfAnew breaks ["CATALOG-04"];
    changing_something_and_failing: ErrorComesTooLate breaks ["ERROR-01"];
    repeating_a_lost_create_blindly: LostCreateIsRetriedBlindly breaks ["LOST-01"];
    taking_the_snapshot_of_another_for_a_lost_create: LostCreateIsWhoeversIsThere breaks ["LOST-01"];
    denying_a_lost_create: LostCreateIsUnavailable breaks ["LOST-01"];
    repeating_a_lost_move_blindly: LostMoveIsRetriedBlindly breaks ["LOST-02"];
    judging_a_lost_move_by_the_name: LostMoveLooksAtTheName breaks ["LOST-02"];
    denying_a_lost_move: LostMoveIsUnavailable breaks ["LOST-02"];
    denying_a_lost_removal: LostRemovalIsUnavailable breaks ["LOST-03"];
    believing_in_a_lost_removal: LostRemovalIsDone breaks ["LOST-03"];
    denying_a_lost_replacement: LostReplacementIsUnavailable breaks ["LOST-04"];
    believing_in_a_lost_replacement: LostReplacementIsDone breaks ["LOST-04"];
    repeating_a_lost_lock_blindly: LostLockIsRetriedBlindly breaks ["LOST-05"];
    taking_over_from_itself: LostLockIsTakenOver breaks ["LOST-05"];
    denying_a_lost_lock: LostLockIsUnavailable breaks ["LOST-05"];
    repeating_a_lost_unlock_blindly: LostUnlockIsRetriedBlindly breaks ["LOST-06"];
    believing_in_a_lost_unlock: LostUnlockIsDone breaks ["LOST-06"];
    a_version_for_a_move_to_what_is_current: EveryMoveIsNew breaks ["POINTER-09" "JOURNAL-08"];
    clearing_the_journal_of_what_is_current: MoveToCurrentClears breaks ["JOURNAL-08"];
    going_on_with_the_journal_of_another_revision: MoveKeepsTheJournal breaks ["JOURNAL-06" "JOURNAL-07" "JOURNAL-10" "JOURNAL-12" "JOURNAL-15" "LOST-07"];
    a_journal_that_revives_with_its_revision: JournalIsOfTheName breaks ["JOURNAL-05" "JOURNAL-06"];
    counting_the_records_of_a_dead_journal: DeadJournalIsCounted breaks ["JOURNAL-07" "JOURNAL-10" "JOURNAL-12" "LOST-07"];
    adding_to_the_records_of_a_dead_journal: DeadRecordsStay breaks ["JOURNAL-07" "JOURNAL-10" "JOURNAL-12" "LOST-07"];
    acknowledging_a_record_into_nothing: AppendIgnoresBase breaks ["JOURNAL-05" "JOURNAL-10"];
    looking_what_is_current_before_adding_a_record: BaseThenAppend breaks ["JOURNAL-10"];
    adding_a_record_without_a_look_at_the_token: AppendIgnoresToken breaks ["JOURNAL-11" "JOURNAL-12"];
    looking_at_the_token_before_adding_a_record: GuardThenAppend breaks ["JOURNAL-12"];
    adding_a_record_under_any_number: IndexIsIgnored breaks ["JOURNAL-03" "JOURNAL-04" "JOURNAL-07" "JOURNAL-09" "LOST-07"];
    beginning_over_a_live_journal: IndexZeroReplaces breaks ["JOURNAL-03" "JOURNAL-04" "LOST-07"];
    adding_a_repeated_record_twice: RepeatIsAdded breaks ["JOURNAL-04" "LOST-07"];
    refusing_a_repeated_record: RepeatIsTaken breaks ["JOURNAL-04" "LOST-07"];
    taking_other_bytes_for_a_repeat: RepeatIgnoresBytes breaks ["JOURNAL-04" "LOST-07"];
    losing_zeros_at_the_end_of_a_record: RecordsLoseZeros breaks ["JOURNAL-01"];
    keeping_64_kibibytes_of_a_record: RecordsAreShort breaks ["JOURNAL-02"];
    adding_a_record_in_parts: RecordInParts breaks ["JOURNAL-14"];
    dropping_a_record_between_pages: PageDropsARecord breaks ["JOURNAL-13"];
    pages_without_a_limit: PageIsTheWhole breaks ["JOURNAL-13"];
    pages_without_room_for_a_record: PageHasNoRoomForTheFirst breaks ["JOURNAL-13"];
    reading_the_journal_and_making_the_stack: ReadingMakesTheStack breaks ["READ-05"];
    making_the_stack_before_adding_a_record: AppendMakesTheStack breaks ["READ-06"];
    records_where_no_journal_is_kept: RecordsOfNobody breaks ["JOURNAL-16" "SEALED-01" "STACKS-02" "CATALOG-02"];
    a_journal_from_the_second_record_on: JournalFromTheSecond breaks ["JOURNAL-16"];
    one_journal_for_all_stacks: JournalIsShared breaks ["STACKS-02"];
    removing_a_stack_without_its_journal: CatalogLeavesTheJournal breaks ["CATALOG-02"];
    repeating_a_lost_record_blindly: LostAppendIsRetriedBlindly breaks ["LOST-07"];
    denying_a_lost_record: LostAppendIsUnavailable breaks ["LOST-07"];
    believing_in_a_lost_record: LostAppendIsDone breaks ["LOST-07"];
}
