//! The rules of the protocol, each with the attacks that it prevents, and the small worlds in which they are looked for.

/// A rule. With all rules on nothing breaks; with one of them off, one of its attacks is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    AppendChecksToken,
    AppendChecksBase,
    AppendChecksIndex,
    AppendNamesMove,
    MoveChecksToken,
    MoveComparesPointer,
    MoveNamesMove,
    MoveEndsJournal,
    SameRevisionStays,
    OneStep,
    RemoveIsOneStep,
    BeginReplays,
    RecoveryFolds,
    RepeatsUntilKnown,
    RepeatKeepsPointer,
    RepeatsTheBytes,
    KeyPerJournal,
    SaveFoldsFirst,
    Genesis,
    JoinedRunsSave,
    LooksBeforeDamage,
    ReaderReadsCurrentAgain,
    ReaderReadsRecord0Again,
    FlushBeforeRollback,
    ClearTarget,
    FlushCleared,
    FlushMove,
    FlushBeforeReplacing,
    FlushFirstRecord,
    FlushRecord,
    FailedFlushEnds,
    FlushBeforeRemoval,
}

/// What a search is limited to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Config {
    pub(super) name: &'static str,
    pub(super) runs: u8,
    pub(super) changes: u8,
    pub(super) folds: u8,
    pub(super) rollbacks: u8,
    /// Lost answers and late requests in a database, failed flushes in a directory.
    pub(super) faults: u8,
    pub(super) cuts: u8,
    pub(super) removals: u8,
    pub(super) is_directory: bool,
    /// Moves are numbered.
    pub(super) has_numbers: bool,
    pub(super) is_fresh: bool,
    pub(super) is_joined: bool,
    pub(super) has_reader: bool,
    pub(super) saves: bool,
    pub(super) stays: bool,
    pub(super) removes_previous: bool,
}

/// A configuration, and the rule that is off.
#[derive(Debug, Clone, Copy)]
pub(super) struct World {
    pub(super) config: &'static Config,
    pub(super) off: Option<Rule>,
}

impl World {
    pub(super) fn has(self, rule: Rule) -> bool {
        self.off != Some(rule)
    }

    pub(super) fn numbers(self, rule: Rule) -> bool {
        self.config.has_numbers && self.has(rule)
    }
}

const BASE: Config = Config {
    name: "",
    runs: 2,
    changes: 2,
    folds: 1,
    rollbacks: 0,
    faults: 0,
    cuts: 0,
    removals: 0,
    is_directory: false,
    has_numbers: false,
    is_fresh: false,
    is_joined: false,
    has_reader: false,
    saves: false,
    stays: false,
    removes_previous: false,
};

pub(super) const SQL: Config = Config { name: "database, evictions", runs: 3, changes: 3, folds: 2, rollbacks: 1, has_numbers: true, saves: true, stays: true, removes_previous: true, ..BASE };
pub(super) const LATE: Config = Config { name: "database, one lost answer", changes: 3, folds: 1, rollbacks: 1, faults: 2, has_numbers: true, ..BASE };
pub(super) const JOINED: Config = Config { name: "joined", changes: 2, rollbacks: 1, faults: 1, has_numbers: true, is_joined: true, ..BASE };
pub(super) const FRESH: Config = Config { name: "fresh", changes: 2, folds: 2, faults: 1, rollbacks: 1, has_numbers: true, is_fresh: true, removes_previous: true, ..BASE };
pub(super) const READER: Config = Config { name: "reader", changes: 4, folds: 2, rollbacks: 1, has_reader: true, removes_previous: true, ..BASE };
pub(super) const DIRECTORY: Config = Config { name: "directory, evictions", runs: 2, changes: 3, folds: 2, rollbacks: 1, is_directory: true, stays: true, removes_previous: true, ..BASE };
pub(super) const POWER: Config = Config { name: "directory, a power cut", runs: 3, changes: 2, folds: 1, rollbacks: 1, is_directory: true, cuts: 1, ..BASE };
pub(super) const ROTTEN: Config = Config { name: "directory, a failed flush, a power cut", runs: 2, changes: 3, folds: 1, faults: 1, is_directory: true, cuts: 1, ..BASE };
pub(super) const REMOVAL: Config = Config { name: "directory, removal", runs: 2, changes: 1, folds: 1, rollbacks: 1, is_directory: true, removals: 1, cuts: 1, ..BASE };

pub(super) const CONFIGS: [&Config; 9] = [&SQL, &LATE, &JOINED, &FRESH, &READER, &DIRECTORY, &POWER, &ROTTEN, &REMOVAL];

use Rule::*;
pub(super) const RULES: &[(Rule, &str, &[&Config])] = &[
    (AppendChecksToken, "V1", CONFIGS.as_slice()),
    (AppendChecksBase, "V1", CONFIGS.as_slice()),
    (AppendChecksIndex, "V1", CONFIGS.as_slice()),
    (AppendNamesMove, "V1", CONFIGS.as_slice()),
    (MoveChecksToken, "V1", CONFIGS.as_slice()),
    (MoveComparesPointer, "V1", CONFIGS.as_slice()),
    (MoveNamesMove, "V1", CONFIGS.as_slice()),
    (MoveEndsJournal, "V1", CONFIGS.as_slice()),
    (SameRevisionStays, "V1", CONFIGS.as_slice()),
    (OneStep, "V1", CONFIGS.as_slice()),
    (RemoveIsOneStep, "V1", CONFIGS.as_slice()),
    (BeginReplays, "V1", CONFIGS.as_slice()),
    (RecoveryFolds, "V1", CONFIGS.as_slice()),
    (RepeatsUntilKnown, "V1", CONFIGS.as_slice()),
    (RepeatKeepsPointer, "V1", CONFIGS.as_slice()),
    (RepeatsTheBytes, "V1", CONFIGS.as_slice()),
    (KeyPerJournal, "V1", CONFIGS.as_slice()),
    (SaveFoldsFirst, "V1", CONFIGS.as_slice()),
    (Genesis, "V1", CONFIGS.as_slice()),
    (JoinedRunsSave, "V1", CONFIGS.as_slice()),
    (LooksBeforeDamage, "V1", CONFIGS.as_slice()),
    (ReaderReadsCurrentAgain, "V1", CONFIGS.as_slice()),
    (ReaderReadsRecord0Again, "V1", CONFIGS.as_slice()),
    (FlushBeforeRollback, "V1", CONFIGS.as_slice()),
    (ClearTarget, "V1", CONFIGS.as_slice()),
    (FlushCleared, "V1", CONFIGS.as_slice()),
    (FlushMove, "V1", CONFIGS.as_slice()),
    (FlushBeforeReplacing, "V1", CONFIGS.as_slice()),
    (FlushFirstRecord, "V1", CONFIGS.as_slice()),
    (FlushRecord, "V1", CONFIGS.as_slice()),
    (FailedFlushEnds, "V1", CONFIGS.as_slice()),
    (FlushBeforeRemoval, "V1", CONFIGS.as_slice()),
];
