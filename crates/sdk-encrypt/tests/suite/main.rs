//! The encrypters as a program uses them, and the primitives that they are built of.
#![expect(clippy::unwrap_used, reason = "a test helper fails its test")]

#[cfg(all(unix, feature = "age", feature = "key-file"))]
mod age;
mod env_key;
mod example;
#[cfg(all(unix, feature = "key-file"))]
mod key_file;
#[cfg(all(unix, feature = "command"))]
mod key_program;
#[cfg(feature = "legacy-aes-gcm")]
mod legacy;
mod primitives;
mod secrets;
