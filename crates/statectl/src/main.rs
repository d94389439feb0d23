//! `statectl` with the backends of this workspace.

use localstate::LocalCatalog;
use sdk_state::Registry;
use std::process::ExitCode;

fn main() -> ExitCode {
    statectl::main(Registry::new().register(LocalCatalog::SCHEME, LocalCatalog::open))
}
