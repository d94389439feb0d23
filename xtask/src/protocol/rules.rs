//! The rules of the protocol, the attacks that each one prevents, and the small worlds in which the search looks for them.

use super::process::Broken;
use clap::ValueEnum;

/// What breaks without a rule: the attack's names in the design (or the promise of docs/guarantees.md that breaks), the world, and
/// the violation.
pub(super) type Attack = (&'static str, &'static Config, Broken);

macro_rules! rules {
    ($($rule:ident $text:literal: $($names:literal in $config:ident, $broken:ident);+.)*) => {
        /// A rule of the protocol. With all rules on nothing breaks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub(super) enum Rule {
            $(#[doc = $text] $rule),*
        }

        impl Rule {
            pub(super) fn text(self) -> &'static str {
                match self { $(Self::$rule => $text),* }
            }

            pub(super) fn attacks(self) -> &'static [Attack] {
                match self { $(Self::$rule => &[$(($names, &$config, Broken::$broken)),+]),* }
            }
        }
    };
}

// The attacks that only an object store meets (V3, V11, V17 and the H's) are missing until there is such a backend.
rules! {
    AppendChecksToken "append checks that the lock carries the token":
        "V1, V2" in EVICTIONS, Lost.
    AppendChecksBase "append checks that its base is current":
        "V8" in LATE, Damage.
    AppendChecksIndex "append checks how many records are there":
        "V8" in LATE, Damage.
    AppendNamesMove "append names the move that made its base current":
        "V8, L1, Q1" in LATE, DeadJournal.
    MoveChecksToken "a move checks that the lock carries the token":
        "promise C4" in EVICTIONS, Lost.
    MoveComparesPointer "a move checks that the pointer is the expected one":
        "promise C2" in JOINED, Lost.
    MoveNamesMove "a move names the move that it stands on":
        "V7, L1, Q1" in LATE, Undone; "V7" in LATE, Lost.
    MoveEndsJournal "a move ends the journal in its own step, or checks again":
        "V5" in EVICTIONS, Lost; "V5" in DIRECTORY, Lost.
    ClearingChecks "clearing a dead journal checks token and pointer in the same step":
        "V4" in ROLLBACKS, Lost.
    SameRevisionStays "a move to what is current changes nothing":
        "V10" in EVICTIONS, Lost; "V10" in DIRECTORY, Lost.
    OneStep "checks and change are one step":
        "V1, V4" in DIRECTORY, Lost; "V16" in REMOVAL, Dangling.
    RemovalIsOneStep "a removal checks and unlinks in one step":
        "V16" in REMOVAL, Dangling.
    BeginReplays "begin replays a dead run's journal":
        "V9" in EVICTIONS, Lost.
    RecoveryFolds "a run never appends to another run's journal":
        "E1" in ROTTEN, Damage.
    RepeatsUntilKnown "a run repeats an unanswered call until it knows":
        "V6" in LATE, Lost.
    RepeatKeepsPointer "a repeated call names the pointer of its first try":
        "V7" in JOINED, Lost.
    RepeatKeepsBytes "a repeated append has the same bytes":
        "V14" in LATE, Nonce.
    KeyPerJournal "each journal has a key of its own":
        "V13" in EVICTIONS, Nonce.
    SaveFoldsFirst "save is refused after a put that was not committed":
        "V12" in EVICTIONS, Lost.
    Genesis "the genesis revision is current before the first change":
        "promise R4" in FRESH, LostPointer.
    JoinedRunsSave "runs that share a lock keep no journal":
        "B1" in JOINED, Lost.
    LooksBeforeDamage "a reader that misses a revision reads current again":
        "B3" in EVICTIONS, Damage; "B3" in JOINED, Damage; "B3" in READER, Damage.
    ReaderReadsCurrentAgain "a reader reads current again at the end":
        "V15" in READER, Lost.
    ReaderReadsRecord0Again "a reader reads record 0 again at the end":
        "R1, R2" in READER, Damage.
    ClearTarget "a move clears a dead journal of its target":
        "P2" in POWER, DeadJournal.
    FlushBeforeRollback "a rollback flushes the directory first":
        "P2" in POWER, DeadJournal; "P2" in POWER, Lost.
    FlushCleared "a rollback flushes what it cleared":
        "P2" in POWER, DeadJournal.
    FlushMove "a move flushes the pointer before it unlinks":
        "P1" in POWER, Lost.
    FlushBeforeReplacing "a first record replaces a journal once its death is durable":
        "P4" in POWER, Lost.
    FlushFirstRecord "a first record flushes the directory":
        "P3" in POWER, Lost.
    FlushRecord "a record is flushed before the answer":
        "promise R1" in POWER, Lost.
    FailedFlushEnds "a failed flush is never repeated":
        "E1" in ROTTEN, Lost.
    FlushBeforeRemoval "a removal flushes the pointer first":
        "promise C1" in REMOVAL, Dangling; "promise C1" in CHILDREN, Dangling.
}

