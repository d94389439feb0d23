"""Writes age_vectors.json: what the encrypter `age` must compute, and what it must refuse.

The values come from another implementation than the crate's own: HPKE (RFC 9180) and Bech32 (BIP 173) written out below,
X25519 and ChaCha20-Poly1305 from libsodium. To write the file anew (continuous integration does not):

    pip install pynacl
    python3 crates/sdk-encrypt/tests/age_vectors.py > crates/sdk-encrypt/tests/age_vectors.json

The output is the same in every run.
"""

import base64
import hashlib
import hmac
import json
import struct
import sys

from nacl import bindings as sodium

INFO = b"ubstate v2 age"


# ---- HPKE: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode -------------------------------------

KEM = b"KEM" + struct.pack(">H", 0x0020)
SUITE = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0003)


def extract(suite, salt, label, ikm):
    return hmac.new(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256).digest()


def expand(suite, prk, label, info, length):
    info = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    output, block, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        output += block
        counter += 1
    return output[:length]


def derive_secret(ikm):
    return expand(KEM, extract(KEM, b"", b"dkp_prk", ikm), b"sk", b"", 32)


def public_of(secret):
    return sodium.crypto_scalarmult_base(secret)


def key_and_nonce(dh, enc, public, info):
    shared = expand(KEM, extract(KEM, b"", b"eae_prk", dh), b"shared_secret", enc + public, 32)
    context = b"\0" + extract(SUITE, b"", b"psk_id_hash", b"") + extract(SUITE, b"", b"info_hash", info)
    secret = extract(SUITE, shared, b"secret", b"")
    return expand(SUITE, secret, b"key", context, 32), expand(SUITE, secret, b"base_nonce", context, 12)


def seal(public, ikm, plaintext, aad, info=INFO):
    ephemeral = derive_secret(ikm)
    enc = public_of(ephemeral)
    key, nonce = key_and_nonce(sodium.crypto_scalarmult(ephemeral, public), enc, public, info)
    return enc + sodium.crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, aad, nonce, key)


def seal_without_a_secret(public, enc, plaintext, aad):
    """What anybody can make when the shared secret is zero, whatever the recipient's key is."""
    key, nonce = key_and_nonce(bytes(32), enc, public, INFO)
    return enc + sodium.crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, aad, nonce, key)


def check_rfc_9180():
    """Appendix A.2.1."""
    sealed = seal(
        public_of(derive_secret(bytes.fromhex("1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df"))),
        bytes.fromhex("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b"),
        b"Beauty is truth, truth beauty", b"Count-0", b"Ode on a Grecian Urn")
    assert sealed.hex() == (
        "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"), sealed.hex()


# ---- Bech32 ---------------------------------------------------------------------------------------------------------

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def polymod(values):
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum


def bech32(hrp, data, constant=1, left_over=0):
    """`constant` is 0x2bc830a3 for Bech32m; `left_over` are the bits that fill up the last character."""
    bits = int.from_bytes(data, "big")
    padding = -8 * len(data) % 5
    characters = (8 * len(data) + padding) // 5
    bits = bits << padding | left_over
    values = [bits >> 5 * (characters - 1 - at) & 31 for at in range(characters)]
    low = hrp.lower()
    expanded = [ord(char) >> 5 for char in low] + [0] + [ord(char) & 31 for char in low]
    checksum = polymod(expanded + values + [0] * 6) ^ constant
    values += [checksum >> 5 * (5 - at) & 31 for at in range(6)]
    return low + "1" + "".join(ALPHABET[value] for value in values)


def secret_text(secret):
    return bech32("age-secret-key-", secret).upper()


def public_text(public):
    return bech32("age", public)


# ---- vectors --------------------------------------------------------------------------------------------------------

def hashed(name):
    return hashlib.sha256(b"ubstate age vectors, " + name.encode()).digest()


def b64(data):
    return base64.b64encode(data).decode()


def changed(data, index, bit=0):
    data = bytearray(data)
    data[index] ^= 1 << bit
    return bytes(data)


