use crate::{Encrypter, Error, ErrorKind, Recipient};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};
use wait_timeout::ChildExt as _;
use zeroize::Zeroizing;

/// The version of the questions and answers.
const VERSION: u32 = 1;
/// The longest answer: a wrapped key of 64 KiB in base64, and some room.
const MAX_ANSWER_BYTES: usize = 96 * 1024;
/// How much of a program's standard error is shown.
const MAX_COMPLAINT_BYTES: usize = 1024;
/// Fewer digits in a row are no key: 32 bytes have 43 in base64.
const SHORTEST_KEY: usize = 40;
/// The same at the end of what is shown.
const SHORTEST_CUT_KEY: usize = 16;
/// The longest name of a key.
const MAX_ID_BYTES: usize = 256;

/// A key that another program keeps: it wraps and unwraps data keys, one for each run of the program.
///
/// The program is one path, without arguments and without a shell. It reads one JSON object from its standard input, writes
/// one to its standard output and ends with status 0:
///
/// | question | answer |
/// |---|---|
/// | `{"version":1,"identify":{}}` | `{"version":1,"id":ID}` |
/// | `{"version":1,"wrap":{"id":ID,"key":KEY,"context":CONTEXT}}` | `{"version":1,"wrapped":WRAPPED}` |
/// | `{"version":1,"unwrap":{"id":ID,"wrapped":WRAPPED,"context":CONTEXT}}` | `{"version":1,"key":KEY}`, or `null` for a key that it did not wrap, or not in this context |
///
/// ID names the key, in 1 to 256 printable ASCII characters; sealed files record it, unencrypted. KEY, WRAPPED and CONTEXT are
/// base64. The program binds the wrapped key to the context, and its answers differ each time. A program that does not answer
/// within 30 seconds is killed, and nothing is written then. What it writes to standard error is shown if it fails, except what looks
/// like a key.
#[derive(Debug)]
pub struct KeyProgram {
    program: PathBuf,
    timeout: Duration,
    id: String,
    recipient: Recipient,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Question<'a> {
    Identify {},
    Wrap {
        id: &'a str,
        key: &'a str,
        context: &'a str,
    },
    Unwrap {
        id: &'a str,
        wrapped: &'a str,
        context: &'a str,
    },
}

#[derive(Serialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    question: T,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    version: u32,
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped<'a> {
    version: u32,
    #[serde(borrow)]
    wrapped: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unwrapped<'a> {
    version: u32,
    // Without a default: a key that is left out is a mistake, and `null` is an answer.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    key: Option<Cow<'a, str>>,
}

impl KeyProgram {
    /// The name that sealed files record.
    pub const NAME: &'static str = "command";

    /// Asks the program which key it keeps.
    ///
    /// # Errors
    ///
    /// [`MissingKey`](ErrorKind::MissingKey) when there is no such program,
    /// [`Unavailable`](ErrorKind::Unavailable) when it fails or does not answer in time,
    /// [`Failed`](ErrorKind::Failed) when its answer is not as described above.
    pub fn open(program: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open_within(program, Duration::from_secs(30))
    }

    /// The same with another time in which the program must answer, each time that it is asked.
    ///
    /// # Errors
    ///
    /// Those of [`open`](KeyProgram::open).
    pub fn open_within(program: impl Into<PathBuf>, timeout: Duration) -> Result<Self, Error> {
        let mut opened = Self {
            program: program.into(),
            timeout,
            id: String::new(),
            recipient: Recipient::new(Self::NAME),
        };
        let answer = opened.ask(&Question::Identify {})?;
        let Identity { version, id } = opened.parse(&answer)?;
        opened.check_version(version)?;
        let is_name = (1..=MAX_ID_BYTES).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !is_name {
            return Err(opened.malformed("its `id` is not 1 to 256 printable ASCII characters"));
        }
        opened.recipient = opened.recipient.with("id", &id);
        opened.id = id;
        Ok(opened)
    }

