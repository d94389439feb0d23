use super::Trouble;
use super::place::Place;
use sdk_state::Revision;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};

/// What a process was promised, noted before it goes on: kill −9 takes nothing from a file that was written to.
#[derive(Debug)]
pub(super) struct Journal(File);

/// A line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A critical section was entered.
    Section,
    /// It was entered in the place of a dead holder.
    TookOver,
    /// Somebody else was in one.
    Overlap,
    /// A write has returned.
    Wrote(Revision, String),
    /// The counter in the current snapshot was moved to this.
    Counted(u64),
    /// A delete begins: from here on it may be gone.
    Deleting(Revision),
    /// Something that should not happen.
    Problem(String),
}

impl Journal {
    pub(super) fn open(place: &Place, name: &str) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(place.journal(name))?;
        // Whoever had it before may have died in the middle of a line.
        file.write_all(b"\n")?;
        Ok(Self(file))
    }

    pub(super) fn note(&mut self, entry: &Entry) -> io::Result<()> {
        let line = match entry {
            Entry::Section => "section".to_owned(),
            Entry::TookOver => "took-over".to_owned(),
            Entry::Overlap => "overlap".to_owned(),
            Entry::Wrote(rev, text) => format!("wrote {rev} {text}"),
            Entry::Counted(count) => format!("counted {count}"),
            Entry::Deleting(rev) => format!("deleting {rev}"),
            Entry::Problem(problem) => format!("problem {}", problem.escape_debug()),
        };
        self.0.write_all(format!("{line}\n").as_bytes())
    }
}

/// Everything that a process has noted, in all its lives.
pub(super) fn read(place: &Place, name: &str) -> Result<Vec<Entry>, Trouble> {
    let text = fs::read_to_string(place.journal(name))?;
    // A line without its end was never acknowledged.
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    complete
        .lines()
        .filter(|line| !line.is_empty())
        .map(parse)
        .collect()
}

fn parse(line: &str) -> Result<Entry, Trouble> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    Ok(match word {
        "section" => Entry::Section,
        "took-over" => Entry::TookOver,
        "overlap" => Entry::Overlap,
        "wrote" => {
            let (rev, text) = rest.split_once(' ').ok_or("a line of a journal is cut")?;
            Entry::Wrote(rev.parse()?, text.into())
        }
        "counted" => Entry::Counted(rest.parse()?),
        "deleting" => Entry::Deleting(rest.parse()?),
        "problem" => Entry::Problem(rest.into()),
        _ => return Err(format!("a journal says {line:?}").into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_again_and_half_a_line_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path());
        let rev: Revision = "2026-07-10T12:00:00Z".parse().unwrap();
        let entries = [
            Entry::Section,
            Entry::TookOver,
            Entry::Overlap,
            Entry::Wrote(rev.clone(), "count 1 by 2".into()),
            Entry::Counted(1),
            Entry::Deleting(rev),
            Entry::Problem("two words".into()),
        ];
        let mut journal = Journal::open(&place, "1").unwrap();
        for entry in &entries {
            journal.note(entry).unwrap();
        }
        journal.0.write_all(b"counted 1").unwrap();
        assert_eq!(read(&place, "1").unwrap(), entries);
    }
}
