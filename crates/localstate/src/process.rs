use sdk_state::Provenance;
use std::env;

/// More of a user's name is not recorded: an odd environment must not keep anybody from writing.
const LONGEST_USER: usize = 256;

/// Who and where this process is: what [`open`](crate::open) records with each write.
///
/// *Who* is `$USER`, else `$LOGNAME`, else `uid` and the number of the user, in 256 characters at most; the variables are
/// what the user says, no proof. *Host* is the node name of `uname(2)`.
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
