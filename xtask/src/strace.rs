//! What the tasks that trace processes share.

use crate::task::{Role, words};
use std::io;
use std::path::Path;
use std::process::Command;

/// Why nothing can be traced here, and what to do; `None` when it can.
pub(crate) fn obstacle() -> Option<String> {
    let mut command = Command::new("strace");
    command.args([
        "-qq",
        "-e",
        "inject=fsync:error=EIO:when=1",
        "-o",
        "/dev/null",
        "true",
    ]);
    match command.output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "strace may not trace here (allow ptrace, in a container with --cap-add=SYS_PTRACE): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Some(format!(
            "strace does not start ({error}): install it, on Debian and Ubuntu with apt-get install strace"
        )),
    }
}

/// Adds the log and the process that is traced to a command that ends with strace and its options.
pub(crate) fn traced(mut strace: Command, log: &Path, role: &Role) -> io::Result<Command> {
    strace.arg("-o").arg(log).args(words(role)?);
    Ok(strace)
}
