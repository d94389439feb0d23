use crate::{Error, ErrorKind, Provenance};
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A held lock: while it lives, nobody else holds the lock of this stack.
///
/// Dropping it also unlocks, but hides errors; [`unlock`](Lock::unlock) reports them. Threads can send and share it.
///
/// # Contract
///
/// * ([L1](crate::guarantees)) At most one lock of a stack is held, among threads, processes and machines that share the backend: LOCK-02,
///   LOCK-05, LOCK-06.
/// * ([L2](crate::guarantees)) A holder that is provably dead does not keep the next one out, and the next holder is told whose lock it took over:
///   LOCK-13.
/// * ([L4](crate::guarantees)) After an eviction, `check` and `unlock` fail with `LockLost` (LOCK-11), and neither they nor a drop touch the new
///   holder's lock (LOCK-12).
/// * It names its holder: LOCK-01. Unlocking and dropping free it: LOCK-03, LOCK-04. No two locks have the same token:
///   LOCK-07.
#[must_use = "dropping a lock unlocks it"]
pub trait Lock: Send + Sync + fmt::Debug {
    /// Returns the holder, as others see it.
    ///
    /// # Contract
    ///
    /// Returns the data of the [`Holder`], the token, and what the backend knows about the process (LOCK-01). It makes no
    /// request: the answer is the same after an eviction.
    fn info(&self) -> &LockInfo;

    /// Returns the fencing token, which the backend compares with its lock before it makes a change.
    ///
    /// # Contract
    ///
    /// Only this lock has the token (LOCK-07). It is returned after an eviction too: the backend refuses it when it is used
    /// (GUARD-01 to GUARD-05). A backend whose lock a fork would duplicate, such as an flock, remembers which process locked.
    ///
    /// # Errors
    ///
    /// [`LockLost`](ErrorKind::LockLost) in a process other than the one that locked, such as a forked child.
    fn token(&self) -> Result<&LockToken, Error>;

    /// Returns the dead holder whose lock was taken over, if there was one: its work may be half done.
    ///
    /// # Contract
    ///
    /// `None` for a lock that was free (LOCK-01), otherwise what is known about the dead holder (LOCK-13). It never names the
    /// caller itself: a backend that lost the answer of its own `try_lock` recognises its own token (LOST-05).
    fn took_over(&self) -> Option<&LockInfo>;

    /// Asks the backend whether the lock is still held.
    ///
    /// The answer is information for the holder, not a fence: to guard a change, pass the [`token`](Lock::token) to it.
    ///
    /// # Contract
    ///
    /// It asks the backend each time (LOCK-11).
    ///
    /// # Errors
    ///
    /// [`LockLost`](ErrorKind::LockLost) when the lock is not held, or belongs to another process; a [backend
    /// error](crate::Backend#backend-errors), after which this is not known.
    fn check(&self) -> Result<(), Error>;

    /// Whether this process already knows that the lock is lost; makes no request.
    ///
    /// # Contract
    ///
    /// True once `check` has failed with `LockLost`, in a forked child, and, where locks are leases, once two thirds of the
    /// lease have passed without a renewal (LOCK-15). It never becomes false again.
    fn is_lost(&self) -> bool;

    /// Lets processes that this process starts from now on hold the lock too: the lock is free once all of them have ended,
    /// or once this process unlocks.
    ///
    /// # Contract
    ///
    /// ([L1, L2](crate::guarantees)) When this process dies, the lock stays held as long as such a child lives. Sharing cannot be undone. The
    /// child has no `Lock` of its own: pass it the [`token`](Lock::token), with which it can [join](crate::Store::join).
    ///
    /// # Errors
    ///
    /// * [`Unsupported`](ErrorKind::Unsupported) where the backend's lock cannot be shared.
    /// * [`LockLost`](ErrorKind::LockLost) in a process other than the one that locked.
    /// * A [backend error](crate::Backend#backend-errors).
    fn share_with_children(&self) -> Result<(), Error>;

