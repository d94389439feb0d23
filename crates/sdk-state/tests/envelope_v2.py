#!/usr/bin/env python3
"""Envelope version 2: a second implementation, to check the first one against.

    python3 envelope_v2.py seal OUT --factory F --stack S --revision R --payload state --key BASE64 < plaintext
    python3 envelope_v2.py open FILE --factory F --stack S --revision R --payload state --key BASE64
    python3 envelope_v2.py vectors > vectors.json
    python3 envelope_v2.py check vectors.json

`--key none` stands for a plain keyring. It needs: pip install pynacl zstandard. An error is printed as `Kind: why`
and ends with status 1. Keys are never erased and comparisons are not all in constant time: this is no product.
"""

import argparse
import base64
import hashlib
import hmac
import json
import re
import struct
import sys

import zstandard
from nacl import bindings as sodium
from nacl.exceptions import CryptoError

MAGIC = b"\x8aUBSEAL\n"
MAX_HEADER = 1 << 20
MAX_WINDOW = 128 << 20
DEFAULT_LIMIT = 1 << 30
SLACK = 2 << 20
MAX_TEXT = 4096
MAX_RECIPIENTS = 16
MAX_DEPTH = 16
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MEMBERS = [
    "envelope-version", "payload-type", "factory", "stack", "revision", "parent", "compression", "length", "seal",
    "recipients", "provenance",
]
OF_A_RUN = ["run-id", "replaces", "genesis"]
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._+-]{0,127}")
RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
PROVENANCE = ["run", "author", "host", "tool", "message", "written-at"]


class Failure(Exception):
    """`kind` is one of Damaged, WrongKey, Misplaced, Refused, TooLarge."""

    def __init__(self, kind, why):
        super().__init__(f"{kind}: {why}")
        self.kind = kind


def damaged(why):
    return Failure("Damaged", why)


# ---- the primitives -------------------------------------------------------------------------------------------------

def hkdf(key, info, length=32):
    """RFC 5869, SHA-256, empty salt (32 zero bytes)."""
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    output, block, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.new(extracted, block + info + bytes([counter]), hashlib.sha256).digest()
        output += block
        counter += 1
    return output[:length]


def fingerprint(master):
    return hkdf(master, b"ubstate v2 fingerprint", 8).hex()


def wrap(master, nonce, data_key, associated_data):
    key = hkdf(master, b"ubstate v2 wrap")
    return nonce + sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(data_key, associated_data, nonce, key)


def unwrap(master, wrapped, associated_data):
    if len(wrapped) != 72:
        return None
    key = hkdf(master, b"ubstate v2 wrap")
    try:
        return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(wrapped[24:], associated_data, wrapped[:24], key)
    except CryptoError:
        return None


def field(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<I", len(data)) + data


def context(header):
    names = ["payload-type", "factory", "stack", "revision", "compression"]
    return b"".join(map(field, ["ubstate/v2", *(header[name] for name in names), str(header["length"])]))


def header_tag(data_key, head):
    return hmac.new(hkdf(data_key, b"ubstate v2 header"), head, hashlib.sha256).digest()


def seal_body(data_key, compressed, associated_data):
    key = hkdf(data_key, b"ubstate v2 body")
    return sodium.crypto_aead_chacha20poly1305_ietf_encrypt(compressed, associated_data, bytes(12), key)


def open_body(data_key, body, associated_data):
    key = hkdf(data_key, b"ubstate v2 body")
    try:
        return sodium.crypto_aead_chacha20poly1305_ietf_decrypt(body, associated_data, bytes(12), key)
    except (CryptoError, ValueError):
        raise damaged("the body was changed") from None


# ---- one body that opens under two keys -----------------------------------------------------------------------------

P1305 = (1 << 130) - 5


def chacha20_block(key, counter, nonce):
    """RFC 8439, section 2.3."""
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *struct.unpack("<8I", key), counter,
             *struct.unpack("<3I", nonce)]
    x = list(start)
    for a, b, c, d in [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                       (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)] * 10:
        for one, other, target, bits in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
            x[one] = (x[one] + x[other]) & 0xFFFFFFFF
            x[target] ^= x[one]
            x[target] = ((x[target] << bits) | (x[target] >> (32 - bits))) & 0xFFFFFFFF
    return struct.pack("<16I", *((word + first) & 0xFFFFFFFF for word, first in zip(x, start)))


