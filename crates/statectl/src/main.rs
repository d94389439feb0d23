//! `statectl` with the backends of this workspace.

use localstate::LocalRoot;
use sdk_state::Registry;
use std::process::ExitCode;

fn main() -> ExitCode {
    statectl::main(Registry::new().with(LocalRoot::SCHEME, LocalRoot::open_address))
}