    /// Releases the lock.
    ///
    /// # Contract
    ///
    /// The next holder gets it at once (LOCK-03), even if children [share it](Lock::share_with_children). A lock that now
    /// belongs to somebody else stays untouched (LOCK-11, LOCK-12).
    ///
    /// # Errors
    ///
    /// * [`LockLost`](ErrorKind::LockLost) when it was no longer held, or belongs to another process. Somebody evicted this
    ///   holder: what it did since may conflict with the next holder's work.
    /// * A [backend error](crate::Backend#backend-errors), after which the lock may be free or not. If the backend can prove
    ///   that a holder is gone, this lock keeps nobody out (LOCK-13).
    fn unlock(self: Box<Self>) -> Result<(), Error>;
}

/// A fencing token: identifies one acquisition of a lock and never repeats. 128 random bits in hexadecimal.
///
/// A token fences but does not authenticate: everybody who can read the store can read it. A backend may make its own tokens
/// of 1 to 64 ASCII letters, digits, `-` and `_`, if they never repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockToken(String);

impl LockToken {
    /// Makes a fresh token.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when the operating system gives no random bytes.
    pub fn generate() -> Result<Self, Error> {
        let mut bits = [0; 16];
        SysRng.try_fill_bytes(&mut bits).map_err(|source| {
            Error::new(
                ErrorKind::Unavailable,
                "the operating system gives no random bytes",
            )
            .with_source(source)
        })?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bits))))
    }

    /// Returns the token's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LockToken {
    type Err = Error;

    /// Accepts 1 to 64 ASCII letters, digits, `-` and `_`: every token that a backend may use.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName) for everything else.
    fn from_str(text: &str) -> Result<Self, Error> {
        let is_token = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if is_token {
            Ok(Self(text.into()))
        } else {
            Err(Error::new(
                ErrorKind::InvalidName,
                "a lock token is 1 to 64 letters, digits, - and _",
            ))
        }
    }
}

impl fmt::Display for LockToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Who wants to hold a lock, and why, as the holder describes itself; stored unencrypted.
///
/// A backend may cut long texts. The local one cuts them after 128 characters, or earlier where they take too much room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The author, host, run and tool.
    pub provenance: Provenance,
    /// The operation that needs the lock, such as `push`.
    pub operation: String,
    /// Since when the holder has wanted the lock, by its own clock.
    pub since: Option<OffsetDateTime>,
}

impl Holder {
    /// Makes a holder with an operation and nothing else.
    pub fn new(operation: impl Into<String>) -> Self {
        Self {
            operation: operation.into(),
            ..Self::default()
        }
    }

    /// Sets the author, host, run and tool.
    #[must_use]
    pub fn with_provenance(mut self, provenance: Provenance) -> Self {
        self.provenance = provenance;
        self
    }

    /// Sets since when the holder has wanted the lock.
    #[must_use]
    pub fn with_since(mut self, since: OffsetDateTime) -> Self {
        self.since = Some(since);
        self
    }
}

/// What is known about the holder of a lock. A lock of unobin's says little more than a process id.
///
/// The holder wrote it, and anybody who can write to the store can forge it: [`Display`](fmt::Display) escapes it for a
/// terminal; the fields are as they were found.
///
/// It is stored as one flat JSON object with the members `token`, `pid`, `boot-id`, `run`, `author`, `host`, `tool`,
/// `operation` and `since` (RFC 3339), each absent where it is unknown. A member of another type reads as unknown, and
/// members that this version does not know are kept.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct LockInfo {
    /// The fencing token, if the lock was made by this SDK.
    pub token: Option<LockToken>,
    /// Who holds the lock, and why.
    pub holder: Holder,
    /// The holder's process id on its own machine.
    pub pid: Option<u32>,
    /// The boot of the holder's machine, such as `/proc/sys/kernel/random/boot_id` (Linux, `random(4)`). One that differs
    /// from the reader's means another machine or an earlier boot.
    pub boot_id: Option<String>,
    unknown: Map<String, Value>,
}

impl LockInfo {
    /// Makes the description of a fresh lock; a backend adds the process and the boot where it knows them.
    pub fn new(holder: &Holder, token: LockToken) -> Self {
        Self {
            token: Some(token),
            holder: holder.clone(),
            ..Self::default()
        }
    }
}

