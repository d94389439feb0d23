//! `statectl` with one more backend: `--backend sqlite:FILE`.

use example_sqlite::SqliteCatalog;
use localstate::LocalCatalog;
use sdk_state::Registry;

fn main() -> std::process::ExitCode {
    let registry = Registry::new().register(LocalCatalog::SCHEME, LocalCatalog::open);
    statectl::main(registry.register("sqlite", SqliteCatalog::open))
}
