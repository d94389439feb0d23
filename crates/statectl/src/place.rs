//! Finds the stacks: at the address that the operator gave, or in the store of the project around the working directory.

use crate::environment::raw;
use crate::exit::{Failure, MISSING};
use crate::nearest::nearest;
use clap::Args;
use rustix::process::geteuid;
use sdk_state::{Catalog, ErrorKind, Registry, StackId};
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a project keeps its store, below its top directory.
const PROJECT_STORE: &str = ".unobin/state";

#[derive(Debug, Args)]
pub(crate) struct PlaceOptions {
    /// The directory that holds the stacks; short for --backend local:DIR [env: STATECTL_ROOT] [default: .unobin/state in the
    /// working directory or the nearest directory above it that has one]
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "backend")]
    root: Option<PathBuf>,

    /// The address of the place that holds the stacks, as SCHEME:REST [env: STATECTL_BACKEND]
    #[arg(long, global = true, value_name = "ADDRESS")]
    backend: Option<String>,
}

/// The stacks of one address.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) catalog: Arc<dyn Catalog>,
    /// The working directory, if no address was given and no store was found from there upward.
    searched: Option<PathBuf>,
}

impl PlaceOptions {
    /// Opens the place. Creates nothing.
    pub(crate) fn open(&self, registry: &Registry) -> Result<Place, Failure> {
        let (address, searched) = match self.given()? {
            Some(address) => (address, None),
            None => project_store()?,
        };
        let place = Place::open(registry, &address)?;
        Ok(Place { searched, ..place })
    }

    /// The address on the command line, or else in the environment.
    fn given(&self) -> Result<Option<String>, Failure> {
        if let Some(backend) = &self.backend {
            return Ok(Some(backend.clone()));
        }
        if let Some(root) = &self.root {
            return local(root).map(Some);
        }
        match (raw("STATECTL_BACKEND"), raw("STATECTL_ROOT")) {
            (Some(_), Some(_)) => Err(Failure::usage(
                "STATECTL_BACKEND and STATECTL_ROOT are both set: unset one of them",
            )),
            (Some(backend), None) => match backend.into_string() {
                Ok(backend) => Ok(Some(backend)),
                Err(_) => Err(Failure::usage(
                    "STATECTL_BACKEND is not UTF-8: give another address",
                )),
            },
            (None, Some(root)) => local(Path::new(&root)).map(Some),
            (None, None) => Ok(None),
        }
    }
}

impl Place {
    /// Opens the place at an address. Creates nothing.
    pub(crate) fn open(registry: &Registry, address: &str) -> Result<Self, Failure> {
        match registry.open(address) {
            Ok(catalog) => Ok(Self {
                catalog: catalog.into(),
                searched: None,
            }),
            Err(error) if error.kind() == &ErrorKind::Unsupported => Err(Failure::from(error).into_usage()),
            Err(error) => Err(error.into()),
        }
    }

    /// The failure for a stack that is not among the known ones, with the name that may have been meant.
    pub(crate) fn unknown(&self, id: &StackId, known: &[StackId]) -> Failure {
        if let Some(directory) = self.searched.as_ref().filter(|_| known.is_empty()) {
            return no_stack(format!(
                "there is no store here: neither {} nor a directory above it has {PROJECT_STORE}",
                directory.display()
            ))
            .hint("name the store with --root DIR, or make one here with `statectl push STACK FILE`");
        }
        let failure = no_stack(format!("there is no stack {id} in {}", self.catalog.name()));
        let names = known.iter().map(ToString::to_string);
        match (nearest(&id.to_string(), names), known.is_empty()) {
            (Some(near), _) => failure.hint(format!("did you mean {near}? `statectl stacks` lists them all")),
            (None, false) => failure.hint("`statectl stacks` lists the stacks that exist"),
            (None, true) => failure.hint("no stack exists there: check the address"),
        }
    }

    /// The working directory, if no store was found from there upward.
    pub(crate) fn searched(&self) -> Option<&Path> {
        self.searched.as_deref()
    }
}

fn no_stack(message: String) -> Failure {
    Failure::new(MISSING, "no-such-stack", message)
}

/// The store of the working directory, or else of the nearest directory above it that has one, as git looks for its own. If
/// there is none: the place of a new one, and where the search began.
///
/// A store that belongs to another user, root excepted, must be named: otherwise anybody who can make a directory above, as
/// in `/tmp`, would decide where a push goes.
fn project_store() -> Result<(String, Option<PathBuf>), Failure> {
    let here =
        env::current_dir().map_err(|source| Failure::io("the working directory cannot be found", &source))?;
    for directory in here.ancestors() {
        let store = directory.join(PROJECT_STORE);
        // A directory that cannot be looked at is not this user's store.
        let Ok(found) = fs::metadata(&store) else {
            continue;
        };
        let user = geteuid();
        if found.uid() != user.as_raw() && found.uid() != 0 && !user.is_root() {
            return Err(
                Failure::usage(format!("the store {} belongs to another user", store.display()))
                    .hint("to use it all the same, name it with --root DIR"),
            );
        }
        return Ok((local(&store)?, None));
    }
    Ok((local(&here.join(PROJECT_STORE))?, Some(here)))
}

/// The address of a directory.
pub(crate) fn local(directory: &Path) -> Result<String, Failure> {
    match directory.to_str() {
        Some(directory) => Ok(format!("local:{directory}")),
        None => Err(Failure::usage(format!(
            "the path of the store, {}, is not UTF-8: use another one",
            directory.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_state::{Address, Backend, Error, MemoryCatalog};

    /// A place in a database, whose address has a password.
    struct Database(Address);

    impl Catalog for Database {
        fn name(&self) -> String {
            self.0.to_string()
        }
        fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
            MemoryCatalog::new().open(id)
        }
        fn stacks(&self) -> Result<Vec<StackId>, Error> {
            Ok(vec!["demo/prod".parse()?])
        }
        fn remove(&self, _id: &StackId) -> Result<(), Error> {
            Ok(())
        }
    }

    /// (contract, rule 6) An address was printed with its password.
    #[test]
    fn unknown_stack_names_its_place_without_a_password() {
        let registry = Registry::new().register("pg", |address| Ok(Database(address.clone())));
        let options = PlaceOptions {
            root: None,
            backend: Some("pg://alice:pa55@db/state".into()),
        };
        let place = options.open(&registry).unwrap();
        let Failure::Told(told) =
            place.unknown(&"demo/dev".parse().unwrap(), &place.catalog.stacks().unwrap())
        else {
            panic!("a failure that is told");
        };
        assert_eq!(told.message, "there is no stack demo/dev in pg://***@db/state");
    }
}
