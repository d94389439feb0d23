use crate::{Error, ErrorKind};
use rand::TryRng as _;
use rand::rngs::SysRng;
use std::fmt;
use std::str::FromStr;
use time::OffsetDateTime;

/// A held exclusion: while it lives, nobody else holds this stack's lock.
///
/// Dropping it unlocks too, and hides an error; [`unlock`](Lock::unlock) reports it.
///
/// # Contract
///
/// * (L1) At most one lock of a stack is held, among threads, processes and machines that share the medium: LOCK-02,
///   LOCK-05, LOCK-06.
/// * (L2) A holder that is provably dead does not keep the next one out, which is told whose lock it took over: LOCK-13.
/// * (L4) After an eviction by [`force_unlock`](crate::Backend::force_unlock), `check` and `unlock` are `LockLost`
///   (LOCK-11), and neither they nor dropping it touches the new holder's lock (LOCK-12).
/// * It names its holder: LOCK-01. Unlocking and dropping free it: LOCK-03, LOCK-04. No two have one token: LOCK-07.
pub trait Lock: Send + fmt::Debug {
    /// Who holds it: the caller, as others see it.
    ///
    /// # Contract
    ///
    /// What the [`Holder`] said, with the token and what the backend knows of the process (LOCK-01). It asks nobody: it
    /// says the same after an eviction.
    fn info(&self) -> &LockInfo;

    /// What the storage compares with its lock when a guarded change is made.
    ///
    /// # Contract
    ///
    /// The token of this holding alone (LOCK-07), also after an eviction: it is the storage that finds it lost (GUARD-01
    /// to GUARD-05). A backend with a lock that a fork would double, such as an flock, remembers which process
    /// locked; no rule asks it.
    ///
    /// # Errors
    ///
    /// [`LockLost`](ErrorKind::LockLost) in a process other than the one that locked, which a fork makes.
    fn token(&self) -> Result<&LockToken, Error>;

    /// Whose dead lock was taken over, if one was: its work may be half done.
    ///
    /// # Contract
    ///
    /// `None` for a lock that was free (LOCK-01). What is known of the dead holder otherwise (LOCK-13).
    fn took_over(&self) -> Option<&LockInfo>;

    /// Whether it is still held.
    ///
    /// This is for the holder's information. It is no fence: pass the lock to
    /// [`compare_and_set_current`](crate::Backend::compare_and_set_current) instead of calling this before.
    ///
    /// # Contract
    ///
    /// It asks the medium each time (LOCK-11).
    ///
    /// # Errors
    ///
    /// [`LockLost`](ErrorKind::LockLost) when it is not, or belongs to another process; [the medium's](crate::Storage#the-mediums-errors), after which it is not known.
    fn check(&self) -> Result<(), Error>;

    /// Lets processes that this one starts from now on hold the lock too: it is free once all of them have ended, or
    /// this one unlocks.
    ///
    /// # Contract
    ///
    /// (L1, L2) When this process dies, the lock stays held as long as such a child lives. It cannot be undone. The child
    /// has no `Lock` of its own: who is to move `current` under this one is told its [`token`](Lock::token).
    ///
    /// # Errors
    ///
    /// * [`Unsupported`](ErrorKind::Unsupported) where the backend's lock cannot be shared.
    /// * [`LockLost`](ErrorKind::LockLost) in a process other than the one that locked.
    /// * [The medium's](crate::Storage#the-mediums-errors).
    fn share_with_children(&self) -> Result<(), Error>;

    /// Gives it back.
    ///
    /// # Contract
    ///
    /// The next one gets it at once (LOCK-03), also when children [share it](Lock::share_with_children). What is no longer
    /// this holding's stays untouched (LOCK-11, LOCK-12).
    ///
    /// # Errors
    ///
    /// * [`LockLost`](ErrorKind::LockLost) when it was no longer held, or belongs to another process. Somebody evicted this holder: what it did since may
    ///   collide with the next one's work.
    /// * [The medium's](crate::Storage#the-mediums-errors), after which it may be free or not. Where the medium proves that
    ///   a holder is gone, this one keeps nobody out (LOCK-13).
    fn unlock(self: Box<Self>) -> Result<(), Error>;
}