P = (1 << 255) - 19
# Every point whose order divides 8, in its canonical form, and the other forms of those that have one (RFC 7748,
# section 7; the numbers are those of https://cr.yp.to/ecdh.html).
LOW_ORDER = [
    ("zero", 0),
    ("one", 1),
    ("order 8", 325606250916557431795983626356110631294008115727848805560023387167927233504),
    ("order 8, the other", 39382357235489614581723060781553021112529911719440698176882885853963445705823),
    ("minus one", P - 1),
]
OTHER_FORMS = [
    ("zero as p", P),
    ("one as p + 1", P + 1),
    ("nine as p + 9", P + 9),
    ("2^255 - 1", (1 << 255) - 1),
]
ADA, BOB = hashed("ada"), hashed("bob")
SECRET = bytes(range(0x80, 0xA0))
CONTEXT = b"\x0a\0\0\0ubstate/v2\x05\0\0\0state"
IKM = hashed("ephemeral")


def identities():
    for name, secret in [("ada", ADA), ("bob", BOB), ("zeros", bytes(32)), ("ones", b"\xff" * 32)]:
        yield {"name": name, "secret": secret_text(secret), "public": public_text(public_of(secret))}


def invalid_secrets():
    good = secret_text(ADA)
    for why, text in [
        ("nothing at all", ""),
        ("lower case, which age refuses", good.lower()),
        ("mixed case", good[:-1] + good[-1].lower() if good[-1].isalpha() else good[:-2] + good[-2].lower() + good[-1]),
        ("a public key", public_text(public_of(ADA))),
        ("a typing error", good[:30] + ("Q" if good[30] != "Q" else "P") + good[31:]),
        ("the last character is missing", good[:-1]),
        ("a character more", good + "Q"),
        ("31 bytes", bech32("age-secret-key-", ADA[:31]).upper()),
        ("33 bytes", bech32("age-secret-key-", ADA + b"\0").upper()),
        ("bits left over that are not zero", bech32("age-secret-key-", ADA, left_over=1).upper()),
        ("the checksum of Bech32m", bech32("age-secret-key-", ADA, constant=0x2BC830A3).upper()),
        ("another human-readable part", bech32("age-secret-kex-", ADA).upper()),
        ("the key of a plugin", bech32("age-plugin-yubikey-", ADA).upper()),
        ("a post-quantum key", bech32("age-secret-key-pq-", ADA).upper()),
        ("base64 of 32 bytes", b64(ADA)),
        ("two keys in one line", good + " " + good),
        ("not ASCII", good[:-1] + "é"),
    ]:
        yield {"why": why, "text": text}


