use sdk_state::Revision;
use serde::{Serialize, Serializer};

/// One thing that is wrong, or may be.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) code: Code,
    /// What it is about. If nothing is named, it is about the stack.
    pub(crate) revisions: Vec<String>,
    pub(crate) files: Vec<String>,
    pub(crate) entries: Vec<String>,
    pub(crate) message: String,
    /// What to do, with the command that does it in backticks.
    pub(crate) repair: Option<String>,
}

/// How bad a finding is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Severity {
    /// Something cannot be read or used.
    Error,
    /// Nothing is lost, but somebody should look.
    Warning,
    /// It is harmless.
    Note,
}

macro_rules! codes {
    ($($code:ident $name:literal $severity:ident,)*) => {
        /// The kind of a finding. The names are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code {
            $($code,)*
        }

        impl Code {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$code,)*];

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }

            pub(crate) fn severity(self) -> Severity {
                match self {
                    $(Self::$code => Severity::$severity,)*
                }
            }
        }
    };
}

codes! {
    StackUnreadable "stack-unreadable" Error,
    CurrentDamaged "current-damaged" Error,
    CurrentDangling "current-dangling" Error,
    CurrentLost "current-lost" Error,
    RevisionDamaged "revision-damaged" Error,
    RevisionMisplaced "revision-misplaced" Error,
    RevisionWrongKey "revision-wrong-key" Error,
    RevisionRefused "revision-refused" Error,
    RevisionInvalid "revision-invalid" Error,
    RevisionTooLarge "revision-too-large" Error,
    RevisionUnreadable "revision-unreadable" Error,
    ChangesDamaged "changes-damaged" Error,
    ChangesNotOpened "changes-not-opened" Error,
    DependencyCycle "dependency-cycle" Error,
    LockDamaged "lock-damaged" Error,
    DependencyMissing "dependency-missing" Warning,
    UnfinishedChanges "unfinished-changes" Warning,
    LockDead "lock-dead" Warning,
    LockUnknown "lock-unknown" Warning,
    RecipientsDiffer "recipients-differ" Warning,
    NameNotATime "name-not-a-time" Warning,
    ForeignFile "foreign-file" Warning,
    FileExposed "file-exposed" Warning,
    FileOwner "file-owner" Warning,
    LeftoverFile "leftover-file" Note,
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Finding {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: code.severity(),
            code,
            revisions: Vec::new(),
            files: Vec::new(),
            entries: Vec::new(),
            message: message.into(),
            repair: None,
        }
    }

    pub(crate) fn repair(mut self, repair: impl Into<String>) -> Self {
        self.repair = Some(repair.into());
        self
    }

    pub(crate) fn about_revision(mut self, rev: &Revision) -> Self {
        self.revisions.push(rev.to_string());
        self
    }

    pub(crate) fn about_file(mut self, file: String) -> Self {
        self.files.push(file);
        self
    }

    pub(crate) fn about_entries<'a>(mut self, addresses: impl IntoIterator<Item = &'a str>) -> Self {
        self.entries.extend(addresses.into_iter().map(str::to_owned));
        self
    }

    /// Whether another finding differs only in what it is about.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        self.code == other.code && self.message == other.message && self.repair == other.repair
    }

    /// Makes this finding one about both.
    pub(crate) fn extend(&mut self, other: Self) {
        self.revisions.extend(other.revisions);
        self.files.extend(other.files);
        self.entries.extend(other.entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page says for each code what to do.
    #[test]
    fn codes_and_severities_are_those_of_the_page() {
        let page = include_str!("../../../../docs/check.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), Code::ALL.len(), "{rows:?}");
        for (code, row) in Code::ALL.iter().zip(rows) {
            let severity = serde_json::to_value(code.severity()).unwrap();
            let begin = format!("| `{}` | {} |", code.as_str(), severity.as_str().unwrap());
            assert!(row.starts_with(&begin), "{begin} {row}");
        }
    }
}