/// Names one holding of a lock, never to be repeated: 128 random bits in hexadecimal.
///
/// It fences, it does not authenticate: whoever can read the store can read it. A backend may use tokens of its own
/// making, of 1 to 64 ASCII letters, digits, `-` and `_`, that never repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockToken(String);

impl LockToken {
    /// A fresh one.
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

    /// The token's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LockToken {
    type Err = Error;

    /// Accepts 1 to 64 ASCII letters, digits, `-` and `_`: what any backend may use.
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

/// Who wants to hold a lock, and for what: what the holder says of itself, in clear. A backend may cut long texts; the
/// local one does after 128 characters, or fewer where they take too much room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Who.
    pub user: Option<String>,
    /// On which machine.
    pub host: Option<String>,
    /// With which tool.
    pub tool: Option<String>,
    /// For what, such as `push`.
    pub operation: String,
    /// Since when it wanted to, by its own clock.
    pub since: OffsetDateTime,
}

impl Holder {
    /// A holder of whom only the operation is known.
    pub fn new(operation: impl Into<String>, since: OffsetDateTime) -> Self {
        Self {
            user: None,
            host: None,
            tool: None,
            operation: operation.into(),
            since,
        }
    }
}

/// What is known of a lock's holder. A lock of the original's says little more than a process id.
///
/// It is what the holder wrote, and anybody who can write to the store: [`Display`](fmt::Display) escapes it for a
/// terminal, the fields are as they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockInfo {
    /// The holding, if the lock is of this SDK.
    pub token: Option<LockToken>,
    /// The holder's process, as its own kernel numbers it.
    pub pid: Option<u32>,
    /// The holder's boot of the machine, such as `/proc/sys/kernel/random/boot_id` (Linux, `random(4)`): another one than
    /// the reader's means another machine or an earlier boot.
    pub boot_id: Option<String>,
    /// Who.
    pub user: Option<String>,
    /// On which machine.
    pub host: Option<String>,
    /// With which tool.
    pub tool: Option<String>,
    /// For what.
    pub operation: Option<String>,
    /// Since when, by the holder's clock.
    pub since: Option<OffsetDateTime>,
}

impl LockInfo {
    /// What is known of a fresh holding; a backend adds the process and the boot where it knows them.
    pub fn of(holder: &Holder, token: LockToken) -> Self {
        Self {
            token: Some(token),
            pid: None,
            boot_id: None,
            user: holder.user.clone(),
            host: holder.host.clone(),
            tool: holder.tool.clone(),
            operation: Some(holder.operation.clone()),
            since: Some(holder.since),
        }
    }
}

/// For error messages: `alice on build-7 (pid 4711, push)`.
impl fmt::Display for LockInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.user.as_deref().unwrap_or("somebody").escape_debug())?;
        if let Some(host) = &self.host {
            write!(f, " on {}", host.escape_debug())?;
        }
        let pid = self.pid.map(|pid| format!("pid {pid}"));
        let details: Vec<String> = pid
            .into_iter()
            .chain(
                self.operation
                    .iter()
                    .map(|operation| operation.escape_debug().to_string()),
            )
            .collect();
        if !details.is_empty() {
            write!(f, " ({})", details.join(", "))?;
        }
        Ok(())
    }
}

/// A lock as an outsider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockStatus {
    /// Who holds it.
    pub info: LockInfo,
    /// Whether the holder lives.
    pub liveness: Liveness,
}

impl LockStatus {
    /// A status.
    pub fn new(info: LockInfo, liveness: Liveness) -> Self {
        Self { info, liveness }
    }
}

/// Whether the holder of a lock lives, as far as can be proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Liveness {
    /// It does, or a child with which it [shared](Lock::share_with_children) the lock.
    Alive,
    /// It does not: the next one who asks gets the lock.
    Dead,
    /// The medium cannot tell, or the lock is the original's.
    Unknown,
}
