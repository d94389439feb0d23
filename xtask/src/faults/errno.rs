/// The errors with which a call is failed, where it makes sense for the call.
pub(super) const ALL: [&str; 5] = ["EIO", "ENOSPC", "EMFILE", "EINTR", "EACCES"];

/// Those that the call may meet in earnest; none for calls that are not failed, such as those that only map memory.
pub(super) fn of(call: &str, arguments: &str) -> &'static [&'static str] {
    match call {
        "openat" | "open" if arguments.contains("O_CREAT") => &ALL,
        "openat" | "open" => &["EIO", "EMFILE", "EINTR", "EACCES"],
        "mkdir" | "mkdirat" | "rename" | "renameat" | "renameat2" | "link" | "linkat" => {
            &["EIO", "ENOSPC", "EINTR", "EACCES"]
        }
        "unlink" | "unlinkat" | "chmod" | "fchmod" | "fchmodat" | "fchmodat2" => &["EIO", "EINTR", "EACCES"],
        "write" | "pwrite64" | "fsync" | "fdatasync" => &["EIO", "ENOSPC", "EINTR"],
        "stat" | "lstat" | "newfstatat" | "statx" => &["EIO", "EINTR", "EACCES"],
        "fcntl" if arguments.contains("F_DUPFD") => &["EMFILE"],
        // With F_GETFD the standard library checks itself, in debug builds alone.
        "fcntl" if arguments.contains("F_GETFD") => &[],
        "read" | "pread64" | "fstat" | "getdents64" | "fstatfs" | "flock" | "lseek" | "fcntl" | "close"
        | "getrandom" => &["EIO", "EINTR"],
        _ => &[],
    }
}
