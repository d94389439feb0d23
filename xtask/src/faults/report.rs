use super::Trouble;
use super::errno;
use super::verdict::Fault;
use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// How often each operation ended how, by the error that its call failed with.
    ends: BTreeMap<(usize, &'static str), BTreeMap<String, usize>>,
    operations: Vec<String>,
    passed: usize,
    sentences: Vec<String>,
    stories: Vec<String>,
    skipped: Vec<String>,
}

impl Report {
    pub(super) fn add(&mut self, fault: &Fault, tried: Result<(String, Vec<String>), Trouble>) {
        let (end, problems) = match tried {
            Ok(tried) => tried,
            Err(trouble) => ("trouble".into(), vec![trouble.to_string()]),
        };
        let name = fault.operation.name();
        let row = self
            .operations
            .iter()
            .position(|known| *known == name)
            .unwrap_or_else(|| {
                self.operations.push(name.clone());
                self.operations.len() - 1
            });
        let ends = self.ends.entry((row, fault.errno)).or_default();
        *ends.entry(end).or_default() += 1;
        if problems.is_empty() {
            self.passed += 1;
        } else {
            let call = &fault.call;
            self.fail(format!(
                "{name}: {} no. {} fails with {} ({:?}, unlink {:?})\n    {}({}\n    {}",
                call.name,
                call.ordinal,
                fault.errno,
                call.stage,
                fault.unlink,
                call.name,
                call.arguments,
                problems.join("\n    ")
            ));
        }
    }

    /// A trial of many checks, in one sentence.
    pub(super) fn pass(&mut self, sentence: String) {
        self.passed += 1;
        self.sentences.push(sentence);
    }

    pub(super) fn fail(&mut self, story: String) {
        self.stories.push(story);
    }

    pub(super) fn skip(&mut self, reason: String) {
        self.skipped.push(reason);
    }

    fn print(&self, out: &mut impl io::Write) -> io::Result<()> {
        let table = self.table();
        let width = |column: usize| table.iter().map(|row| row[column].len()).max();
        for row in &table {
            for (column, cell) in row.iter().enumerate() {
                write!(out, "{cell:width$}  ", width = width(column).unwrap_or_default())?;
            }
            writeln!(out)?;
        }
        for sentence in &self.sentences {
            writeln!(out, "holds   {sentence}")?;
        }
        for story in &self.stories {
            writeln!(out, "BROKEN  {story}")?;
        }
        for reason in &self.skipped {
            writeln!(out, "SKIPPED {reason}")?;
        }
        Ok(())
    }

    /// How many calls of each operation were failed, and how it ended how often, by the error.
    fn table(&self) -> Vec<Vec<String>> {
        if self.operations.is_empty() {
            return Vec::new();
        }
        let heads = ["operation", "calls"].into_iter().chain(errno::ALL);
        let mut table = vec![heads.map(str::to_owned).collect::<Vec<_>>()];
        for (row, operation) in self.operations.iter().enumerate() {
            let ends: Vec<_> = errno::ALL
                .iter()
                .map(|errno| self.ends.get(&(row, *errno)))
                .collect();
            let calls: usize = ends.iter().flatten().flat_map(|ends| ends.values()).sum();
            let mut cells = vec![operation.clone(), calls.to_string()];
            for ends in ends {
                let ends = ends.into_iter().flatten();
                let counts: Vec<_> = ends.map(|(end, count)| format!("{count} {end}")).collect();
                cells.push(counts.join(", "));
            }
            table.push(cells);
        }
        table
    }
}

/// Runs the task and prints what it found; whether nothing is broken.
pub(super) fn write(out: &mut impl io::Write, task: impl FnOnce(&mut Report)) -> io::Result<bool> {
    let start = Instant::now();
    let mut report = Report::default();
    task(&mut report);
    report.print(out)?;
    writeln!(out, "{:.0} s", start.elapsed().as_secs_f64())?;
    writeln!(
        out,
        "{} passed, {} failed, {} skipped",
        report.passed,
        report.stories.len(),
        report.skipped.len()
    )?;
    Ok(report.stories.is_empty())
}
