/// No encryption: a keyring of `Noop` stores snapshots unencrypted, passwords included.
///
/// It is not an [`Encrypter`](crate::Encrypter), so that it can never be one recipient among real ones.
///
/// ```
/// let ring = sdk_encrypt::Keyring::from(sdk_encrypt::Noop);
/// assert!(ring.is_plain());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Noop;

impl Noop {
    /// The name that sealed files of version 1 and error messages use.
    pub const NAME: &'static str = "noop";
}