impl Serialize for LockInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let provenance = &self.holder.provenance;
        let since = self.holder.since.and_then(|since| since.format(&Rfc3339).ok());
        let operation = Some(&self.holder.operation).filter(|operation| !operation.is_empty());
        let texts = [
            ("token", self.token.as_ref().map(LockToken::as_str)),
            ("boot-id", self.boot_id.as_deref()),
            ("run", provenance.run.as_deref()),
            ("author", provenance.author.as_deref()),
            ("host", provenance.host.as_deref()),
            ("tool", provenance.tool.as_deref()),
            ("operation", operation.map(String::as_str)),
            ("since", since.as_deref()),
        ];
        let mut map = serializer.serialize_map(None)?;
        for (name, text) in texts {
            if let Some(text) = text {
                map.serialize_entry(name, text)?;
            }
        }
        if let Some(pid) = self.pid {
            map.serialize_entry("pid", &pid)?;
        }
        for (name, value) in &self.unknown {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for LockInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = Map::deserialize(deserializer)?;
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let token = text("token").and_then(|token| token.parse().ok());
        let boot_id = text("boot-id");
        let provenance = Provenance {
            run: text("run"),
            author: text("author"),
            host: text("host"),
            tool: text("tool"),
        };
        let operation = text("operation").unwrap_or_default();
        let since = text("since").and_then(|since| OffsetDateTime::parse(&since, &Rfc3339).ok());
        let pid = members
            .remove("pid")
            .and_then(|pid| pid.as_u64()?.try_into().ok());
        Ok(Self {
            token,
            holder: Holder {
                provenance,
                operation,
                since,
            },
            pid,
            boot_id,
            unknown: members,
        })
    }
}

/// For error messages: `alice on build-7 (pid 4711, push)`.
impl fmt::Display for LockInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Provenance { author, host, .. } = &self.holder.provenance;
        write!(f, "{}", author.as_deref().unwrap_or("somebody").escape_debug())?;
        if let Some(host) = host {
            write!(f, " on {}", host.escape_debug())?;
        }
        let pid = self.pid.map(|pid| format!("pid {pid}"));
        let operation = Some(&self.holder.operation).filter(|operation| !operation.is_empty());
        let operation = operation.map(|operation| operation.escape_debug().to_string());
        let details: Vec<String> = pid.into_iter().chain(operation).collect();
        if !details.is_empty() {
            write!(f, " ({})", details.join(", "))?;
        }
        Ok(())
    }
}

/// A lock as others see it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LockStatus {
    /// The holder.
    pub info: LockInfo,
    /// Whether the holder is alive.
    pub liveness: Liveness,
}

impl LockStatus {
    /// Makes a status.
    pub fn new(info: LockInfo, liveness: Liveness) -> Self {
        Self { info, liveness }
    }
}

/// Whether the holder of a lock is alive, as far as that can be proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Liveness {
    /// The holder is alive, or a child is that it [shared](Lock::share_with_children) the lock with.
    Alive,
    /// The holder is provably dead: the next caller gets the lock.
    Dead,
    /// The holder's lease ran out while an observer watched one version of the lock for a whole lease on its own monotonic
    /// clock: it is presumed dead, and a backend with leases may replace it. The state is safe, because every change is
    /// fenced. The infrastructure is not: a holder that was merely slow may still be changing it.
    Expired,
    /// The backend cannot tell, or the lock is unobin's.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_info_keeps_members_it_does_not_know() {
        let text = r#"{"token":"t1","author":"alice","operation":"push","pid":4711,"lease":{"seconds":30}}"#;
        let info: LockInfo = serde_json::from_str(text).unwrap();
        assert_eq!(info.holder.provenance.author.as_deref(), Some("alice"));
        assert_eq!(info.pid, Some(4711));
        let back: Value = serde_json::to_value(&info).unwrap();
        assert_eq!(back, serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(serde_json::from_value::<LockInfo>(back).unwrap(), info);
    }

    #[test]
    fn a_member_of_another_type_reads_as_unknown() {
        let info: LockInfo =
            serde_json::from_str(r#"{"token":"../x","pid":-1,"since":"yesterday","host":7}"#).unwrap();
        assert_eq!(info, LockInfo::default());
        assert!(serde_json::from_str::<LockInfo>("[]").is_err());
    }

    #[test]
    fn a_hostile_holder_is_escaped_for_the_terminal() {
        let mut info = LockInfo::default();
        info.holder.provenance.author = Some("\u{1b}[31mroot".into());
        info.holder.operation = "a\nb".into();
        assert_eq!(info.to_string(), "\\u{1b}[31mroot (a\\nb)");
    }
}
