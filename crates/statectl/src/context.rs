use crate::exit::Failure;
use crate::keys::NoRing;
use crate::options::Options;
use crate::output::Output;
use crate::stack::Stack;
use sdk_state::encrypt::Noop;
use sdk_state::{ErrorKind, Registry, Revision, Root, StackId};

/// What a command has at hand: the backends, the options, the way out.
pub(crate) struct Context {
    registry: Registry,
    options: Options,
    output: Output,
}

impl Context {
    pub(crate) fn new(registry: Registry, options: Options) -> Self {
        Self {
            output: Output::new(options.format, options.color),
            registry,
            options,
        }
    }

    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Where the stacks are.
    pub(crate) fn root(&self) -> Result<Box<dyn Root>, Failure> {
        let address = self.options.address()?;
        self.registry.open(&address).map_err(|error| match error.kind() {
            ErrorKind::Unsupported => Failure::usage(error.to_string()),
            _ => error.into(),
        })
    }

    /// A stack for a command that opens no snapshot: no key is asked for.
    pub(crate) fn keyless(&self, name: &str) -> Result<Stack<'_>, Failure> {
        let id: StackId = name.parse()?;
        Stack::open(self.root()?, &id, Noop.into(), &self.options.keys)
    }

    /// A stack for a command that opens its current snapshot, or `rev`.
    ///
    /// Where a key is missing, a revision that does not exist is still said to be missing, and of one that exists it is
    /// told for which keys it was sealed.
    pub(crate) fn readable(&self, name: &str, rev: Option<&Revision>) -> Result<Stack<'_>, Failure> {
        let keyless = self.keyless(name)?;
        match self.options.keys.ring() {
            Ok(ring) => keyless.with_keys(ring),
            Err(NoRing::Other(failure)) => Err(failure),
            Err(missing) => {
                let rev = match rev {
                    Some(rev) => rev.clone(),
                    None => keyless.current_rev()?,
                };
                let header = keyless.store().header(&rev)?;
                Err(missing.of(keyless.id(), &header, &self.options.keys))
            }
        }
    }

    /// A stack for a command that seals a snapshot. In a root without any snapshot the default key is made now.
    pub(crate) fn writable(&self, name: &str) -> Result<Stack<'_>, Failure> {
        let keyless = self.keyless(name)?;
        let keys = &self.options.keys;
        match keys.ring() {
            Ok(ring) => keyless.with_keys(ring),
            Err(NoRing::Other(failure)) => Err(failure),
            Err(missing) => match keyless.newest_header_in_root()? {
                Some((id, header)) => match keys.ring() {
                    // The first writer into this root has made it since.
                    Ok(ring) => keyless.with_keys(ring),
                    Err(missing) => Err(missing.of(&id, &header, keys)),
                },
                None => keyless.with_keys(keys.ring_with_new_default(missing, &self.output)?),
            },
        }
    }
}
