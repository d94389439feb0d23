//! A custom encrypter: the key is kept in a service, which wraps and unwraps small secrets and never reveals the key.
//!
//! The service here is in this process. A real one is asked over the network or a socket; the encrypter stays as it is.
//!
//! `cargo run -p sdk-encrypt --example implement_encrypter`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use rand::TryRng as _;
use rand::rngs::SysRng;
use sdk_encrypt::{Encrypter, EnvKey, Error, ErrorKind, Keyring, MasterKey, Recipient, Zeroizing};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = Arc::new(InProcess::with_keys(&["team", "ci"])?);
    let key = |name: &str| ServiceKey::new(Arc::clone(&service), name);

    // A store asks for this with the 32-byte data key of each file that it seals or opens.
    let (secret, place) = ([7; 32], b"network/prod at 2026-07-10T12:00:00Z");
    let recipient = key("team").recipient().clone();
    let wrapped = key("team").wrap(&recipient, &secret, place)?;
    let wrapped = wrapped.ok_or("its own recipient is another key")?;
    println!("recorded in clear: {recipient:?}");

    let open = |key: &dyn Encrypter, place: &[u8]| key.unwrap(&recipient, &wrapped, place);
    let opened = open(&key("team"), place)?.ok_or("its own key does not open it")?;
    assert_eq!(*opened, secret);
    assert!(
        open(&key("team"), b"network/dev")?.is_none(),
        "it is bound to its place"
    );
    assert!(
        open(&key("ci"), place)?.is_none(),
        "another key says that it is not its own"
    );

    // A service that does not answer does not mean a wrong key: the caller may try again.
    let gone = ServiceKey::new(Arc::new(InProcess::default()), "team");
    match open(&gone, place) {
        Err(error) if error.kind() == ErrorKind::Unavailable => println!("{error}"),
        other => return Err(format!("the service is gone: {other:?}").into()),
    }

    // A keyring combines it with any other kind of key.
    let ring = Keyring::from(key("team")).also_open(EnvKey::new("STATE_KEY", MasterKey::generate()?))?;
    println!("{ring:?} seals for {} recipient", ring.recipients().len());
    Ok(())
}

/// The interface of a key service. `context` is authenticated but not stored: unwrapping needs the same context.
trait KeyService: Send + Sync {
    fn wrap(&self, key: &str, secret: &[u8], context: &[u8]) -> io::Result<Vec<u8>>;

    /// `None` when the key did not wrap this, or not in this context.
    fn unwrap(&self, key: &str, wrapped: &[u8], context: &[u8]) -> io::Result<Option<Zeroizing<Vec<u8>>>>;
}

/// A key of a service, by its name there.
struct ServiceKey<S> {
    service: S,
    key: String,
    recipient: Recipient,
}

impl<S: KeyService> Encrypter for ServiceKey<S> {
    fn describe(&self) -> String {
        format!("{} {}", self.recipient.name, self.key)
    }

    fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    fn wrap(
        &self,
        recipient: &Recipient,
        data_key: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        if !recipient.is_same_key(&self.recipient) {
            return Ok(None);
        }
        let wrapped = self.service.wrap(&self.key, data_key, associated_data);
        wrapped.map(Some).map_err(|source| self.unavailable(source))
    }

    fn unwrap(
        &self,
        recipient: &Recipient,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        // The file does not choose the key: a file that is sealed for another key is not ours, and the service is not asked.
        if !recipient.is_same_key(&self.recipient) {
            return Ok(None);
        }
        let secret = self.service.unwrap(&self.key, wrapped, associated_data);
        secret.map_err(|source| self.unavailable(source))
    }
}

impl<S> ServiceKey<S> {
    fn new(service: S, key: &str) -> Self {
        Self {
            service,
            key: key.into(),
            // Every file has this, unencrypted: the key's name, by which it is found again, and nothing secret.
            recipient: Recipient::new("example-service").with("key", key),
        }
    }

    fn unavailable(&self, source: io::Error) -> Error {
        let message = format!(
            "the key service did not answer for the key {}: try again",
            self.key
        );
        Error::new(ErrorKind::Unavailable, message).with_source(source)
    }
}

/// A service that keeps its keys in memory and wraps as `nonce(24) ‖ XChaCha20-Poly1305(key, nonce, context, secret)`.
#[derive(Default)]
struct InProcess(BTreeMap<String, XChaCha20Poly1305>);

impl InProcess {
    fn with_keys(names: &[&str]) -> io::Result<Self> {
        let keys = names.iter().map(|&name| {
            let mut key = Zeroizing::new([0; 32]);
            SysRng.try_fill_bytes(&mut *key).map_err(io::Error::other)?;
            Ok((name.into(), XChaCha20Poly1305::new((&*key).into())))
        });
        Ok(Self(keys.collect::<io::Result<_>>()?))
    }

    fn cipher(&self, key: &str) -> io::Result<&XChaCha20Poly1305> {
        self.0.get(key).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl KeyService for Arc<InProcess> {
    fn wrap(&self, key: &str, secret: &[u8], context: &[u8]) -> io::Result<Vec<u8>> {
        let mut nonce = [0; 24];
        SysRng.try_fill_bytes(&mut nonce).map_err(io::Error::other)?;
        let payload = Payload {
            msg: secret,
            aad: context,
        };
        match self.cipher(key)?.encrypt(&XNonce::from(nonce), payload) {
            Ok(sealed) => Ok([&nonce, sealed.as_slice()].concat()),
            Err(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn unwrap(&self, key: &str, wrapped: &[u8], context: &[u8]) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let cipher = self.cipher(key)?;
        let Some((nonce, sealed)) = wrapped.split_first_chunk::<24>() else {
            return Ok(None);
        };
        let payload = Payload {
            msg: sealed,
            aad: context,
        };
        let secret = cipher.decrypt(&XNonce::from(*nonce), payload);
        Ok(secret.ok().map(Zeroizing::new))
    }
}
