//! `statectl` with one more backend: `--backend sqlite:FILE`.

use example_sqlite::SqliteRoot;
use localstate::LocalRoot;
use sdk_state::Registry;

fn main() -> std::process::ExitCode {
    let registry = Registry::new().with(LocalRoot::SCHEME, LocalRoot::open_address);
    statectl::main(registry.with("sqlite", SqliteRoot::open_address))
}