    /// Runs the program once.
    fn ask(&self, question: &Question<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
        let question = self.encode(question)?;
        let deadline = Instant::now() + self.timeout;
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| self.cannot_start(source))?;
        let answer = child.stdout.take().map(|pipe| read(pipe, MAX_ANSWER_BYTES));
        let complaint = child.stderr.take().map(|pipe| read(pipe, MAX_COMPLAINT_BYTES));
        if let Some(mut pipe) = child.stdin.take() {
            // A program may answer without reading to the end: whether it was asked shows in its answer.
            thread::spawn(move || pipe.write_all(&question));
        }
        let status = self.wait(&mut child, deadline)?;
        // A process that the program left behind may keep a pipe open.
        let late = |pipe: Option<Receiver<Zeroizing<Vec<u8>>>>| {
            let left = deadline.saturating_duration_since(Instant::now());
            pipe.and_then(|pipe| pipe.recv_timeout(left).ok())
        };
        if !status.success() {
            let complaint = late(complaint).unwrap_or_default();
            return Err(self.failed(status, &complaint));
        }
        let answer = late(answer).ok_or_else(|| self.timed_out())?;
        match answer.len() > MAX_ANSWER_BYTES {
            true => Err(self.malformed("it has more than 96 KiB")),
            false => Ok(answer),
        }
    }

    fn encode(&self, question: &Question<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
        // The buffer does not grow: growing would leave a copy of a key behind.
        let mut text = Zeroizing::new(Vec::with_capacity(128 * 1024));
        let versioned = Versioned {
            version: VERSION,
            question,
        };
        serde_json::to_writer(&mut *text, &versioned)
            .map_err(|source| self.malformed("the question is no JSON").with_source(source))?;
        text.push(b'\n');
        Ok(text)
    }

    fn wait(&self, child: &mut Child, deadline: Instant) -> Result<ExitStatus, Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        match child.wait_timeout(left) {
            Ok(Some(status)) => Ok(status),
            result => {
                // It may have ended by itself since.
                let _ = child.kill();
                let _ = child.wait();
                match result {
                    Err(source) => Err(self.unavailable("cannot be waited for").with_source(source)),
                    Ok(_) => Err(self.timed_out()),
                }
            }
        }
    }

    fn parse<'a, T: Deserialize<'a>>(&self, answer: &'a [u8]) -> Result<T, Error> {
        // The cause is not kept: it could quote a key.
        serde_json::from_slice(answer).map_err(|_| self.malformed("it is not the expected JSON object"))
    }

    fn check_version(&self, version: u32) -> Result<(), Error> {
        match version {
            VERSION => Ok(()),
            other => Err(self.malformed(&format!("its version is {other}, not {VERSION}"))),
        }
    }

    fn cannot_start(&self, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::NotFound => Error::new(
                ErrorKind::MissingKey,
                format!("there is no program {}", self.program.display()),
            ),
            _ => self.unavailable("cannot be started"),
        }
        .with_source(source)
    }

    fn failed(&self, status: ExitStatus, complaint: &[u8]) -> Error {
        let complaint = String::from_utf8_lossy(&complaint[..complaint.len().min(MAX_COMPLAINT_BYTES)]);
        let shown: String = without_keys(complaint.trim())
            .chars()
            .map(|shown| if shown.is_control() { ' ' } else { shown })
            .collect();
        let says = if shown.is_empty() { "" } else { ": " };
        self.unavailable(&format!("failed ({status}){says}{shown}"))
    }

    fn timed_out(&self) -> Error {
        self.unavailable(&format!(
            "did not answer within {} seconds and was ended",
            self.timeout.as_secs_f32()
        ))
    }

    fn unavailable(&self, problem: &str) -> Error {
        let message = format!("the program {} {problem}", self.program.display());
        Error::new(ErrorKind::Unavailable, message)
    }

    fn malformed(&self, problem: &str) -> Error {
        let message = format!(
            "the answer of the program {} is refused: {problem}",
            self.program.display()
        );
        Error::new(ErrorKind::Failed, message)
    }

    fn decode(&self, text: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        STANDARD
            .decode(text)
            .map(Zeroizing::new)
            .map_err(|_| self.malformed("it is not base64"))
    }
}

/// The text without what may be a key in base64 or in hexadecimal digits, or its beginning at the end: a program may repeat its
/// question.
fn without_keys(text: &str) -> String {
    let is_digit = |shown: char| shown.is_ascii_alphanumeric() || "+/=\\".contains(shown);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (run, tail) = rest.split_at(rest.find(|shown| !is_digit(shown)).unwrap_or(rest.len()));
        let longest = if tail.is_empty() {
            SHORTEST_CUT_KEY
        } else {
            SHORTEST_KEY
        };
        shown.push_str(if run.len() < longest { run } else { "[removed]" });
        let (other, tail) = tail.split_at(tail.find(is_digit).unwrap_or(tail.len()));
        shown.push_str(other);
        rest = tail;
    }
    shown
}

/// Reads to the end in a thread of its own, and keeps one byte more than `max_bytes` at most.
fn read(mut pipe: impl Read + Send + 'static, max_bytes: usize) -> Receiver<Zeroizing<Vec<u8>>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        // The buffer does not grow: growing would leave a copy of a key behind.
        let mut kept = Zeroizing::new(Vec::with_capacity(max_bytes + 1));
        // What cannot be read is missing in the answer.
        let _ = pipe.by_ref().take(max_bytes as u64 + 1).read_to_end(&mut kept);
        let _ = io::copy(&mut pipe, &mut io::sink());
        let _ = send.send(kept);
    });
    receive
}

impl Encrypter for KeyProgram {
    fn describe(&self) -> String {
        format!("{} {} ({})", Self::NAME, self.id, self.program.display())
    }

    fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    fn wrap(
        &self,
        recipient: &Recipient,
        data_key: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        if !recipient.is_same_key(&self.recipient) {
            return Ok(None);
        }
        let answer = self.ask(&Question::Wrap {
            id: &self.id,
            key: &Zeroizing::new(STANDARD.encode(data_key)),
            context: &STANDARD.encode(associated_data),
        })?;
        let Wrapped { version, wrapped } = self.parse(&answer)?;
        self.check_version(version)?;
        let wrapped = self.decode(&wrapped)?;
        match wrapped.len() {
            1..=65_536 => Ok(Some(wrapped.to_vec())),
            _ => Err(self.malformed("a wrapped key has 1 byte to 64 KiB")),
        }
    }

    fn unwrap(
        &self,
        recipient: &Recipient,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        if !recipient.is_same_key(&self.recipient) || wrapped.len() > 65_536 {
            return Ok(None);
        }
        let answer = self.ask(&Question::Unwrap {
            id: &self.id,
            wrapped: &STANDARD.encode(wrapped),
            context: &STANDARD.encode(associated_data),
        })?;
        let Unwrapped { version, key } = self.parse(&answer)?;
        self.check_version(version)?;
        key.map(|key| self.decode(&key)).transpose()
    }
}
