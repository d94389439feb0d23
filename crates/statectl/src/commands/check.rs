use crate::check::{self, Checked, Finding, Severity, Share};
use crate::exit::{Failure, NOT_OPENED};
use crate::output::Answer;
use crate::stack::Context;
use crate::text::{BAD, CAREFUL, FAINT, GOOD, plain};
use anstyle::Style;
use clap::Args;
use serde::Serialize;
use std::io::{self, Write as _};

/// Of a longer list, this many names are shown to people.
const SHOWN_NAMES: usize = 3;

/// Check that everything in a stack can be read, and say how to repair what cannot
///
/// It opens and decodes every revision, and looks at the pointer, unfinished changes, dependencies, recipients, the lock and the
/// files. It takes no lock and changes nothing. The exit code is 5 if it finds an error; warnings and notes do not count.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl check network/prod\n  statectl check --all --read-data 10%")]
pub(crate) struct CheckCommand {
    /// FACTORY/STACK; may be repeated
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "STACK")]
    stacks: Vec<String>,
    /// Check every stack
    #[arg(long)]
    all: bool,
    /// Open only this share of the revisions, drawn at random, and the current one; of the others, read the headers alone. 0%
    /// needs no key
    #[arg(long, value_name = "PERCENT", default_value = "100%")]
    read_data: Share,
}

#[derive(Serialize)]
struct Report {
    /// Whether no error was found.
    sound: bool,
    stacks: Vec<Checked>,
}

impl CheckCommand {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let names = match self.all {
            true => {
                let place = context.place()?;
                let stacks = place.catalog.stacks()?;
                if stacks.is_empty() {
                    let notice = format!("there is no stack in {}", place.catalog.name());
                    context.output().notice(notice);
                }
                stacks.iter().map(ToString::to_string).collect()
            }
            false => self.stacks.clone(),
        };
        let mut stacks = Vec::new();
        for name in &names {
            let stack = match self.read_data.is_zero() {
                true => context.keyless(name),
                false => context.openable(name),
            };
            let stack = stack.map_err(|failure| failure.about(Some(name)))?;
            stack
                .demand_known()
                .map_err(|failure| failure.about(Some(name)))?;
            stacks.push(stack);
        }
        let checked = stacks.iter().map(|stack| check::check(stack, self.read_data));
        let stacks = checked.collect::<Result<Vec<_>, _>>()?;
        let sound = stacks.iter().all(|checked| checked.count(Severity::Error) == 0);
        context.output().answer(&Report { sound, stacks })?;
        Ok(if sound { 0 } else { NOT_OPENED })
    }

    pub(super) fn stack(&self) -> Option<&str> {
        match &self.stacks[..] {
            [stack] => Some(stack),
            _ => None,
        }
    }
}

impl Answer for Report {
    const KIND: &'static str = "checked";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        for checked in &self.stacks {
            writeln!(
                page,
                "{}: {}, {} opened: {}",
                checked.stack,
                counted(checked.revisions, "revision"),
                checked.opened,
                verdict(checked)
            )?;
            for finding in &checked.findings {
                print(finding, page)?;
            }
        }
        Ok(())
    }
}

fn verdict(checked: &Checked) -> String {
    if checked.findings.is_empty() {
        return format!("{GOOD}nothing is wrong{GOOD:#}");
    }
    let counts = [
        (Severity::Error, "error"),
        (Severity::Warning, "warning"),
        (Severity::Note, "note"),
    ]
    .map(|(severity, name)| (checked.count(severity), name));
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, name)| counted(*count, name)).collect();
    counts.join(", ")
}

fn counted(count: usize, name: &str) -> String {
    match count {
        1 => format!("1 {name}"),
        _ => format!("{count} {name}s"),
    }
}

fn print(finding: &Finding, page: &mut Vec<u8>) -> io::Result<()> {
    let (style, severity) = match finding.severity {
        Severity::Error => (BAD, "error"),
        Severity::Warning => (CAREFUL, "warning"),
        Severity::Note => (Style::new(), "note"),
    };
    let mut about = Vec::new();
    for names in [&finding.revisions, &finding.files, &finding.entries] {
        about.extend(names.iter().take(SHOWN_NAMES).map(|name| plain(name)));
        if let Some(more) = names.len().checked_sub(SHOWN_NAMES).filter(|more| *more > 0) {
            about.push(format!("{more} more"));
        }
    }
    let about = match about.is_empty() {
        true => String::new(),
        false => format!("{}: ", about.join(", ")),
    };
    let (code, message) = (finding.code.as_str(), plain(&finding.message));
    writeln!(page, "  {style}{severity}{style:#} {code}: {about}{message}")?;
    if let Some(repair) = &finding.repair {
        writeln!(page, "    {FAINT}repair:{FAINT:#} {}", plain(repair))?;
    }
    Ok(())
}
