use sdk_state::Provenance;
use std::env;

/// More of a user's name is not recorded: an odd environment must not keep anybody from writing.
const LONGEST_USER: usize = 256;

/// Who and where this process is, as the operating system tells: what [`open`](crate::open) records with each write.
pub fn this_process() -> Provenance {
    let user = ["USER", "LOGNAME"]
        .into_iter()
        .filter_map(|variable| env::var(variable).ok())
        .find(|user| !user.is_empty())
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let user: String = user.chars().take(LONGEST_USER).collect();
    Provenance::new().with_who(user).with_host(host)
}
