//! What a mutant does wrong.

/// One thing that a [`Mutant`](super::backend::Mutant) does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// It is right.
    None,
    /// Looks whether the name is free, and creates in a second step.
    CheckThenCreate,
    /// Creating replaces what is there.
    CreateOverwrites,
    /// A snapshot appears in two parts.
    CreateInParts,
    /// Creating under a name that is no moment succeeds.
    CreateTakesAnyName,
    /// What is created becomes current, if something else was.
    CreateMovesCurrent,
    /// Stores no bytes twice: the second revision with the same ones is not there.
    CreateDeduplicates,
    /// Keeps times to the microsecond.
    CreateRoundsTimes,
    /// Keeps bytes as text.
    KeepsText,
    /// Replacing succeeds and does nothing.
    ReplaceForgets,
    /// The old bytes are cut off, and the new ones written in a second step.
    ReplaceInParts,
    /// Looks whether the snapshot is there, and writes in a second step, whatever became of it.
    CheckThenReplace,
    /// Replacing panics.
    ReplacePanics,
    /// Replacing creates what is absent.
    ReplaceCreates,
    /// Replacing makes the stack, whatever comes of it.
    ReplaceMakesTheStack,
    /// Reads no more than 64 KiB.
    ReadTruncates,
    /// Refuses what has as many bytes as the limit.
    LimitOffByOne,
    /// Takes the beginning that was asked for as the whole.
    PrefixIsTheWhole,
    /// An empty snapshot is read as one without bytes.
    ReadsNothing,
    /// Reading from a stack that does not exist is a backend error; not in a race, where it is chance.
    AbsentIsAnError,
    /// Listing a stack that does not exist is `NotFound`.
    ListFailsWhenAbsent,
    /// Listing makes the stack.
    ListCreates,
    /// Opens every snapshot to list it, and fails at an empty one.
    ListOpensSnapshots,
    /// Takes its own snapshots for foreign files.
    InspectListsItsOwn,
    /// Lists a page of 64.
    ListsOnePage,
    /// Each handle goes on listing what it listed first.
    ListIsStale,
    /// What was removed is still listed.
    ListsTheRemoved,
    /// The new name is written over the old one, whose end stays.
    PointerInPlace,
    /// The pointer is emptied, then written.
    PointerInTwoSteps,
    /// The pointer is compared, and moved in a second step.
    CompareThenMove,
    /// The error of a refused move does not tell what was found.
    MovedSaysNothing,
    /// Moves to what does not exist.
    MovesToNothing,
    /// A damaged pointer is taken for none.
    DamageIsNone,
    /// Removing what is absent is `NotFound`.
    RemoveIsStrict,
    /// Removes the current revision.
    RemovesCurrent,
    /// Looks what is current, and removes in a second step.
    CheckThenRemove,
    /// The lock is given to everybody.
    LockAdmitsAll,
    /// Looks whether the lock is free, and takes it in a second step.
    CheckThenLock,
    /// Does not tell who holds the lock.
    BusyIsAnonymous,
    /// The status does not tell who holds the lock.
    StatusIsAnonymous,
    /// Unlocking succeeds and does nothing.
    UnlockKeeps,
    /// Dropping a lock does nothing.
    DropKeeps,
    /// Every holding has the same token.
    TokenRepeats,
    /// Unlocking frees whoever's lock is there.
    UnlocksAnyones,
    /// A dead holder keeps the lock.
    DeadHolderStays,
    /// The status never tells that a holder is dead.
    DeadIsUnknown,
    /// Dropping a dead holder's lock frees that of whoever has taken it over.
    DeadDropFrees,
    /// force_unlock compares the token, and evicts in a second step.
    CompareThenEvict,
    /// force_unlock evicts whoever holds the lock.
    ForceIgnoresToken,
    /// force_unlock does not tell who was evicted.
    ForceIsSilent,
    /// force_unlock of an expected holder fails when nobody holds the lock.
    ForceNeedsAHolder,
    /// The token is known to the handle that locked alone.
    TokenOfOneHandle,
    /// A guarded move does not look at the token.
    MoveIgnoresToken,
    /// A guarded removal does not look at the token.
    RemoveIgnoresToken,
    /// A guarded move looks at the token, and moves in a second step.
    GuardThenMove,
    /// A guarded move and a removal refuse the tokens that were evicted, and no others.
    RefusesTheEvicted,
    /// A guarded move and a removal are content with any holder.
    AnyHolderWillDo,
    /// Says that it is the place of another stack.
    WrongId,
    /// Factory and stack are written one after the other.
    NamesAreGlued,
    /// Names are folded to lower case.
    NamesAreFolded,
    /// Names have 100 bytes at most.
    NamesAreShort,
    /// Moves to a revision that this handle created, whatever became of it.
    RemembersItsWrites,
    /// The version of the pointer is the same for the same revision.
    VersionRepeats,
    /// To expect a pointer is to expect its revision.
    VersionIsIgnored,
    /// A replacement does not look at the token.
    ReplaceIgnoresToken,
    /// A removal without a token does not look at the lock.
    RemoveIgnoresTheLock,
    /// A removal without a token is not supported.
    RemoveNeedsTheLock,
    /// The next holder is told that it took the lock over from one who gave it back.
    TakesOverTheGivenBack,
    /// A lock never says that it is lost.
    IsNeverLost,
    /// A lock always says that it is lost.
    IsAlwaysLost,
    /// A lock is stored without the members that this version does not know.
    ForgetsMembers,
    /// The catalog is not sorted.
    CatalogIsUnsorted,
    /// The catalog lists only stacks that have a snapshot.
    CatalogForgetsTheLocked,
    /// A stack is removed, and its pointer stays.
    CatalogLeavesThePointer,
    /// A stack is removed while somebody holds its lock.
    CatalogIgnoresTheLock,
    /// The catalog has another name each time.
    CatalogNamesItselfAnew,
    /// A request that the medium refuses has its effect all the same.
    ErrorComesTooLate,
    /// A create without an answer is sent again, and finds its own snapshot.
    LostCreateIsRetriedBlindly,
    /// A create without an answer is taken for done if the name is taken.
    LostCreateIsWhoeversIsThere,
    /// A create without an answer is told as one that did not happen.
    LostCreateIsUnavailable,
    /// A move without an answer is sent again, and finds its own move.
    LostMoveIsRetriedBlindly,
    /// A move without an answer is taken for done if `current` names the revision.
    LostMoveLooksAtTheName,
    /// A move without an answer is told as one that did not happen.
    LostMoveIsUnavailable,
    /// A removal without an answer is told as one that did not happen.
    LostRemovalIsUnavailable,
    /// A removal without an answer is taken for done.
    LostRemovalIsDone,
    /// A replacement without an answer is told as one that did not happen.
    LostReplacementIsUnavailable,
    /// A replacement without an answer is taken for done.
    LostReplacementIsDone,
    /// A try without an answer is repeated, and finds its own lock.
    LostLockIsRetriedBlindly,
    /// A try without an answer takes over from its own lock.
    LostLockIsTakenOver,
    /// A try without an answer is told as one that did not happen.
    LostLockIsUnavailable,
    /// An unlock without an answer is sent again, and does not find its lock.
    LostUnlockIsRetriedBlindly,
    /// An unlock without an answer is taken for done.
    LostUnlockIsDone,
    /// A move to what is current is one like any other.
    EveryMoveIsNew,
    /// A move to what is current clears its journal.
    MoveToCurrentClears,
    /// The next revision goes on with the journal of the last one.
    MoveKeepsTheJournal,
    /// A journal belongs to a revision, whenever that is current.
    JournalIsOfTheName,
    /// The records of a dead journal are counted, so the first record finds its number taken.
    DeadJournalIsCounted,
    /// The first record is added to those of a dead journal.
    DeadRecordsStay,
    /// A record on what is not current is Appended, and kept nowhere.
    AppendIgnoresBase,
    /// Looks what is current, and adds the record in a second step.
    BaseThenAppend,
    /// Adding a record does not look at the token.
    AppendIgnoresToken,
    /// Looks at the token, and adds the record in a second step.
    GuardThenAppend,
    /// A record is added under any number.
    IndexIsIgnored,
    /// Record 0 begins a journal, also where there is one.
    IndexZeroReplaces,
    /// A repeat of the last record is added once more.
    RepeatIsAdded,
    /// A repeat of the last record is Taken.
    RepeatIsTaken,
    /// Whatever comes under the number of the last record is taken for a repeat.
    RepeatIgnoresBytes,
    /// Zeros at the end of a record are not kept.
    RecordsLoseZeros,
    /// A record has 64 KiB at most.
    RecordsAreShort,
    /// A record appears in two parts.
    RecordInParts,
    /// A page after the first one begins one record too late.
    PageDropsARecord,
    /// A page has all of the records that are left.
    PageIsTheWhole,
    /// A page has nothing if the first record is larger than its limit.
    PageHasNoRoomForTheFirst,
    /// Reading the journal makes the stack.
    ReadingMakesTheStack,
    /// Adding a record makes the stack, whatever comes of it.
    AppendMakesTheStack,
    /// No journal is kept, and yet there are records.
    RecordsOfNobody,
    /// The first record of all is not supported, and later ones are.
    JournalFromTheSecond,
    /// All stacks have one journal.
    JournalIsShared,
    /// A stack is removed, and its journal stays.
    CatalogLeavesTheJournal,
    /// An append without an answer is repeated under the number that is next then.
    LostAppendIsRetriedBlindly,
    /// An append without an answer is told as one that did not happen.
    LostAppendIsUnavailable,
    /// An append without an answer is taken for done.
    LostAppendIsDone,
}