def invalid_publics():
    public = public_of(ADA)
    good = public_text(public)
    for why, text in [
        ("nothing at all", ""),
        ("upper case, which age refuses", good.upper()),
        ("mixed case", good[:-1] + good[-1].upper() if good[-1].isalpha() else good[:-2] + good[-2].upper() + good[-1]),
        ("a secret key", secret_text(ADA)),
        ("a typing error", good[:30] + ("q" if good[30] != "q" else "p") + good[31:]),
        ("the last character is missing", good[:-1]),
        ("a character more", good + "q"),
        ("31 bytes", bech32("age", public[:31])),
        ("33 bytes", bech32("age", public + b"\0")),
        ("bits left over that are not zero", bech32("age", public, left_over=1)),
        ("the checksum of Bech32m", bech32("age", public, constant=0x2BC830A3)),
        ("another human-readable part", bech32("bc", public)),
        ("the recipient of a plugin", bech32("age1yubikey", public)),
        ("a post-quantum recipient", bech32("age1pq", public * 38)),
        ("a key of SSH", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN"),
        ("hexadecimal", public.hex()),
        ("a blank inside", good[:10] + " " + good[10:]),
        ("not ASCII", good[:-1] + "é"),
        *((f"low order: {name}", bech32("age", number.to_bytes(32, "little"))) for name, number in LOW_ORDER),
        *((f"not canonical: {name}", bech32("age", number.to_bytes(32, "little"))) for name, number in OTHER_FORMS),
        ("not canonical: the highest bit is set", bech32("age", changed(public, 31, 7))),
    ]:
        yield {"why": why, "text": text}


def wraps():
    for name, secret, ikm, plaintext, aad in [
        ("no associated data", ADA, IKM, SECRET, b""),
        ("a context", BOB, IKM, SECRET, CONTEXT),
        ("zeros throughout", bytes(32), bytes(32), bytes(32), bytes(16)),
        ("ones throughout", b"\xff" * 32, b"\xff" * 32, b"\xff" * 32, b"\xff" * 17),
        ("a kilobyte of associated data", ADA, hashed("another"), BOB, bytes(range(256)) * 4),
    ]:
        yield {
            "name": name,
            "key": secret_text(secret),
            "ephemeral-ikm": ikm.hex(),
            "associated-data": aad.hex(),
            "secret": plaintext.hex(),
            "wrapped": b64(seal(public_of(secret), ikm, plaintext, aad)),
        }


def refused():
    """What Ada's key must not open. Every case differs in one thing from one that opens."""
    public = public_of(ADA)
    mine = public_text(public)
    good = seal(public, IKM, SECRET, CONTEXT)

    def case(why, wrapped=good, aad=CONTEXT, name="age", recorded=mine):
        return {"why": why, "name": name, "public-key": recorded, "associated-data": aad.hex(), "wrapped": b64(wrapped)}

    for part, first, last in [("encapsulated key", 0, 31), ("ciphertext", 32, 63), ("tag", 64, 79)]:
        yield case(f"the first byte of the {part} changed", changed(good, first))
        yield case(f"the last byte of the {part} changed", changed(good, last))
        yield case(f"the highest bit of the last byte of the {part} changed", changed(good, last, 7))
    yield case("nothing", b"")
    yield case("an encapsulated key alone", good[:32])
    yield case("the last byte is missing", good[:-1])
    yield case("the first byte is missing", good[1:])
    yield case("a byte more at the end", good + b"\0")
    yield case("a byte more at the front", b"\0" + good)
    yield case("the ciphertext first", good[32:] + good[:32])
    yield case("a secret of 31 bytes, well sealed", seal(public, IKM, SECRET[:31], CONTEXT))
    yield case("a secret of 33 bytes, well sealed", seal(public, IKM, SECRET + b"\0", CONTEXT))
    yield case("an empty secret, well sealed", seal(public, IKM, b"", CONTEXT))
    yield case("no associated data", aad=b"")
    yield case("a byte more of associated data", aad=CONTEXT + b"\0")
    yield case("one bit of the associated data changed", aad=changed(CONTEXT, 4))
    yield case("wrapped without the associated data", seal(public, IKM, SECRET, b""))
    yield case("wrapped with another info", seal(public, IKM, SECRET, CONTEXT, b"ubstate v3 age"))
    yield case("wrapped without info", seal(public, IKM, SECRET, CONTEXT, b""))
    yield case("another key's, recorded as this key's", seal(public_of(BOB), IKM, SECRET, CONTEXT))
    for name, number in LOW_ORDER + [form for form in OTHER_FORMS if form[0] != "nine as p + 9"][:2]:
        enc = number.to_bytes(32, "little")
        yield case(f"an encapsulated key of low order, {name}, and a secret that everybody knows",
                   seal_without_a_secret(public, enc, SECRET, CONTEXT))
    yield case("zeros in the place of everything", bytes(80))
    yield case("it would open, but names another key", recorded=public_text(public_of(BOB)))
    yield case("it would open, but names no key", recorded=None)
    yield case("it would open, but the public key is empty", recorded="")
    yield case("it would open, but the public key is in capitals", recorded=mine.upper())
    yield case("it would open, but the public key is cut short", recorded=mine[:-1])
    yield case("it would open, but the recipient is of another kind", name="env-key")


check_rfc_9180()
json.dump(
    {
        "identities": list(identities()),
        "invalid-secrets": list(invalid_secrets()),
        "invalid-publics": list(invalid_publics()),
        "wraps": list(wraps()),
        "refused": list(refused()),
    },
    sys.stdout,
    indent=1,
    ensure_ascii=True,
)
print()
