use crate::exit::{FAILED, Failure, MISSING};
use crate::masked::{self, Field};
use crate::nearest::nearest;
use crate::output::Answer;
use crate::selector::RevisionOption;
use crate::stack::Context;
use crate::unfinished::UnfinishedDocument;
use clap::Args;
use sdk_state::{Json, Revision};
use serde::Serialize;
use serde_json::value::RawValue;
use std::io::{self, Write as _};

/// Print the outputs of a stack, or one of them, masked
///
/// A snapshot does not record which outputs of the stack are secret, so all are masked unless --reveal is given.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl output network/prod --reveal\n  \
    url=$(statectl output network/prod url --raw --reveal)")]
pub(crate) struct Outputs {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// Only this output
    name: Option<String>,
    #[command(flatten)]
    revision: RevisionOption,
    /// Show the values
    #[arg(long)]
    reveal: bool,
    /// Print one string, number or boolean as it is, without quotes and line feed, in every format
    #[arg(long, requires = "name")]
    raw: bool,
}

#[derive(Serialize)]
struct OutputsDocument {
    stack: String,
    revision: String,
    unfinished: Option<UnfinishedDocument>,
    /// The names of the outputs that are masked.
    masked: Vec<String>,
    outputs: Box<RawValue>,
    #[serde(skip)]
    fields: Vec<Field>,
    /// Whether one output was asked for.
    #[serde(skip)]
    is_one: bool,
}

impl Outputs {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        if self.raw && !self.reveal {
            return Err(Failure::usage(
                "--raw prints a value that may be secret: pass --reveal too",
            ));
        }
        let (stack, rev) = context.readable_at(&self.stack, &self.revision)?;
        let found = stack.snapshot(rev.as_ref())?;
        let rev = found.revision;
        let mut fields = masked::members(found.document.outputs.as_ref(), |_| !self.reveal)?;
        if let Some(name) = &self.name {
            let meant = nearest(name, fields.iter().map(|field| field.name.clone()));
            fields.retain(|field| field.name == *name);
            match &fields[..] {
                [] => return Err(self.no_output(name, &rev, meant.as_deref())),
                [
                    Field {
                        value: Some(value), ..
                    },
                    ..,
                ] if self.raw => {
                    return context.output().verbatim(raw(name, value)?.as_bytes());
                }
                _ => {}
            }
        } else if fields.is_empty() {
            context.output().notice(format_args!("{rev} has no outputs"));
        }
        let masked = fields.iter().filter(|field| field.value.is_none());
        let outputs = masked::object(&fields)?;
        let outputs = outputs.as_ref().map_or("{}", Json::as_str).to_owned();
        context.output().answer(&OutputsDocument {
            stack: self.stack.clone(),
            revision: rev.to_string(),
            unfinished: found.unfinished,
            masked: masked.map(|field| field.name.clone()).collect(),
            outputs: RawValue::from_string(outputs).map_err(io::Error::from)?,
            fields,
            is_one: self.name.is_some(),
        })
    }

    fn no_output(&self, name: &str, rev: &Revision, meant: Option<&str>) -> Failure {
        let message = format!("{} has no output {name:?} at {rev}", self.stack);
        let hint = match meant {
            Some(near) => format!("did you mean {near}? `statectl output STACK` shows their names"),
            None => "`statectl output STACK` shows their names".into(),
        };
        Failure::new(MISSING, "not-found", message).hint(hint)
    }
}

/// The value as a shell takes it.
fn raw(name: &str, value: &Json) -> Result<String, Failure> {
    match value.as_str() {
        text if text.starts_with('"') => Ok(value.to()?),
        text if text.starts_with(['{', '[']) || text == "null" => Err(Failure::new(
            FAILED,
            "unsupported",
            format!("the output {name:?} is no string, number or boolean, so --raw cannot print it"),
        )
        .hint("leave out --raw, or pass --json instead")),
        text => Ok(text.to_owned()),
    }
}

impl Answer for OutputsDocument {
    const KIND: &'static str = "outputs";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        match &self.fields[..] {
            [field] if self.is_one => writeln!(page, "{}", field.text()),
            fields => masked::print(page, fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_value_is_as_a_shell_takes_it() {
        for (json, text) in [
            (r#""a \"b\"\n""#, Some("a \"b\"\n")),
            ("18446744073709551616.10", Some("18446744073709551616.10")),
            ("true", Some("true")),
            ("null", None),
            ("[1]", None),
            ("{}", None),
        ] {
            let raw = raw("x", &Json::parse(json).unwrap());
            assert_eq!(raw.ok().as_deref(), text, "{json}");
        }
    }
}
