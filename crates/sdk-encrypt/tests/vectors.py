"""Writes vectors.json: what the encrypters must compute, and what they must refuse.

The values come from another implementation than the crate's own: HKDF written out below, XChaCha20-Poly1305 from
libsodium. To write the file anew (continuous integration does not):

    pip install pynacl
    python3 crates/sdk-encrypt/tests/vectors.py > crates/sdk-encrypt/tests/vectors.json

The output is the same in every run.
"""

import base64
import hashlib
import hmac
import json
import sys

from nacl import bindings as sodium


def hkdf(key, info, length):
    """RFC 5869 with SHA-256 and an empty salt, which means 32 zero bytes."""
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    output, block, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.new(extracted, block + info + bytes([counter]), hashlib.sha256).digest()
        output += block
        counter += 1
    return output[:length]


def fingerprint(master):
    return hkdf(master, b"ubstate v2 fingerprint", 8).hex()


def seal(key, nonce, secret, associated_data):
    return nonce + sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(secret, associated_data, nonce, key)


def wrap(master, nonce, secret, associated_data):
    return seal(hkdf(master, b"ubstate v2 wrap", 32), nonce, secret, associated_data)


def text(data):
    return base64.b64encode(data).decode()


def changed(data, index, bit=0):
    """The same bytes with one bit of one byte turned over."""
    data = bytearray(data)
    data[index] ^= 1 << bit
    return bytes(data)


KEYS = [
    ("zeros", bytes(32)),
    ("ones", b"\xff" * 32),
    ("counting", bytes(range(32))),
    ("hashed", hashlib.sha256(b"ubstate test vector").digest()),
]
COUNTING, HASHED = KEYS[2][1], KEYS[3][1]
NONCE = bytes(range(0x40, 0x58))
SECRET = bytes(range(0x80, 0xA0))
CONTEXT = b"\x0a\0\0\0ubstate/v2\x05\0\0\0state"


def keys():
    for name, key in KEYS:
        yield {
            "name": name,
            "key": text(key),
            "fingerprint": fingerprint(key),
            "wrapping-key": hkdf(key, b"ubstate v2 wrap", 32).hex(),
        }


def invalid_keys():
    good = text(HASHED)
    # The last character before the padding carries two bits that must be zero.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    loose = good[:42] + alphabet[alphabet.index(good[42]) + 1] + "="
    for why, key in [
        ("nothing at all", ""),
        ("white space alone", " \n\t "),
        ("31 bytes", text(HASHED[:31])),
        ("33 bytes", text(HASHED + b"\0")),
        ("16 bytes, an AES-128 key", text(HASHED[:16])),
        ("the padding is missing", good[:-1]),
        ("one padding character too many", good + "="),
        ("the alphabet for addresses", base64.urlsafe_b64encode(b"\xff" * 32).decode()),
        ("bits that are not zero before the padding", loose),
        ("a line feed inside", good[:20] + "\n" + good[20:]),
        ("a blank in the place of a character", good[:20] + " " + good[21:]),
        ("44 characters of which one is outside the alphabet", good[:20] + "*" + good[21:]),
        ("hexadecimal", HASHED.hex()),
        ("44 characters that decode to 33 bytes", "A" * 44),
        ("44 characters that decode to 31 bytes", "A" * 42 + "=="),
        ("quoted", '"' + good + '"'),
        ("not ASCII", good[:42] + "é"),
        ("a zero byte at the end", good + "\0"),
    ]:
        yield {"why": why, "key": key}


def wraps():
    for name, key, nonce, secret, associated_data in [
        ("no associated data", COUNTING, NONCE, SECRET, b""),
        ("a context", HASHED, NONCE, SECRET, CONTEXT),
        ("zeros throughout", bytes(32), bytes(24), bytes(32), bytes(16)),
        ("ones throughout", b"\xff" * 32, b"\xff" * 24, b"\xff" * 32, b"\xff" * 17),
        ("a kilobyte of associated data", COUNTING, NONCE[::-1], HASHED, bytes(range(256)) * 4),
    ]:
        yield {
            "name": name,
            "key": text(key),
            "nonce": nonce.hex(),
            "associated-data": associated_data.hex(),
            "secret": secret.hex(),
            "wrapped": text(wrap(key, nonce, secret, associated_data)),
        }


