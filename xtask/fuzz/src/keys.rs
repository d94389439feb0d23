use sdk_state::encrypt::{EnvKey, Keyring, MasterKey, Noop};
use std::sync::LazyLock;

/// The key of the published test vectors, so that they are seeds that open.
const KEY: &str = "TSESzfOGUO54yA8fbJBjGiyQfD3BvJj/McmPRQthaMQ=";

/// The keyrings that a target opens with. All of them accept version 1, `without_v1` apart.
pub struct Rings {
    /// Opens what is encrypted.
    pub real: Keyring,
    /// Opens what is not.
    pub plain: Keyring,
    /// The real one with another key.
    pub other: Keyring,
    /// The real one, as it is unless it is told to accept version 1.
    pub without_v1: Keyring,
}

/// Made once: deriving keys takes longer than most inputs do.
pub fn rings() -> &'static Rings {
    static RINGS: LazyLock<Rings> = LazyLock::new(|| Rings {
        real: accepting_v1(|| key(KEY)),
        plain: Keyring::from(Noop).accept_v1(Noop).expect("two plain ones"),
        other: accepting_v1(|| key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")),
        without_v1: Keyring::from(key(KEY)),
    });
    &RINGS
}

fn accepting_v1(key: impl Fn() -> EnvKey) -> Keyring {
    Keyring::from(key())
        .accept_v1(key().legacy())
        .expect("two real ones")
}

fn key(text: &str) -> EnvKey {
    EnvKey::new("KEY", MasterKey::from_base64(text).expect("32 bytes"))
}
