//! Encrypters for infrastructure state: the keys that decide who can open a sealed snapshot.
//!
//! ```
//! use sdk_encrypt::{EnvKey, Encrypter as _, MasterKey};
//!
//! # fn main() -> Result<(), sdk_encrypt::Error> {
//! let encrypter = EnvKey::new("STATE_KEY", MasterKey::generate()?);
//! let recipient = encrypter.recipient();
//! let wrapped = encrypter.wrap(recipient, &[7; 32], b"where it belongs")?.unwrap_or_default();
//! let secret = encrypter.unwrap(recipient, &wrapped, b"where it belongs")?;
//! assert_eq!(secret.as_deref().map(Vec::as_slice), Some(&[7; 32][..]));
//! # Ok(())
//! # }
//! ```
//!
//! A store does this for each file. A program makes a [`Keyring`] and passes it to the store:
//!
//! ```
//! use sdk_encrypt::{EnvKey, Keyring, MasterKey};
//!
//! # fn main() -> Result<(), sdk_encrypt::Error> {
//! let (team, ci) = (MasterKey::generate()?, MasterKey::generate()?);
//! let ring = Keyring::from(EnvKey::new("TEAM_KEY", team)).also_seal_for(EnvKey::new("CI_KEY", ci))?;
//! assert_eq!(ring.recipients().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go from here
//!
//! | to | see |
//! |---|---|
//! | use the keys of `age-keygen`, and seal for colleagues' public keys | `Age`, `AgeRecipient` |
//! | take 32 bytes from the environment or a file | [`EnvKey`], `KeyFile` |
//! | make a key | `AgeKey::generate`, `Age::create`, [`MasterKey::generate`], `KeyFile::create` |
//! | seal for several keys, or replace a key | [`Keyring::also_seal_for`], [`Keyring::also_open`] |
//! | use a passphrase | `Passphrase` |
//! | use a key service or a device | [`Encrypter`], and the example `implement_encrypter`; or `KeyProgram`, without Rust |
//! | read the files of envelope version 1 | [`LegacyCipher`], [`Keyring::accept_v1`] |
//! | encrypt nothing | [`Noop`] |
//!
//! # Guarantees
//!
//! * A wrapped key that was changed, or that was wrapped for other associated data, does not unwrap.
//! * Keys are erased from memory when they are dropped, and so is the stack memory of the operations on them. No key appears
//!   in `Debug`, in an error or in a log.
//! * The reader's configuration chooses the key, never the file. The records in a file only help to find the key.
//!
//! # Limitations
//!
//! * This crate cannot protect keys in swap, core dumps, processor registers and the environment of the process.
//! * A key cannot be revoked: it opens every copy of every file that was sealed for it.
//! * Keys in files exist on Unix only.
//! * Every recipient of a file can also write one: recipients do not sign. For a public key of age everybody can.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `age` | yes | `Age` and `AgeRecipient`: keys in age's format, wrapped for with HPKE (RFC 9180) |
//! | `key-file` | yes | `KeyFile`, on Unix, and the files of `Age`: keys in files that only their owner can read |
//! | `command` | no | `KeyProgram`: a program that keeps the key |
//! | `passphrase` | no | `Passphrase`: Argon2id (RFC 9106) |
//! | `legacy-aes-gcm` | no | `EnvKey::legacy`: the AES-256-GCM of envelope version 1 (NIST SP 800-38D) |

#[cfg(feature = "age")]
mod age;
#[cfg(feature = "age")]
mod age_key;
mod encrypter;
mod env_key;
mod environment;
mod error;
#[cfg(all(unix, feature = "key-file"))]
mod key_file;
#[cfg(feature = "command")]
mod key_program;
mod keyring;
mod legacy;
mod master_key;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod memory_tests;
mod noop;
#[cfg(feature = "passphrase")]
mod passphrase;
#[cfg(all(unix, feature = "key-file"))]
mod private_file;
mod recipient;

#[cfg(feature = "age")]
pub use age::Age;
#[cfg(feature = "age")]
pub use age_key::{AgeKey, AgeRecipient};
pub use encrypter::Encrypter;
pub use env_key::EnvKey;
pub use error::{Error, ErrorKind};
#[cfg(all(unix, feature = "key-file"))]
pub use key_file::KeyFile;
#[cfg(feature = "command")]
pub use key_program::KeyProgram;
pub use keyring::Keyring;
pub use legacy::LegacyCipher;
pub use master_key::{Fingerprint, MasterKey};
pub use noop::Noop;
#[cfg(feature = "passphrase")]
pub use passphrase::Passphrase;
#[cfg(all(unix, feature = "key-file"))]
pub use private_file::Published;
pub use recipient::{Recipient, RecipientBody};
pub use zeroize::Zeroizing;
