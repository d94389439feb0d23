"""Writes passphrase_vectors.json: what the encrypter `passphrase` must open.

The values come from another implementation than the crate's own: Argon2id from the reference implementation, HKDF written
out, XChaCha20-Poly1305 from libsodium. To write the file anew (continuous integration does not):

    pip install argon2-cffi pynacl
    python3 crates/sdk-encrypt/tests/passphrase_vectors.py > crates/sdk-encrypt/tests/passphrase_vectors.json

The output is the same in every run.
"""

import base64
import hashlib
import hmac
import json
import sys

from argon2.low_level import Type, hash_secret_raw
from nacl import bindings as sodium


def hkdf(key, info, length):
    """RFC 5869 with SHA-256 and an empty salt, one block of output at most."""
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\1", hashlib.sha256).digest()[:length]


def b64(data):
    return base64.b64encode(data).decode()


NONCE = bytes(range(0x40, 0x58))
SECRET = bytes(range(0x80, 0xA0))
CONTEXT = b"\x0a\0\0\0ubstate/v2\x05\0\0\0state"


def vector(name, passphrase, salt, memory, passes, lanes, context=CONTEXT):
    key = hash_secret_raw(passphrase.encode(), salt, passes, memory, lanes, 32, Type.ID)
    wrap_key = hkdf(key, b"ubstate v2 wrap", 32)
    return {
        "name": name,
        "passphrase": passphrase,
        "recipient": {
            "fingerprint": hkdf(key, b"ubstate v2 fingerprint", 8).hex(),
            "lanes": lanes,
            "memory-kib": memory,
            "passes": passes,
            "salt": b64(salt),
        },
        "associated-data": context.hex(),
        "secret": SECRET.hex(),
        "wrapped": b64(NONCE + sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(SECRET, context, NONCE, wrap_key)),
    }


json.dump(
    [
        vector("the least cost", "swordfish", bytes(range(16)), 19 * 1024, 1, 1),
        vector("what writers use", "correct horse battery staple", b"\xff" * 16, 64 * 1024, 3, 4),
        vector("not ASCII, and nothing is normalised", "größer 🚀 ", bytes(16), 20 * 1024, 2, 16, b""),
        vector("sixteen passes", "x", bytes(range(16))[::-1], 19 * 1024, 16, 3),
    ],
    sys.stdout,
    indent=1,
    ensure_ascii=True,
)
print()