/// What a world adds to a database without faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum With {
    /// A call has several steps, and names and bytes are durable once flushed.
    Directory,
    /// Moves are numbered, because requests can arrive late.
    Numbers,
    /// The stack begins empty.
    Fresh,
    /// All runs share the token of one lock.
    OneToken,
    Reader,
    /// A remover works without a lock. Runs die for good, which frees their lock.
    Remover,
    /// Runs also save whole documents.
    Saves,
    /// Runs also move to the revision that is current.
    Stays,
    /// Runs remove their own previous revision.
    Cleans,
}

/// The limits of a search. Each new run evicts the one before it, or takes over once that has ended.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) name: &'static str,
    pub(super) runs: u8,
    pub(super) changes: u8,
    pub(super) folds: u8,
    pub(super) rollbacks: u8,
    /// Lost answers or late requests; in a directory, failed flushes.
    pub(super) faults: u8,
    pub(super) cuts: u8,
    with: &'static [With],
}

const fn config(name: &'static str, limits: [u8; 6], with: &'static [With]) -> Config {
    let [runs, changes, folds, rollbacks, faults, cuts] = limits;
    Config {
        name,
        runs,
        changes,
        folds,
        rollbacks,
        faults,
        cuts,
        with,
    }
}

// Limits: runs, changes, folds, rollbacks, faults, power cuts.
#[rustfmt::skip]
mod worlds {
    use super::{Config, With::*, config};

    pub(super) const EVICTIONS: Config = config("database: evictions", [3, 2, 1, 1, 0, 0], &[Numbers, Saves, Stays, Cleans]);
    pub(super) const LATE: Config = config("database: late requests", [2, 3, 1, 1, 2, 0], &[Numbers]);
    pub(super) const JOINED: Config = config("database: joined runs", [2, 3, 1, 1, 1, 0], &[Numbers, OneToken, Cleans]);
    pub(super) const FRESH: Config = config("database: a fresh stack", [2, 2, 2, 1, 1, 0], &[Numbers, Fresh, Cleans]);
    pub(super) const READER: Config = config("memory: a reader", [2, 3, 1, 1, 0, 0], &[Reader, Cleans]);
    pub(super) const DIRECTORY: Config = config("directory: evictions", [2, 3, 2, 1, 0, 0], &[Directory, Stays, Cleans]);
    pub(super) const ROLLBACKS: Config = config("directory: two rollbacks", [2, 2, 1, 2, 0, 0], &[Directory]);
    pub(super) const POWER: Config = config("directory: a power cut", [3, 2, 1, 1, 0, 1], &[Directory]);
    pub(super) const FIRST: Config = config("directory: a fresh stack, power cuts", [2, 2, 2, 1, 0, 2], &[Directory, Fresh, Cleans]);
    pub(super) const CHILDREN: Config = config("directory: joined runs, a power cut", [2, 3, 1, 1, 0, 1], &[Directory, OneToken, Cleans]);
    pub(super) const ROTTEN: Config = config("directory: a failed flush", [2, 3, 1, 0, 1, 1], &[Directory]);
    pub(super) const REMOVAL: Config = config("directory: a removal", [2, 1, 1, 1, 0, 1], &[Directory, Remover]);
}
use worlds::*;

pub(super) const CONFIGS: [&Config; 12] = [
    &EVICTIONS, &LATE, &JOINED, &FRESH, &READER, &DIRECTORY, &ROLLBACKS, &POWER, &FIRST, &CHILDREN, &ROTTEN,
    &REMOVAL,
];

impl Config {
    pub(super) fn has(&self, with: With) -> bool {
        self.with.contains(&with)
    }
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

    pub(super) fn is_directory(self) -> bool {
        self.config.has(With::Directory)
    }

    pub(super) fn compares_numbers(self, rule: Rule) -> bool {
        self.config.has(With::Numbers) && self.has(rule)
    }
}
