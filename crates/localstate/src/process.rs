use rustix::io::retry_on_intr;
use std::fs;
use std::process;
use std::sync::OnceLock;

/// A process, told apart from its forked children.
///
/// The process id alone does not do that: a child in a new PID namespace may have id 1, as its parent has in its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProcessIdentity {
    pid: u32,
    /// Device and inode of `/proc/self/ns/pid` (Linux, `namespaces(7)`), where the system has it.
    namespace: Option<(u64, u64)>,
}

impl ProcessIdentity {
    pub(crate) fn current() -> Self {
        let stat = retry_on_intr(|| rustix::fs::stat("/proc/self/ns/pid"));
        #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
        Self {
            pid: process::id(),
            namespace: stat.ok().map(|stat| (stat.st_dev as u64, stat.st_ino as u64)),
        }
    }
}

/// The id of this boot of this machine, where the system has one.
pub(crate) fn boot_id() -> Option<String> {
    static BOOT_ID: OnceLock<Option<String>> = OnceLock::new();
    BOOT_ID
        .get_or_init(|| {
            let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
            Some(id.trim().into())
        })
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    const TOLD: &str = "LOCALSTATE_TEST_IDENTITY";

    /// A fork into a new PID namespace has number 1 there. If its parent had number 1 too, it passed for its parent.
    #[test]
    fn two_first_processes_of_pid_namespaces_are_not_one() {
        let mut both = [first_of_a_namespace(), first_of_a_namespace()];
        // Both live until both have told: the number of a namespace that is gone is given again.
        let told = both.each_mut().map(|process| {
            let lines = BufReader::new(process.stdout.as_mut().unwrap()).lines();
            lines
                .map_while(Result::ok)
                .find(|line| line.contains("ProcessIdentity"))
        });
        for mut process in both {
            drop(process.stdin.take());
            process.wait().unwrap();
        }
        let [Some(one), Some(two)] = told else {
            let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!is_ci, "CI must permit PID namespaces");
            eprintln!("SKIPPED: no PID namespace can be made here");
            return;
        };
        assert!(one.contains("pid: 1,"), "{one}");
        assert!(two.contains("pid: 1,"), "{two}");
        assert_ne!(one, two);
        assert_eq!(ProcessIdentity::current(), ProcessIdentity::current());
    }

    fn first_of_a_namespace() -> Child {
        Command::new("unshare")
            .args(["--map-root-user", "--pid", "--fork"])
            .arg(std::env::current_exe().unwrap())
            .args([
                "process::tests::process_that_tells_its_identity",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(TOLD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    #[test]
    #[ignore = "run by another test in a process of its own"]
    fn process_that_tells_its_identity() {
        if std::env::var_os(TOLD).is_some() {
            println!("\n{:?}", ProcessIdentity::current());
            let _ = std::io::stdin().read_line(&mut String::new());
        }
    }
}