def refused():
    """What `decrypt` of the key `hashed` must not open. Every case differs in one thing from one that opens."""
    good = wrap(HASHED, NONCE, SECRET, CONTEXT)
    wrapping_key = hkdf(HASHED, b"ubstate v2 wrap", 32)
    mine = fingerprint(HASHED)

    def case(why, wrapped=good, associated_data=CONTEXT, name="env-key", recorded=mine):
        return {
            "why": why,
            "name": name,
            "fingerprint": recorded,
            "associated-data": associated_data.hex(),
            "wrapped": text(wrapped),
        }

    for part, first, last in [("nonce", 0, 23), ("ciphertext", 24, 55), ("tag", 56, 71)]:
        yield case(f"the first byte of the {part} changed", changed(good, first))
        yield case(f"the last byte of the {part} changed", changed(good, last))
        yield case(f"the highest bit in the middle of the {part} changed", changed(good, (first + last) // 2, 7))
    yield case("nothing", b"")
    yield case("a nonce alone", good[:24])
    yield case("no ciphertext between nonce and tag", seal(wrapping_key, NONCE, b"", CONTEXT))
    yield case("the last byte is missing", good[:-1])
    yield case("the first byte is missing", good[1:])
    yield case("a byte more at the end", good + b"\0")
    yield case("a byte more at the front", b"\0" + good)
    yield case("the same twice", good + good)
    yield case("a secret of 31 bytes, well sealed", wrap(HASHED, NONCE, SECRET[:31], CONTEXT))
    yield case("a secret of 33 bytes, well sealed", wrap(HASHED, NONCE, SECRET + b"\0", CONTEXT))
    yield case("a secret of 64 bytes, well sealed", wrap(HASHED, NONCE, SECRET * 2, CONTEXT))
    yield case("the nonce at the end", good[24:] + good[:24])
    yield case("tag before ciphertext", good[:24] + good[56:] + good[24:56])
    yield case("no associated data", associated_data=b"")
    yield case("a byte more of associated data", associated_data=CONTEXT + b"\0")
    yield case("a byte less of associated data", associated_data=CONTEXT[:-1])
    yield case("one bit of the associated data changed", associated_data=changed(CONTEXT, 4))
    yield case("wrapped without the associated data", wrap(HASHED, NONCE, SECRET, b""))
    yield case("another key's, recorded as this key's", wrap(COUNTING, NONCE, SECRET, CONTEXT))
    yield case("sealed with the master key itself", seal(HASHED, NONCE, SECRET, CONTEXT))
    yield case(
        "sealed with the key of another purpose",
        seal(hkdf(HASHED, b"ubstate v2 body", 32), NONCE, SECRET, CONTEXT),
    )
    yield case(
        "ChaCha20-Poly1305 with a nonce of 12 bytes",
        NONCE + sodium.crypto_aead_chacha20poly1305_ietf_encrypt(SECRET, CONTEXT, NONCE[:12], wrapping_key),
    )
    yield case("zeros in the place of everything", bytes(72))
    yield case("it would open, but names another key", recorded=fingerprint(COUNTING))
    yield case("it would open, but names no key", recorded=None)
    yield case("it would open, but the fingerprint is empty", recorded="")
    yield case("it would open, but the fingerprint is in capitals", recorded=mine.upper())
    yield case("it would open, but the fingerprint is cut short", recorded=mine[:15])
    yield case("it would open, but the fingerprint is longer", recorded=mine + "0")
    yield case("it would open, but the recipient is of another kind", name="aws-kms")


json.dump(
    {
        "keys": list(keys()),
        "invalid-keys": list(invalid_keys()),
        "wraps": list(wraps()),
        "refused": list(refused()),
    },
    sys.stdout,
    indent=1,
    ensure_ascii=True,
)
print()
