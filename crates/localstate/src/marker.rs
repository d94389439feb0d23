//! The content of the lock marker: who holds the lock.

use sdk_state::{LockInfo, LockToken};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Every marker that its holder keeps flocked has exactly this length, and no other does, the original's least of all:
/// the length says whether a missing flock proves the holder dead.
pub(crate) const BYTES: usize = 1024;
/// The length of a marker that is made where an flock proves nothing. The same directory may be a trusted filesystem to
/// another machine, such as the server of a network share, which must not take the holder for dead.
pub(crate) const BYTES_UNTRUSTED: usize = BYTES - 1;
/// Longer texts are cut, to this many characters and fewer where they still do not fit.
const LONGEST_TEXT: usize = 128;
/// Room for the decimal digits of a process id, and two line feeds.
const FRAME_BYTES: usize = 12;

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Record {
    token: Option<String>,
    boot_id: Option<String>,
    host: Option<String>,
    user: Option<String>,
    tool: Option<String>,
    operation: Option<String>,
    since: Option<String>,
}

/// The process id as the original writes it, one JSON object, and blanks up to the fixed length.
pub(crate) fn encode(info: &LockInfo) -> [u8; BYTES] {
    let mut longest = LONGEST_TEXT;
    let json = loop {
        let json = serde_json::to_string(&Record::of(info, longest)).unwrap_or_default();
        if json.len() <= BYTES - FRAME_BYTES {
            break json;
        }
        longest /= 2;
    };
    let mut marker = [b' '; BYTES];
    let text = format!("{}\n{json}", info.pid.unwrap_or_default());
    marker[..text.len()].copy_from_slice(text.as_bytes());
    marker[BYTES - 1] = b'\n';
    marker
}

/// What a marker says, as far as it can be read: it may be the original's, or damaged.
pub(crate) fn decode(content: &[u8]) -> LockInfo {
    let mut info = LockInfo::default();
    let mut lines = content.splitn(2, |&byte| byte == b'\n');
    let pid = lines
        .next()
        .and_then(|line| str::from_utf8(line.trim_ascii()).ok());
    info.pid = pid.and_then(|pid| pid.parse().ok());
    let record = lines
        .next()
        .and_then(|line| serde_json::from_slice::<Record>(line.trim_ascii()).ok());
    if let Some(record) = record {
        info.token = record.token.and_then(|token| token.parse::<LockToken>().ok());
        info.boot_id = record.boot_id;
        info.host = record.host;
        info.user = record.user;
        info.tool = record.tool;
        info.operation = record.operation;
        info.since = record
            .since
            .and_then(|since| OffsetDateTime::parse(&since, &Rfc3339).ok());
    }
    info
}

impl Record {
    fn of(info: &LockInfo, longest: usize) -> Self {
        let cut = |text: &Option<String>| text.as_ref().map(|text| text.chars().take(longest).collect());
        Self {
            token: info.token.as_ref().map(ToString::to_string),
            boot_id: cut(&info.boot_id),
            host: cut(&info.host),
            user: cut(&info.user),
            tool: cut(&info.tool),
            operation: cut(&info.operation),
            since: info.since.and_then(|since| since.format(&Rfc3339).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_state::Holder;

    fn info() -> LockInfo {
        let mut holder = Holder::new("push", OffsetDateTime::UNIX_EPOCH);
        holder.user = Some("alice".into());
        holder.host = Some("build-7".into());
        let mut info = LockInfo::of(&holder, LockToken::generate().unwrap());
        info.pid = Some(4711);
        info
    }

    #[test]
    fn a_marker_tells_who_holds_the_lock_and_begins_as_the_originals_does() {
        let marker = encode(&info());
        assert!(marker.starts_with(b"4711\n{"));
        assert!(marker.ends_with(b" \n"));
        let read = decode(&marker);
        assert_eq!(
            (read.pid, read.user.as_deref(), read.host.as_deref()),
            (Some(4711), Some("alice"), Some("build-7"))
        );
        assert_eq!(read.since, Some(OffsetDateTime::UNIX_EPOCH));
        assert!(read.token.is_some());
    }

    #[test]
    fn texts_that_are_too_long_are_cut_and_the_token_never_is() {
        let mut long = info();
        for text in [
            &mut long.user,
            &mut long.host,
            &mut long.tool,
            &mut long.operation,
        ] {
            *text = Some("\u{1}".repeat(5000));
        }
        let read = decode(&encode(&long));
        assert_eq!(read.token, long.token);
        assert!(
            read.user
                .is_some_and(|user| !user.is_empty() && user.len() < 5000)
        );
    }

    #[test]
    fn whatever_the_marker_holds_it_is_read_without_a_panic() {
        for content in [
            &b""[..],
            b"\n",
            b"4711",
            b"4711\n",
            b"-1\n{}",
            b"99999999999999\n{}",
            b"x\n{\"token\":\"../x\"}",
            b"\xff\n\xff",
            &[0; BYTES],
        ] {
            assert_eq!(decode(content).token, None, "{content:?}");
        }
        assert_eq!(decode(b"4711\n").pid, Some(4711));
    }
}
