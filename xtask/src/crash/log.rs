//! The log of `strace -xx`, line by line: names, arguments, results. It knows nothing of files.

use std::error::Error;

/// A system call that has ended, or was cut off by the death of its process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Vec<Argument>,
    /// `None` for an error, and for a call that was cut off.
    pub(super) result: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// A string or a buffer, decoded.
    Bytes(Vec<u8>),
    /// A number, flags, an address.
    Word(String),
}

/// The calls of one process, in order.
pub(super) fn parse(log: &str) -> Result<Vec<Call>, Box<dyn Error>> {
    let mut process = None;
    let mut calls = Vec::new();
    for line in log.lines() {
        let (id, rest) = line.trim_start().split_once(' ').ok_or_else(|| unread(line))?;
        // With two, what one has begun when the other ends something would matter.
        if *process.get_or_insert(id) != id {
            return Err("the log tells of a second thread or process, which is not modelled".into());
        }
        let rest = rest.trim_start();
        if !rest.starts_with("+++ ") && !rest.starts_with("--- ") {
            calls.push(call(rest).ok_or_else(|| unread(line))?);
        }
    }
    Ok(calls)
}

/// `name(argument, …) = result …`
fn call(line: &str) -> Option<Call> {
    let (name, mut rest) = line.split_once('(')?;
    let mut arguments = Vec::new();
    while !rest.starts_with(')') {
        let (argument, after) = argument(rest)?;
        arguments.push(argument);
        rest = after.strip_prefix(", ").unwrap_or(after);
    }
    let result = rest
        .strip_prefix(')')?
        .trim_start()
        .strip_prefix("= ")?
        .split_whitespace()
        .next()?;
    Some(Call {
        name: name.into(),
        arguments,
        result: result.parse().ok(),
    })
}

fn argument(text: &str) -> Option<(Argument, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (hex, rest) = quoted.split_once('"')?;
        // Three dots after it: strace has cut it short.
        if rest.starts_with('.') {
            return None;
        }
        return Some((Argument::Bytes(unhex(hex)?), rest));
    }
    let mut depth = 0;
    let end = text.find(|character| {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ => {}
        }
        depth == 0 && matches!(character, ',' | ')')
    })?;
    Some((Argument::Word(text[..end].into()), &text[end..]))
}

/// `\x2f\x61`
fn unhex(hex: &str) -> Option<Vec<u8>> {
    let mut digits = hex.split("\\x");
    if !digits.next()?.is_empty() {
        return None;
    }
    digits.map(|digits| u8::from_str_radix(digits, 16).ok()).collect()
}

fn unread(line: &str) -> Box<dyn Error> {
    let start: String = line.chars().take(120).collect();
    format!("a line of the log is not understood: {start}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Call {
        parse(line).unwrap().pop().unwrap()
    }

    #[test]
    fn a_call_is_read_with_its_bytes_its_flags_and_its_result() {
        let call = one("17 openat(AT_FDCWD, \"\\x2f\\x61\", O_RDWR|O_CREAT|O_EXCL, 0600) = 3");
        assert_eq!(call.name, "openat");
        assert_eq!(call.result, Some(3));
        let word = |text: &str| Argument::Word(text.into());
        assert_eq!(
            call.arguments,
            [
                word("AT_FDCWD"),
                Argument::Bytes(b"/a".to_vec()),
                word("O_RDWR|O_CREAT|O_EXCL"),
                word("0600")
            ]
        );
    }

    #[test]
    fn a_failed_call_and_one_that_was_cut_off_have_no_result() {
        assert_eq!(
            one("17 fsync(3)    = -1 EIO (Input/output error) (INJECTED)").result,
            None
        );
        assert_eq!(one("17 fsync(3)                          = ?").result, None);
    }

    #[test]
    fn an_empty_string_and_a_structure_are_one_argument_each() {
        let call = one("17 x(\"\", {a=1, b=[2, 3]}, 4) = 0");
        assert_eq!(call.arguments[0], Argument::Bytes(Vec::new()));
        assert_eq!(call.arguments[1], Argument::Word("{a=1, b=[2, 3]}".into()));
        assert_eq!(call.arguments.len(), 3);
    }

    #[test]
    fn what_strace_has_cut_short_is_refused() {
        assert!(parse("17 write(3, \"\\x61\"..., 9) = 9").is_err());
        assert!(parse("17 fsync(3 <unfinished ...>").is_err());
    }

    #[test]
    fn a_second_thread_is_refused_and_signals_and_ends_are_passed_over() {
        assert!(parse("17 fsync(3) = 0\n18 fsync(3) = 0").is_err());
        let log = "17 fsync(3) = 0\n17 --- SIGTERM {si_signo=SIGTERM} ---\n17 +++ killed by SIGKILL +++";
        assert_eq!(parse(log).unwrap().len(), 1);
    }
}