def body_for_two_keys(first, second, associated_data):
    """Two blocks and a tag that ChaCha20-Poly1305 accepts under both body keys: it does not commit to its key.

    The tag is a polynomial in the blocks modulo 2^130 - 5, so the second block is the solution of a linear equation,
    and one solution in four or so is a block of 16 bytes.
    """
    def halves(data_key):
        block = chacha20_block(hkdf(data_key, b"ubstate v2 body"), 0, bytes(12))
        r = int.from_bytes(block[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
        return r, int.from_bytes(block[16:32], "little")

    def number(block):
        return int.from_bytes(block, "little") + (1 << 128)

    (r1, s1), (r2, s2) = halves(first), halves(second)
    lengths = struct.pack("<QQ", len(associated_data), 32)
    padded = associated_data + bytes(-len(associated_data) % 16)
    for trial in range(1000):
        block = trial.to_bytes(16, "little")
        known = [padded[at:at + 16] for at in range(0, len(padded), 16)] + [block]

        def constant(r):
            sum_ = 0
            for one in known:
                sum_ = (sum_ + number(one)) * r % P1305
            return (sum_ * r + number(lengths)) * r % P1305

        for carry in (-1, 0, 1):
            difference = (s2 - s1 + (carry << 128)) - (constant(r1) - constant(r2))
            free = difference * pow(r1 * r1 - r2 * r2, -1, P1305) % P1305 - (1 << 128)
            if not 0 <= free < 1 << 128:
                continue
            tags = [((constant(r) + number(free.to_bytes(16, "little")) * r * r) % P1305 + s) % (1 << 128)
                    for r, s in [(r1, s1), (r2, s2)]]
            if tags[0] == tags[1]:
                return block + free.to_bytes(16, "little") + tags[0].to_bytes(16, "little")
    raise AssertionError("no solution in a thousand trials")


# ---- sealing --------------------------------------------------------------------------------------------------------

def recipient(master, nonce, name="env-key", variable="KEY"):
    """For whom to seal, and the nonce of the wrap."""
    body = {"fingerprint": fingerprint(master)}
    if name == "env-key":
        body = {"env-var": variable, **body}
    return {"name": name, "body": body, "master": master, "nonce": nonce}


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def head_of(header_bytes):
    return MAGIC + struct.pack("<I", len(header_bytes)) + header_bytes


def make_header(*, payload, factory, stack, revision, parent, provenance, compression, length, recipients, data_key,
                of_a_run=None):
    header = {
        "envelope-version": 2, "payload-type": payload, "factory": factory, "stack": stack, "revision": revision,
        "parent": parent, "compression": compression, "length": length,
        "seal": "chacha20-poly1305" if recipients else "none", "recipients": [], "provenance": provenance,
        **(of_a_run or {}),
    }
    header["recipients"] = wrap_for(recipients, data_key, context(header))
    return header


def wrap_for(recipients, data_key, bound):
    return [{"name": one["name"], "body": one["body"],
             "wrapped-key": b64(wrap(one["master"], one["nonce"], data_key, bound + field(one["name"])))}
            for one in recipients]


def assemble(header, data_key, body):
    """Header as a dictionary or as bytes; body already sealed (or in clear when `data_key` is None)."""
    head = head_of(header if isinstance(header, bytes) else compact(header))
    tag = hashlib.sha256(head + body).digest() if data_key is None else header_tag(data_key, head)
    return head + tag + body


def seal(plaintext, *, payload, factory, stack, revision, parent=None, provenance=None, compression="zstd",
         recipients=(), data_key=None, of_a_run=None):
    """`recipients` empty means `seal none`. In production the data key and the nonces are random."""
    if provenance is None:
        provenance = {"written-at": "2026-07-10T12:00:00Z"}
    header = make_header(payload=payload, factory=factory, stack=stack, revision=revision, parent=parent,
                         provenance=provenance, compression=compression, length=len(plaintext),
                         recipients=recipients, data_key=data_key, of_a_run=of_a_run)
    body = zstandard.ZstdCompressor(level=3).compress(plaintext) if compression == "zstd" else plaintext
    if recipients:
        body = seal_body(data_key, body, context(header))
    return assemble(header, data_key if recipients else None, body)


# ---- opening --------------------------------------------------------------------------------------------------------

def no_repeats(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise damaged("a member is repeated")
    return members


def depth(value):
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from texts(member)


def not_json(text):
    raise damaged(f"{text} is not JSON")


def parse(data, version_member="envelope-version", known_version=2):
    try:
        text = data.decode("utf-8")
        # `version first`: a file of a newer version may break every other rule of this one.
        loose = json.loads(text, parse_constant=not_json)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise damaged("the header is not JSON") from None
    if not isinstance(loose, dict):
        raise damaged("the header is no object")
    version = loose.get(version_member)
    if type(version) is not int:
        raise damaged("the header has no version")
    if version != known_version:
        raise Failure("Refused", f"version {version}")
    header = json.loads(text, object_pairs_hook=no_repeats, parse_constant=not_json)
    if depth(header) > MAX_DEPTH:
        raise damaged("the header is nested too deeply")
    if any(0xD800 <= ord(char) < 0xE000 for one in texts(header) for char in one):
        raise damaged("half a surrogate pair")
    return header


def members(value, required, optional=()):
    if not isinstance(value, dict):
        raise damaged("not an object")
    if unknown := set(value) - set(required) - set(optional):
        raise damaged(f"unknown member {sorted(unknown)[0]!r}")
    if missing := set(required) - set(value):
        raise damaged(f"member {sorted(missing)[0]!r} is missing")


def string(value):
    if not isinstance(value, str):
        raise damaged("a text is expected")
    return value


def canonical_base64(text):
    try:
        data = base64.b64decode(string(text), validate=True)
    except ValueError:
        raise damaged("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise damaged("base64 that is not canonical")
    return data


def validate(header):
    members(header, MEMBERS, OF_A_RUN)
    for name in ["payload-type", "factory", "stack", "revision"]:
        string(header[name])
    for name in ["parent", "replaces"]:
        if header.get(name) is not None and not REVISION.fullmatch(string(header[name])):
            raise damaged(f"{name} is no revision")
    if header.get("run-id") is not None and not RUN_ID.fullmatch(string(header["run-id"])):
        raise damaged("run-id is no id")
    if type(header.get("genesis", False)) is not bool:
        raise damaged("genesis is true or false")
    if header["compression"] not in ("zstd", "none"):
        raise damaged("unknown compression")
    if type(header["length"]) is not int or not 0 <= header["length"] < 1 << 64:
        raise damaged("length is no number of bytes")
    validate_recipients(header)
    validate_provenance(header["provenance"])


def validate_recipients(header):
    if header["seal"] not in ("chacha20-poly1305", "none"):
        raise damaged("unknown seal")
    recipients = header["recipients"]
    if not isinstance(recipients, list) or len(recipients) > MAX_RECIPIENTS:
        raise damaged("recipients: at most 16")
    if (header["seal"] == "none") != (not recipients):
        raise damaged("seal and recipients do not agree")
    seen = set()
    for one in recipients:
        members(one, ["name", "body", "wrapped-key"])
        string(one["name"])
        if not isinstance(one["body"], dict):
            raise damaged("body is no object")
        one["wrapped"] = canonical_base64(one["wrapped-key"])
        found = one["body"].get("fingerprint")
        same = (kind_of(one["name"]), found if isinstance(found, str) else json.dumps(one["body"], sort_keys=True))
        if same in seen:
            raise damaged("two equal recipients")
        seen.add(same)


def validate_provenance(provenance):
    members(provenance, ["written-at"], PROVENANCE)
    for value in provenance.values():
        if len(string(value).encode()) > MAX_TEXT:
            raise damaged("provenance: a text of more than 4 KiB")
    if not TIME.fullmatch(provenance["written-at"]):
        raise damaged("written-at is no time")


def kind_of(name):
    """A variable and a file hold the same kind of key: equal bytes are the same key."""
    return "env-key" if name == "key-file" else name


def find_data_key(header, ring, bound):
    """The keys of the ring in their order, each on the recipients of its kind."""
    named = False
    for kind, master in ring:
        for one in header["recipients"]:
            if kind_of(one["name"]) == kind_of(kind) and one["body"].get("fingerprint") == fingerprint(master):
                named = True
                data_key = unwrap(master, one["wrapped"], bound + field(one["name"]))
                if data_key is not None:
                    return data_key
    if named:
        raise damaged("the header names a key of the ring, and that does not open it")
    raise Failure("WrongKey", "the header names no key of the ring")


def decompress(data, length):
    if data[:4] != ZSTD_MAGIC:
        raise damaged("no zstd frame")
    decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
    output = b""
    rest = data
    try:
        while rest and not decoder.eof:
            output += decoder.decompress(rest[:256])
            rest = rest[256:]
            if len(output) > length:
                raise damaged("longer than the header says")
    except zstandard.ZstdError as error:
        raise damaged(f"zstd: {error}") from None
    if not decoder.eof:
        raise damaged("the frame is cut short")
    if decoder.unused_data or rest:
        raise damaged("something follows the frame")
    return output


def open(data, *, payload, factory, stack, revision, ring, limit=DEFAULT_LIMIT):  # noqa: A001
    """`ring`: a list of (encrypter name, master key), empty for a plain one. No cipher for version 1 is given."""
    if len(data) > limit + SLACK:
        raise Failure("TooLarge", "the file")
    if data[:1] == b"{":
        raise Failure("Refused", "envelope version 1")
    if data[:8] != MAGIC:
        raise damaged("no sealed file")
    if len(data) < 44:
        raise damaged("cut short")
    (size,) = struct.unpack("<I", data[8:12])
    if size > MAX_HEADER:
        raise Failure("TooLarge", "the header")
    if 44 + size > len(data):
        raise damaged("cut short")
    head, tag, body = data[:12 + size], data[12 + size:44 + size], data[44 + size:]
    header = parse(head[12:])
    validate(header)
    if header["length"] > limit:
        raise Failure("TooLarge", "the plaintext")
    if (header["seal"] == "none") != (not ring):
        raise Failure("Refused", "a plain ring opens plain files, a real one never does")
    for name, asked in [("factory", factory), ("stack", stack), ("revision", revision)]:
        if header[name] != asked:
            raise Failure("Misplaced", name)
    bound = context(header)
    if not ring:
        if not hmac.compare_digest(hashlib.sha256(head + body).digest(), tag):
            raise damaged("the checksum is wrong")
    else:
        data_key = find_data_key(header, ring, bound)
        if not hmac.compare_digest(header_tag(data_key, head), tag):
            raise damaged("the header was changed")
        body = open_body(data_key, body, bound)
    plaintext = decompress(body, header["length"]) if header["compression"] == "zstd" else body
    if len(plaintext) != header["length"]:
        raise damaged("the length is wrong")
    if header["payload-type"] != payload:
        raise Failure("OtherPayload", header["payload-type"])
    return plaintext


# ---- vectors --------------------------------------------------------------------------------------------------------

def changed(data, index, bit=0):
    data = bytearray(data)
    data[index] ^= 1 << bit
    return bytes(data)


def raw_frame(content, *, window=b"\x00", descriptor=0, extra=b""):
    """A zstd frame of one raw block, written out (RFC 8878, 3.1.1)."""
    block = struct.pack("<I", len(content) << 3 | 1)[:3]
    return ZSTD_MAGIC + bytes([descriptor]) + window + extra + block + content


KEY = hashlib.sha256(b"ubstate envelope vectors, key").digest()
OTHER = hashlib.sha256(b"ubstate envelope vectors, other key").digest()
THIRD = hashlib.sha256(b"ubstate envelope vectors, third key").digest()
DATA_KEY = hashlib.sha256(b"ubstate envelope vectors, data key").digest()
SECOND_DATA_KEY = hashlib.sha256(b"ubstate envelope vectors, second data key").digest()
NONCE, NONCE_2 = bytes(range(0x40, 0x58)), bytes(range(0x60, 0x78))
TEXT = b'{"outputs":{"password":"hunter2"}}'
PLACE = {"payload": "state", "factory": "net", "stack": "prod", "revision": "2026-07-10T12:00:00Z"}
PARENT = "2026-07-09T08:30:00.5Z"
PROV = {"run": "r-17", "author": "ada", "host": "build-3", "tool": "unit 1.2", "message": "größer 🚀",
        "written-at": "2026-07-10T12:00:00Z"}


def b64(data):
    return base64.b64encode(data).decode()


# What a vector does not say: the reader's key and its kind (null for a plain ring), and what the reader asks for.
DEFAULTS = {"key": b64(KEY), "key-kind": "env-key", **PLACE}


def vectors():
    out = []
    me, second = recipient(KEY, NONCE), recipient(OTHER, NONCE_2, "key-file")
    defaults = {**PLACE, "parent": None, "provenance": {"author": "ada", "written-at": "2026-07-10T12:00:00Z"}}

    def add(name, sealed, error=None, why=None, *, key=KEY, kind="env-key", place=None, limit=None, **extra):
        entry = {"name": name, "key": None if key is None else b64(key), "key-kind": None if key is None else kind,
                 **PLACE, **(place or {})}
        entry = {member: value for member, value in entry.items() if member == "name" or value != DEFAULTS[member]}
        if limit is not None:
            entry["limit"] = limit
        entry.update(extra)
        entry["sealed"] = b64(sealed)
        if error:
            entry.update({"error": error, "why": why})
        out.append(entry)

    def good(name, plaintext, *, recipients=(me,), compression="zstd", key=KEY, kind="env-key", frame=None, limit=None,
             data_key=DATA_KEY, **changes):
        fields = {**defaults, **changes}
        if not recipients:
            data_key = key = None
        if frame is None:
            sealed = seal(plaintext, recipients=recipients, compression=compression, data_key=data_key, **fields)
        else:
            header = make_header(recipients=recipients, compression="zstd", length=len(plaintext), data_key=data_key,
                                 **fields)
            sealed = assemble(header, data_key, seal_body(data_key, frame, context(header)))
        add(name, sealed, key=key, kind=kind, place={k: fields[k] for k in PLACE}, limit=limit,
            **{"parent": fields["parent"], "compression": compression,
               "data-key": data_key and data_key.hex(),
               "recipients": [{"name": r["name"], "body": r["body"], "key": b64(r["master"]), "nonce": r["nonce"].hex()}
                              for r in recipients],
               "plaintext": plaintext.decode()})
        return sealed

    # -- what opens
    base = good("sealed for one key", TEXT)
    full = good("a parent and every member of the provenance", TEXT, parent=PARENT, provenance=PROV)
    plain = good("seal none", TEXT, recipients=())
    stored = good("compression none", TEXT, compression="none")
    good("neither compressed nor sealed", TEXT, recipients=(), compression="none")
    good("an empty plaintext, compressed", b"")
    good("an empty plaintext, not compressed", b"", compression="none")
    good("two recipients, the first one's key", TEXT, recipients=(me, second))
    good("two recipients, the second one's key", TEXT, recipients=(me, second), key=OTHER, kind="key-file")
    good("sealed for a variable, opened with a file that holds the same key", TEXT, kind="key-file")
    good("sealed for a file, opened with a variable that holds the same key", TEXT,
         recipients=(recipient(KEY, NONCE, "key-file"),))
    good("a time as the only provenance", TEXT,
         provenance={"written-at": "2026-07-10T12:00:00Z"})
    good("a provenance text of exactly 4 KiB", b"{}", provenance={**PROV, "message": "é" * 2048})
    good("another payload type, and names with every sign allowed", b"plan", payload="plan", factory="a.b_c-d@e+f=g",
         stack="0", revision="2026-07-10T12:00:00.123456789Z_999999999")
    good("a plaintext of exactly the limit", TEXT, limit=len(TEXT))
    good("a frame of one raw block, written by hand", b"hello", frame=raw_frame(b"hello"))
    good("a frame with a checksum", TEXT, frame=zstandard.ZstdCompressor(write_checksum=True).compress(TEXT))
    good("a frame that does not say how long it is", TEXT,
         frame=zstandard.ZstdCompressor(write_content_size=False).compress(TEXT))
    good("a window of exactly 128 MiB", b"hello", frame=raw_frame(b"hello", window=bytes([17 << 3])))

    length = struct.unpack("<I", base[8:12])[0]
    header = json.loads(base[12:12 + length])
    body = base[44 + length:]

    def rebuilt(change=None, *, raw=None, data_key=DATA_KEY, with_body=body, of=header):
        """The same file with another header, tagged as one who knows the data key can."""
        fresh = json.loads(json.dumps(of))
        if change:
            change(fresh)
        return assemble(raw(compact(fresh)) if raw else fresh, data_key, with_body)

    def kms(extra, wrapped="AA=="):
        return {"name": "kms", "body": extra, "wrapped-key": wrapped}

    def also(one):
        return lambda h: h["recipients"].append(one)

    def nested(levels):
        value = {}
        for _ in range(levels - 1):
            value = {"x": value}
        return value

    # The header is level 1, `recipients` 2, a recipient 3, its body 4.
    add("nested exactly 16 deep in the body of an unknown recipient", rebuilt(also(kms(nested(13)))),
        plaintext=TEXT.decode())
    add("sixteen recipients, the last one's key", rebuilt(lambda h: h.update(
        recipients=[kms({"fingerprint": f"{i:x}"}) for i in range(15)] + h["recipients"])), plaintext=TEXT.decode())
    add("members in another order", rebuilt(raw=lambda b: compact(dict(reversed(json.loads(b).items())))),
        plaintext=TEXT.decode())
    add("a recipient of an unknown kind is passed over", rebuilt(also(kms({"key": "arn:x"}))), plaintext=TEXT.decode())

    of_a_run = {"run-id": "5eed" * 8, "replaces": "2026-07-10T11:59:59Z_2"}
    good("a revision of a run, which replaces one", TEXT, compression="none", of_a_run=of_a_run)
    good("a genesis", TEXT, compression="none", of_a_run={"run-id": "5eed" * 8, "genesis": True})

    # -- the frame around it
    add("an empty file", b"", "Damaged", "there is not even a first byte")
    add("the magic alone", base[:8], "Damaged", "cut short")
    add("cut inside the header", base[:12 + length // 2], "Damaged", "cut short: 44 + H is more than the file")
    add("cut inside the tag", base[:43 + length], "Damaged", "cut short by one byte: 44 + H is more than the file")
    add("the body is missing", base[:44 + length], "Damaged", "a body has at least the 16 bytes of its tag")
    add("the last byte is missing", base[:-1], "Damaged", "the body does not verify")
    add("a byte more at the end", base + b"\0", "Damaged", "the body does not verify")
    add("a byte more at the front", b"\0" + base, "Damaged", "it starts neither with { nor with the magic")
    add("the first byte without its high bit", changed(base, 0, 7), "Damaged", "a channel of seven bits spoilt the magic")
    add("CR LF in the magic", base[:7] + b"\r" + base[7:], "Damaged", "a text transfer spoilt the magic")
    add("H is 1 MiB and one byte", base[:8] + struct.pack("<I", MAX_HEADER + 1) + base[12:], "TooLarge",
        "H is looked at before the header is read or the file's size compared")
    add("H is 2^32 - 1", base[:8] + b"\xff" * 4 + base[12:], "TooLarge", "44 + H must not overflow either")
    add("H reaches past the end by one", base[:8] + struct.pack("<I", len(base) - 43) + base[12:], "Damaged",
        "44 + H is more than the file")
    add("H is zero", base[:8] + bytes(4) + base[12:], "Damaged", "an empty header is not JSON")
    add("H is one too large", base[:8] + struct.pack("<I", length + 1) + base[12:], "Damaged",
        "a byte of the tag after the header's object")

    # -- the seal
    add("the header tag changed", changed(base, 12 + length), "Damaged", "the tag does not verify")
    add("the tag that a file without seal would have", base[:12 + length]
        + hashlib.sha256(base[:12 + length] + body).digest() + body, "Damaged", "a checksum without a key is no tag")
    add("the first byte of the body changed", changed(base, 44 + length), "Damaged", "the body does not verify")
    add("the last byte of the body changed", changed(base, len(base) - 1, 7), "Damaged", "the body does not verify")
    add("a letter of the provenance changed", base.replace(b'"author":"ada"', b'"author":"eve"'), "Damaged",
        "the header is not what was tagged")
    add("the parent changed", full.replace(PARENT.encode(), b"2026-07-09T08:30:00.6Z"), "Damaged",
        "the header is not what was tagged")
    add("the recorded variable changed", base.replace(b'"KEY"', b'"YEK"'), "Damaged",
        "the header is not what was tagged")
    add("white space added to the header", assemble(compact(header) + b" ", DATA_KEY, body)[:13 + length]
        + base[12 + length:], "Damaged", "the header is not what was tagged")
    add("the same members in another order, not tagged anew", (lambda r: head_of(r) + base[12 + length:])(
        compact(dict(reversed(header.items())))), "Damaged", "the tag is over bytes, not over members")
    add("a body sealed without the context", rebuilt(with_body=seal_body(
        DATA_KEY, zstandard.ZstdCompressor().compress(TEXT), b"")), "Damaged", "the context is the associated data")
    add("a body sealed with a nonce of ones", rebuilt(with_body=sodium.crypto_aead_chacha20poly1305_ietf_encrypt(
        zstandard.ZstdCompressor().compress(TEXT), context(header), b"\1" * 12, hkdf(DATA_KEY, b"ubstate v2 body"))),
        "Damaged", "the nonce is 12 zero bytes")
    add("a body sealed with the data key itself", rebuilt(with_body=sodium.crypto_aead_chacha20poly1305_ietf_encrypt(
        zstandard.ZstdCompressor().compress(TEXT), context(header), bytes(12), DATA_KEY)),
        "Damaged", "the body key is derived")

    def two_data_keys(h):
        h["recipients"].append({"name": "key-file", "body": {"fingerprint": fingerprint(OTHER)}, "wrapped-key": b64(
            wrap(OTHER, NONCE_2, SECOND_DATA_KEY, context(h) + field("key-file")))})
    two = rebuilt(two_data_keys)
    add("two recipients hold two data keys, the right one's", two, plaintext=TEXT.decode())
    add("two recipients hold two data keys, the other one's", two, "Damaged",
        "the tag commits the file to one data key", key=OTHER, kind="key-file")

    forged = make_header(recipients=(me,), compression="none", length=32, data_key=DATA_KEY, **defaults)
    two_data_keys(forged)
    body_for_both = body_for_two_keys(DATA_KEY, SECOND_DATA_KEY, context(forged))
    in_clear = [open_body(key, body_for_both, context(forged)) for key in (DATA_KEY, SECOND_DATA_KEY)]
    assert in_clear[0] != in_clear[1]
    both = assemble(forged, DATA_KEY, body_for_both)
    add("a body that the bare cipher opens under two data keys", both, "Damaged",
        "the header tag commits the file to one data key", key=OTHER, kind="key-file",
        **{"body-opens-under": [DATA_KEY.hex(), SECOND_DATA_KEY.hex()], "context": context(forged).hex()})

    # -- keys
    add("another key", base, "WrongKey", "no recipient has its fingerprint", key=OTHER)
    add("the fingerprint of the right key under the name of another kind", rebuilt(lambda h: h["recipients"][0].update(
        name="aws-kms")), "WrongKey", "recipients match by kind and fingerprint")
    add("another key whose fingerprint is recorded", rebuilt(lambda h: h["recipients"][0]["body"].update(
        fingerprint=fingerprint(OTHER))), "Damaged", "the fingerprint finds a key and proves nothing", key=OTHER)
    add("the recorded fingerprint is another key's", rebuilt(lambda h: h["recipients"][0]["body"].update(
        fingerprint=fingerprint(OTHER))), "WrongKey", "no recipient has its fingerprint")
    add("the recorded fingerprint is missing", rebuilt(lambda h: h["recipients"][0]["body"].pop("fingerprint")),
        "WrongKey", "no recipient has its fingerprint")
    wrapped = base64.b64decode(header["recipients"][0]["wrapped-key"])

    def rewrapped(data):
        return rebuilt(lambda h: h["recipients"][0].update({"wrapped-key": b64(data)}))
    add("a byte of the wrapped key changed", rewrapped(changed(wrapped, 40)), "Damaged", "it does not unwrap, and it names the key")
    add("the wrapped key is a byte short", rewrapped(wrapped[:-1]), "Damaged", "72 bytes are expected")
    add("the wrapped key is empty", rewrapped(b""), "Damaged", "72 bytes are expected")
    add("the wrapped key holds 33 bytes", rewrapped(wrap(KEY, NONCE, DATA_KEY + b"\0", context(header) + field("env-key"))),
        "Damaged", "72 bytes are expected")
    add("wrapped without the recipient's name", rewrapped(wrap(KEY, NONCE, DATA_KEY, context(header))), "Damaged",
        "the name is part of the associated data")
    add("wrapped for the name without its length", rewrapped(wrap(KEY, NONCE, DATA_KEY, context(header) + b"env-key")),
        "Damaged", "every field is preceded by its length")

    # -- places
    for name, place in [("revision", "2026-07-10T12:00:00Z_1"), ("stack", "prod-east"), ("factory", "Net")]:
        add(f"asked for as another {name}", base, "Misplaced", f"the header names another {name}", place={name: place})
    add("asked for as another payload type", base, "OtherPayload", "the type is authenticated before it is told",
        place={"payload": "plan"})
    add("asked for as another payload type, with another key", base, "WrongKey", "the type is authenticated before it is told",
        place={"payload": "plan"}, key=OTHER)
    add("a file without seal asked for as another stack", plain, "Misplaced", "the header names another stack", key=None,
        place={"stack": "dev"})
    add("another place and another key", base, "Misplaced", "the place is compared before any key is tried", key=OTHER,
        place={"stack": "dev"})
    for name, member, place in [("revision", "revision", "2026-07-10T12:00:01Z"), ("stack", "stack", "pr0d"),
                                ("factory", "factory", "n3t"), ("payload", "payload-type", "stale")]:
        moved = rebuilt(lambda h, m=member, p=place: h.update({m: p}), of=header)
        add(f"moved to another {name}, header rewritten and tagged anew", moved, "Damaged",
            "the wrapped key is bound to the place", place={name: place})
        fields = {**defaults, name: place}
        fresh = make_header(recipients=(me,), compression="zstd", length=len(TEXT), data_key=DATA_KEY, **fields)
        add(f"moved to another {name}, wrapped and tagged anew, body copied", assemble(fresh, DATA_KEY, body), "Damaged",
            "the body is bound to the place", place={name: place})

    # -- plain or sealed
    add("a sealed file and a plain ring", base, "Refused", "a plain ring opens only what has no seal", key=None)
    add("a file without seal and a real ring", plain, "Refused", "a real ring never opens what has no seal")
    add("version 1 and a real ring without a cipher for it", b'{"envelope-version":1,"payload-type":"state",'
        b'"encrypter":{"name":"noop","body":{}},"ciphertext":"e30="}\n', "Refused", "version 1 was not accepted")
    add("version 1 and a plain ring without a cipher for it", b'{"envelope-version":1,"payload-type":"state",'
        b'"encrypter":{"name":"noop","body":{}},"ciphertext":"e30="}\n', "Refused", "version 1 was not accepted", key=None)
    plain_length = struct.unpack("<I", plain[8:12])[0]
    plain_header = json.loads(plain[12:12 + plain_length])
    plain_body = plain[44 + plain_length:]
    add("no seal, the checksum changed", changed(plain, 12 + plain_length), "Damaged", "the checksum is wrong", key=None)
    add("no seal, a byte of the body changed", changed(plain, len(plain) - 1), "Damaged", "the checksum is over the body too",
        key=None)
    add("no seal, a byte of the header changed", plain.replace(b'"author":"ada"', b'"author":"eve"'), "Damaged",
        "the checksum is over the header", key=None)
    add("no seal, a byte more at the end", plain + b"\0", "Damaged", "the checksum is over everything", key=None)
    add("no seal, the checksum is of the header alone", plain[:12 + plain_length]
        + hashlib.sha256(plain[:12 + plain_length]).digest() + plain_body, "Damaged", "the checksum is over the body too",
        key=None)
    add("no seal, but recipients", rebuilt(lambda h: h["recipients"].append(header["recipients"][0]), data_key=None,
        with_body=plain_body, of=plain_header), "Damaged", "recipients are empty when seal is none", key=None)
    add("no seal, but recipients, and a real ring", rebuilt(lambda h: h["recipients"].append(header["recipients"][0]),
        data_key=None, with_body=plain_body, of=plain_header), "Damaged", "a header that contradicts itself is not judged")
    add("a seal, but no recipients", rebuilt(lambda h: h["recipients"].clear()), "Damaged",
        "a sealed file has 1 to 16 recipients")

    # -- the version
    add("version 3", rebuilt(lambda h: h.update({"envelope-version": 3})), "Refused", "a newer version")
    add("version 3 with members that version 2 does not know", rebuilt(raw=lambda _:
        b'{"envelope-version":3,"cipher":"x"}'), "Refused", "the version is looked at first")
    add("version 1 behind the magic", rebuilt(lambda h: h.update({"envelope-version": 1})), "Refused", "not version 2")
    add("version as text", rebuilt(lambda h: h.update({"envelope-version": "2"})), "Damaged", "the version is a number")
    add("no version", rebuilt(lambda h: h.pop("envelope-version")), "Damaged", "the version is missing")

    # -- the header's members; every tag is right
    def header_case(name, why, change=None, raw=None, error="Damaged", **more):
        add(name, rebuilt(change, raw=raw), error, why, **more)

    def text_of(old, new):
        def edit(data):
            assert data.count(old) == 1, (old, data.count(old))
            return data.replace(old, new)
        return edit

    header_case("an unknown member", "unknown members are refused", lambda h: h.update(note="x"))
    header_case("an unknown member of a recipient", "unknown members are refused",
                lambda h: h["recipients"][0].update(note="x"))
    header_case("an unknown member of the provenance", "unknown members are refused",
                lambda h: h["provenance"].update(note="x"))
    for member in ["revision", "length", "recipients", "provenance"]:
        header_case(f"no {member}", "a member is missing", lambda h, m=member: h.pop(m))
    header_case("no written-at", "a member is missing", lambda h: h["provenance"].pop("written-at"))
    header_case("a member twice", "repeated members are refused", raw=text_of(b'"stack":"prod"', b'"stack":"prod","stack":"prod"'))
    header_case("the version twice", "repeated members are refused",
                raw=text_of(b'"envelope-version":2', b'"envelope-version":2,"envelope-version":2'))
    header_case("a member of the provenance twice", "repeated members are refused",
                raw=text_of(b'"author":"ada"', b'"author":"ada","author":"ada"'))
    header_case("a member of a body twice", "repeated members are refused in the body too",
                raw=text_of(b'"env-var":"KEY"', b'"env-var":"KEY","env-var":"KEY"'))
    header_case("a member of a body twice, once with an escape", "names are compared as they read",
                raw=text_of(b'"env-var":"KEY"', b'"env-var":"KEY","env\\u002dvar":"STATE_KEY"'))
    add("a member twice deep in the body of an unknown recipient", rebuilt(also(kms({"a": [{"b": {"c": "@"}}]})),
        raw=text_of(b'"c":"@"', b'"c":1,"c":1')), "Damaged", "repeated members are refused at every depth")
    add("nested 17 deep", rebuilt(also(kms(nested(14)))), "Damaged", "16 levels at most, the header's object being the first")
    add("lists nested 200 deep", rebuilt(also(kms({"x": "@"})), raw=text_of(b'"@"', b"[" * 200 + b"]" * 200)),
        "Damaged", "and no stack overflows")
    header_case("two recipients with equal name and fingerprint", "one of them can never be meant",
                lambda h: h["recipients"].append({**h["recipients"][0], "body": {
                    "env-var": "B", "fingerprint": fingerprint(KEY)}}))
    header_case("one key under two names", "a variable and a file that hold the same key are one recipient",
                lambda h: h["recipients"].append({"name": "key-file", "body": {"fingerprint": fingerprint(KEY)},
                    "wrapped-key": b64(wrap(KEY, NONCE_2, DATA_KEY, context(h) + field("key-file")))}))
    header_case("seventeen recipients", "16 at most", lambda h: h["recipients"].extend(
        kms({"fingerprint": f"{i:x}"}) for i in range(16)))
    header_case("a wrapped key with a line feed", "base64 is canonical",
                lambda h: h["recipients"][0].update({"wrapped-key": h["recipients"][0]["wrapped-key"] + "\n"}))
    header_case("a wrapped key with the alphabet for addresses", "base64 is standard",
                lambda h: h["recipients"].append(kms({}, "__8=")))
    header_case("a wrapped key without padding", "base64 is padded", lambda h: h["recipients"].append(kms({}, "AA")))
    header_case("a wrapped key with bits left over", "base64 is canonical", lambda h: h["recipients"].append(kms({}, "AB==")))
    header_case("a provenance text of 4097 bytes, fewer in characters", "4 KiB at most, and bytes are counted",
                lambda h: h["provenance"].update(message="é" * 2048 + "x"))
    header_case("an unknown seal", "only chacha20-poly1305 and none are known", lambda h: h.update(seal="aes-256-gcm"))
    header_case("an unknown compression", "only zstd and none are known", lambda h: h.update(compression="gzip"))
    for value in ["-1", "34.0", '"34"', "18446744073709551616"]:
        header_case(f"length {value}", "a number of bytes is expected", raw=text_of(b'"length":34', b'"length":' + value.encode()))
    header_case("a body that is no object", "an object is expected", lambda h: h["recipients"][0].update(body="x"))
    header_case("a parent that is no text", "a text or null is expected", lambda h: h.update(parent=7))
    header_case("a parent that is no revision", "a revision is expected", lambda h: h.update(parent="a/b"))
    header_case("replaces what is no revision", "a revision is expected", lambda h: h.update(replaces=""))
    header_case("a run-id with a space", "letters, digits, - and _", lambda h: h.update({"run-id": "r 17"}))
    header_case("a run-id of 65 digits", "64 at most", lambda h: h.update({"run-id": "1" * 65}))
    header_case("genesis as a number", "true or false is expected", lambda h: h.update(genesis=1))
    header_case("genesis as null", "true or false is expected", lambda h: h.update(genesis=None))
    header_case("a written-at that is no time", "RFC 3339", lambda h: h["provenance"].update({"written-at": "today"}))
    header_case("two recipients with equal name and body, without fingerprints", "one of them can never be meant",
                lambda h: h["recipients"].extend([kms({"key": "x"}), kms({"key": "x"})]))
    header_case("a header that is a list", "an object is expected", raw=lambda b: b"[" + b + b"]")
    header_case("a second object after the header", "one object is expected", raw=lambda b: b + b"{}")
    header_case("a header that is not UTF-8", "UTF-8 is expected", raw=text_of(b'"ada"', b'"\xff\xfe"'))
    header_case("half a surrogate pair", "that is no text", raw=text_of(b'"ada"', b'"\\ud800"'))
    header_case("a zero byte in a text", "control characters are escaped", raw=text_of(b'"ada"', b'"a\0a"'))
    header_case("NaN", "that is not JSON", raw=text_of(b'"length":34', b'"length":NaN'))
    header_case("a length over the limit", "1 GiB by default, compared before any key work",
                lambda h: h.update(length=(1 << 30) + 1), error="TooLarge")
    header_case("a length of 2^64 - 1", "compared before any key work", lambda h: h.update(length=(1 << 64) - 1),
                error="TooLarge")
    add("a plaintext of one byte more than the limit", base, "TooLarge", "compared before any key work", limit=len(TEXT) - 1)

    # -- the plaintext; every tag is right
    def frame_case(name, why, frame, length=len(TEXT), compression="zstd"):
        fresh = make_header(recipients=(me,), compression=compression, length=length, data_key=DATA_KEY, **defaults)
        add(name, assemble(fresh, DATA_KEY, seal_body(DATA_KEY, frame, context(fresh))), "Damaged", why)

    frame = zstandard.ZstdCompressor().compress(TEXT)
    skippable = struct.pack("<II", 0x184D2A50, 4) + b"skip"
    frame_case("the length is one too small", "the plaintext is longer", frame, len(TEXT) - 1)
    frame_case("the length is one too large", "the plaintext is shorter", frame, len(TEXT) + 1)
    frame_case("not compressed, the length is one too small", "the plaintext is longer", TEXT, len(TEXT) - 1, "none")
    frame_case("not compressed, the length is one too large", "the plaintext is shorter", TEXT, len(TEXT) + 1, "none")
    frame_case("a byte after the frame", "nothing may follow", frame + b"\0")
    frame_case("two frames", "exactly one is expected", frame + frame, 2 * len(TEXT))
    frame_case("two frames, of which the first has the length", "exactly one is expected", frame + frame)
    half = [zstandard.ZstdCompressor().compress(part) for part in (TEXT[:20], TEXT[20:])]
    frame_case("two frames that make up the length together", "exactly one is expected", b"".join(half))
    frame_case("an empty frame after the frame", "exactly one is expected", frame + zstandard.ZstdCompressor().compress(b""))
    frame_case("a skippable frame first", "exactly one frame is expected, and no other kind", skippable + frame)
    frame_case("a skippable frame last", "nothing may follow", frame + skippable)
    frame_case("a skippable frame for an empty plaintext", "it is no frame of data", skippable, 0)
    frame_case("no frame for an empty plaintext", "exactly one frame is expected", b"", 0)
    frame_case("the frame is cut short", "it does not end", frame[:-1])
    frame_case("the frame's last block is missing", "it does not end",
               ZSTD_MAGIC + b"\x00\x00" + struct.pack("<I", 5 << 3)[:3] + b"hello", 5)
    frame_case("plaintext where a frame is expected", "that is no frame", TEXT)
    frame_case("a frame where plaintext is expected", "the length is wrong", frame, len(TEXT), "none")
    frame_case("a window of more than 128 MiB", "128 MiB at most", raw_frame(b"hello", window=bytes([17 << 3 | 1])), 5)
    frame_case("a frame that says it holds a tebibyte", "it holds five bytes, and nothing is allocated by what it says",
               raw_frame(b"hello", descriptor=0xC0, extra=struct.pack("<Q", 1 << 40)), 5)
    frame_case("a frame that wants a dictionary", "there is none", raw_frame(b"hello", descriptor=0x01, extra=b"\x07"), 5)
    bad = zstandard.ZstdCompressor(write_checksum=True).compress(TEXT)
    frame_case("a frame whose checksum is wrong", "zstd's own checksum is checked if there is one", changed(bad, len(bad) - 1))
    frame_case("a frame with its reserved bit set", "that is not zstd", raw_frame(b"hello", descriptor=0x08), 5)
    frame_case("a mebibyte of zeros said to be ten bytes", "it stops at length + 1",
               zstandard.ZstdCompressor().compress(bytes(1 << 20)), 10)

    names = [entry["name"] for entry in out]
    assert len(names) == len(set(names)), [n for n in names if names.count(n) > 1]
    return out


def check(entries):
    """Every vector against `open` above."""
    for entry in entries["vectors"]:
        entry = {**entries["defaults"], **entry}
        ring = [] if entry["key"] is None else [(entry["key-kind"], base64.b64decode(entry["key"]))]
        try:
            found = open(base64.b64decode(entry["sealed"]), payload=entry["payload"], factory=entry["factory"],
                         stack=entry["stack"], revision=entry["revision"], ring=ring,
                         limit=entry.get("limit", DEFAULT_LIMIT))
            assert entry.get("error") is None, f"{entry['name']}: opened"
            assert found.decode() == entry["plaintext"], entry["name"]
        except Failure as failure:
            assert failure.kind == entry.get("error"), f"{entry['name']}: {failure}, expected {entry.get('error')}"
    return len(entries["vectors"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ["seal", "open"]:
        command = commands.add_parser(name)
        command.add_argument("file")
        for place in ["factory", "stack", "revision"]:
            command.add_argument(f"--{place}", required=True)
        command.add_argument("--payload", default="state")
        command.add_argument("--key", required=True, help="base64, or none for a plain ring")
        command.add_argument("--kind", default="env-key", choices=["env-key", "key-file"])
        if name == "seal":
            command.add_argument("--variable", default="STATE_KEY")
            command.add_argument("--parent")
            command.add_argument("--message")
            command.add_argument("--compression", default="zstd", choices=["zstd", "none"])
            command.add_argument("--data-key", help="hexadecimal; random if not given")
            command.add_argument("--nonce", help="hexadecimal, of the wrap; random if not given")
        else:
            command.add_argument("--limit", type=int, default=DEFAULT_LIMIT)
    commands.add_parser("vectors")
    commands.add_parser("check").add_argument("file")
    given = parser.parse_args()

    if given.command == "vectors":
        lines = [json.dumps(entry, separators=(",", ":"), ensure_ascii=True) for entry in vectors()]
        print('{"defaults":' + json.dumps(DEFAULTS, separators=(",", ":")) + ',\n"vectors":[\n' + ",\n".join(lines) + "\n]}")
        return
    if given.command == "check":
        with __builtins__.open(given.file) as file:
            print(check(json.load(file)), "vectors hold")
        return
    master = None if given.key == "none" else base64.b64decode(given.key, validate=True)
    if master is not None and len(master) != 32:
        sys.exit("the key is not 32 bytes")
    place = {"payload": given.payload, "factory": given.factory, "stack": given.stack, "revision": given.revision}
    if given.command == "open":
        with __builtins__.open(given.file, "rb") as file:
            data = file.read()
        try:
            plaintext = open(data, ring=[] if master is None else [(given.kind, master)], limit=given.limit, **place)
        except Failure as failure:
            sys.exit(str(failure))
        sys.stdout.buffer.write(plaintext)
        return
    data_key = bytes.fromhex(given.data_key) if given.data_key else sodium.randombytes(32)
    nonce = bytes.fromhex(given.nonce) if given.nonce else sodium.randombytes(24)
    recipients = [] if master is None else [recipient(master, nonce, given.kind, given.variable)]
    provenance = {"written-at": "2026-07-10T12:00:00Z"}
    if given.message:
        provenance = {"message": given.message, **provenance}
    sealed = seal(sys.stdin.buffer.read(), parent=given.parent, provenance=provenance, compression=given.compression,
                  recipients=recipients, data_key=data_key, **place)
    with __builtins__.open(given.file, "wb") as file:
        file.write(sealed)


if __name__ == "__main__":
    main()
