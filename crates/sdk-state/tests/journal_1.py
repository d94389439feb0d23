#!/usr/bin/env python3
"""The journal, version 1: a second implementation, to check the first one against. It builds on `envelope_v2.py`.

    python3 journal_1.py vectors > journal_vectors.json
    python3 journal_1.py check journal_vectors.json

It needs: pip install pynacl zstandard.
"""

import base64
import copy
import hashlib
import hmac
import itertools
import json
import struct
import sys

import envelope_v2 as v2
from envelope_v2 import (DATA_KEY, KEY, NONCE, NONCE_2, OTHER, SECOND_DATA_KEY, THIRD, Failure, b64, changed, compact,
                         damaged, field, fingerprint, hkdf, recipient, sodium, wrap, wrap_for)
from nacl.exceptions import CryptoError

MAGIC = b"\x8aUBJRNL\n"
MEMBERS = ["journal-version", "payload-type", "factory", "stack", "base", "base-digest", "journal-id", "run-id",
           "lock-token", "operation", "seal", "recipients", "provenance"]
HEADER_INFO, BODY_INFO = b"ubstate journal 1 header", b"ubstate journal 1 body"


def invalid(why):
    return Failure("InvalidSnapshot", why)


# ---- sealing --------------------------------------------------------------------------------------------------------

def digest(base):
    """Of a sealed file: of everything before the body; of version 1, of the whole file."""
    if base[:8] == v2.MAGIC:
        (size,) = struct.unpack("<I", base[8:12])
        base = base[:44 + size]
    return hashlib.sha256(base).hexdigest()


def context(header):
    names = ["payload-type", "factory", "stack", "base", "base-digest", "journal-id"]
    return b"".join(map(field, ["ubstate/journal/1", *(header[name] for name in names)]))


def header_tag(data_key, head):
    """`data_key` is None in a journal that is not encrypted."""
    if data_key is None:
        return hashlib.sha256(head).digest()
    return hmac.new(hkdf(data_key, HEADER_INFO), head, hashlib.sha256).digest()


def head_of(header_bytes):
    return MAGIC + struct.pack("<I", len(header_bytes)) + header_bytes


def record(data_key, number, previous, batch, *, count, bound=None, nonce=None, info=BODY_INFO):
    """A record without the header, and its tag. The vectors replace one part or the other by a wrong one."""
    prefix = struct.pack("<I", count)
    bound = previous + prefix if bound is None else bound
    nonce = struct.pack("<Q4x", number) if nonce is None else nonce
    if data_key is None:
        tag = hashlib.sha256(bound + batch).digest()
        return prefix + batch + tag, tag
    sealed = sodium.crypto_aead_chacha20poly1305_ietf_encrypt(batch, bound, nonce, hkdf(data_key, info))
    return prefix + sealed, sealed[-16:]


def batch_of(changes):
    return b"".join(struct.pack("<I", len(change)) + change for change in changes)


def seal(header, data_key, batches, **odd):
    """One record for each list of changes. `header` is a dictionary or bytes; `odd` goes to the last record."""
    head = head_of(header if isinstance(header, bytes) else compact(header))
    tag = header_tag(data_key, head)
    records = []
    for number, changes in enumerate(batches):
        options = dict(odd) if number == len(batches) - 1 else {}
        batch = options.pop("batch", batch_of(changes))
        options.setdefault("count", len(changes))
        data, after = record(data_key, number, tag, batch, **options)
        records.append(head + tag + data if number == 0 else data)
        tag = after
    return records


# ---- opening --------------------------------------------------------------------------------------------------------

class Journal:
    """Opens the records in order."""

    def __init__(self, first, *, factory, stack, base, base_digest, ring):
        if first[:8] != MAGIC:
            raise damaged("no journal")
        if len(first) < 12:
            raise damaged("cut short")
        (size,) = struct.unpack("<I", first[8:12])
        if size > v2.MAX_HEADER:
            raise Failure("TooLarge", "the header")
        if 44 + size > len(first):
            raise damaged("cut short")
        head, tag, self.first = first[:12 + size], first[12 + size:44 + size], first[44 + size:]
        header = v2.parse(head[12:], "journal-version", 1)
        v2.members(header, MEMBERS)
        for name in set(MEMBERS) - {"journal-version", "recipients", "provenance"}:
            v2.string(header[name])
        if not v2.RUN_ID.fullmatch(header["run-id"]) or not v2.RUN_ID.fullmatch(header["lock-token"]):
            raise damaged("no run-id or no lock token")
        v2.validate_recipients(header)
        v2.validate_provenance(header["provenance"])
        if (header["seal"] == "none") != (not ring):
            raise Failure("Refused", "a plain ring opens plain journals, a real one never does")
        for name, asked in [("factory", factory), ("stack", stack), ("base", base), ("base-digest", base_digest)]:
            if header[name] != asked:
                raise Failure("Misplaced", name)
        data_key = v2.find_data_key(header, ring, context(header)) if ring else None
        if not hmac.compare_digest(header_tag(data_key, head), tag):
            raise damaged("the header was changed")
        self.header, self.tag, self.number = header, tag, 0
        self.key = hkdf(data_key, BODY_INFO) if ring else None

    def open(self, data):
        """The number of changes and the batch."""
        size = 32 if self.key is None else 16
        if len(data) < 4 + size:
            raise damaged("cut short")
        prefix, sealed = data[:4], data[4:]
        bound = self.tag + prefix
        if self.key is None:
            batch = sealed[:-32]
            if hashlib.sha256(bound + batch).digest() != sealed[-32:]:
                raise damaged("the record was changed")
        else:
            try:
                batch = sodium.crypto_aead_chacha20poly1305_ietf_decrypt(
                    sealed, bound, struct.pack("<Q4x", self.number), self.key)
            except CryptoError:
                raise damaged("the record was changed") from None
        self.tag, self.number = sealed[-size:], self.number + 1
        return struct.unpack("<I", prefix)[0], batch


def each_change(count, batch):
    for _ in range(count):
        if len(batch) < 4:
            raise damaged("the batch is cut short")
        (length,) = struct.unpack("<I", batch[:4])
        if 4 + length > len(batch):
            raise damaged("the change is cut short")
        yield batch[4:4 + length]
        batch = batch[4 + length:]
    if batch:
        raise damaged("more than its changes")


def no_repeats(pairs):
    if len(dict(pairs)) != len(pairs):
        raise invalid("a member is repeated")
    return dict(pairs)


def decode(change):
    try:
        value = json.loads(change.decode(), object_pairs_hook=no_repeats)
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise invalid("not JSON") from None
    if not isinstance(value, dict) or len(value) != 1:
        raise invalid("not one change")
    ((name, given),) = value.items()
    if name == "put":
        binding = given.get("binding") if isinstance(given, dict) else None
        fits = {"leaf": "resource", "action": "action", "data-source": "data-source"}
        if not isinstance(binding, dict) or not all(map(binding.get, ["alias", "kind"])) or not given.get("address") \
                or given.get("category") != fits.get(given.get("entry-kind")):
            raise invalid("not an entry")
        for values in ["inputs", "outputs"]:
            if not isinstance(given.get(values, {}), dict):
                raise invalid("not an object")
    elif name in ["remove", "set-generated-at"]:
        if not isinstance(given, str):
            raise invalid("a text is expected")
        if name == "set-generated-at" and given and not v2.TIME.fullmatch(given):
            raise invalid("not a time")
    elif name == "set-outputs":
        if given is not None and not isinstance(given, dict):
            raise invalid("not an object")
    elif name == "set-factory":
        if not isinstance(given, dict) or not all(
                isinstance(given.get(one), str) for one in ["name", "version", "content-revision"]):
            raise invalid("not a factory")
    else:
        raise invalid("an unknown change")
    return name, given


def apply(document, change):
    name, given = decode(change)
    entries = document["entries"]
    if name == "put":
        places = [at for at, entry in enumerate(entries) if entry["address"] == given["address"]]
        entries[places[0] if places else len(entries):places[0] + 1 if places else len(entries)] = [given]
    elif name == "remove":
        document["entries"] = [entry for entry in entries if entry["address"] != given]
    elif name == "set-outputs":
        document.pop("outputs", None)
        if given:
            document["outputs"] = given
    elif name == "set-factory":
        document["factory"] = {**given, "name": document["factory"]["name"]}
    else:
        document["generated-at"] = given


def replay(records, base, *, factory, stack, ring):
    """Opens the base, then the journal. Returns the document; a failure has the number of changes made before it."""
    made = 0
    try:
        document = base["document"]
        journal = None
        for data in records:
            if journal is None:
                journal = Journal(data, factory=factory, stack=stack, base=base["revision"],
                                  base_digest=digest(base64.b64decode(base["sealed"])), ring=ring)
                opened = journal.open(journal.first)
                if journal.header["payload-type"] != "state":
                    raise Failure("OtherPayload", journal.header["payload-type"])
            else:
                opened = journal.open(data)
            for change in each_change(*opened):
                apply(document, change)
                made += 1
        return document
    except Failure as failure:
        failure.made = made
        raise


LETTERS = {"Damaged": "D", "WrongKey": "W", "Misplaced": "M", "Refused": "R", "TooLarge": "T", "OtherPayload": "O",
           "InvalidSnapshot": "I"}


def every_flip(records, base, ring):
    """The kind of the error after each flipped bit, record by record and bit by bit, in runs: `D12` is Damaged, 12 times."""
    kinds = []
    for number, data in enumerate(records):
        for bit in range(len(data) * 8):
            broken = [*records[:number], changed(data, bit // 8, bit % 8)]
            try:
                replay(broken, copy.deepcopy(base), factory="net", stack="prod", ring=ring)
                raise AssertionError(f"bit {bit} of record {number} may be flipped")
            except Failure as failure:
                kinds.append(LETTERS[failure.kind])
    return " ".join(letter + str(len(list(run))) for letter, run in itertools.groupby(kinds))


def wrapped_key_of(sealed):
    (size,) = struct.unpack("<I", sealed[8:12])
    return base64.b64decode(json.loads(sealed[12:12 + size])["recipients"][0]["wrapped-key"])


# ---- vectors --------------------------------------------------------------------------------------------------------

REVISION, LATER = "2026-07-10T12:00:00Z", "2026-07-10T12:00:00Z_1"
PLACE = {"factory": "net", "stack": "prod"}
DEFAULTS = {"key": b64(KEY), "key-kind": "env-key", **PLACE, "base": "sealed"}
JOURNAL_ID, RUN_ID, TOKEN = "0a" * 16, "5eed" * 8, "70ce" * 8
ME, SECOND = recipient(KEY, NONCE), recipient(OTHER, NONCE_2, "key-file")


def entry(address, **outputs):
    made = {"address": address, "entry-kind": "leaf", "category": "resource", "binding": {"alias": "aws", "kind": "vpc"}}
    return {**made, "outputs": outputs} if outputs else made


def document(stack="prod", factory="net", entries=()):
    return {"format-version": 1, "factory": {"name": factory, "version": "v1", "content-revision": "8c1f"}, "stack": stack,
            "generated-at": REVISION, "entries": list(entries)}


def fresh():
    return {"format-version": 1, "factory": {"name": "net", "version": "", "content-revision": ""}, "stack": "prod",
            "generated-at": "", "entries": []}


def version_1(encrypter, ciphertext):
    envelope = {"envelope-version": 1, "payload-type": "state", "encrypter": encrypter, "ciphertext": b64(ciphertext)}
    return json.dumps(envelope, indent=2).encode() + b"\n"


def bases():
    """The files that the journals stand on: name, revision, sealed file, and the document that it is."""
    one = document(entries=[entry("vpc", id="vpc-1"), entry("db")])
    small = {"written-at": REVISION}

    def sealed(value, *, revision=REVISION, recipients=(ME,), data_key=SECOND_DATA_KEY, payload="state", **more):
        place = {**PLACE, "factory": value["factory"]["name"], "stack": value["stack"]}
        file = v2.seal(compact(value), payload=payload, revision=revision, provenance=small, compression="none",
                       recipients=recipients, data_key=data_key, **place, **more)
        return {"revision": revision, "sealed": b64(file), "document": value}

    genesis = {"of_a_run": {"run-id": RUN_ID, "genesis": True}}
    nonce = bytes(12)
    plain_1 = b64(version_1({"name": "noop", "body": {}}, compact(one)))
    return {
        "sealed": sealed(one),
        "sealed again": sealed(one, data_key=THIRD),
        "later": sealed(one, revision=LATER),
        "of another stack": sealed(document(stack="dev")),
        "of another factory": sealed(document(factory="Net")),
        "for two keys": sealed(one, recipients=(ME, SECOND)),
        "for two variables": sealed(one, recipients=(ME, recipient(OTHER, NONCE_2, variable="OTHER"))),
        "plain": sealed(one, recipients=(), data_key=None),
        "plain, later": sealed(one, revision=LATER, recipients=(), data_key=None),
        "genesis": sealed(fresh(), **genesis),
        "genesis of a tool with other documents": sealed(fresh(), payload="plan", **genesis),
        "version 1": {"revision": REVISION, "document": one, "sealed": b64(version_1(
            {"name": "env-key", "body": {"env-var": "KEY"}},
            nonce + sodium.crypto_aead_aes256gcm_encrypt(compact(one), None, nonce, KEY)))},
        "version 1, plain": {"revision": REVISION, "document": one, "sealed": plain_1},
        "version 1, plain, later": {"revision": LATER, "document": one, "sealed": plain_1},
    }


def put(*args, **outputs):
    return compact({"put": entry(*args, **outputs)})


def remove(address):
    return compact({"remove": address})


BATCHES = [[put("a", v="1")], [put("b"), remove("db"), put("a", v="2")], [compact({"set-outputs": {"url": "x"}})],
           [remove("a")]]


def vectors():
    out = []
    files = bases()

    def header_on(base="sealed", recipients=(ME,), data_key=DATA_KEY, **members):
        """The header of a journal on this base; `members` replace those of the header, with - as _."""
        file = files[base]
        header = {
            "journal-version": 1, "payload-type": "state", "factory": file["document"]["factory"]["name"],
            "stack": file["document"]["stack"], "base": file["revision"],
            "base-digest": digest(base64.b64decode(file["sealed"])), "journal-id": JOURNAL_ID, "run-id": RUN_ID,
            "lock-token": TOKEN, "operation": "apply", "seal": "chacha20-poly1305" if recipients else "none",
            "recipients": [], "provenance": {"author": "ada", "written-at": REVISION},
        }
        header.update({name.replace("_", "-"): value for name, value in members.items()})
        header["recipients"] = wrap_for(recipients, data_key, context(header))
        return header

    def add(name, records, error=None, why=None, made=0, *, key=KEY, kind="env-key", **extra):
        given = {"name": name, "key": None if key is None else b64(key), "key-kind": None if key is None else kind, **extra}
        vector = {member: value for member, value in given.items() if DEFAULTS.get(member, "") != value}
        vector["records"] = [b64(data) for data in records]
        if error:
            vector.update({"error": error, "made": made, "why": why})
        else:
            asked = {**DEFAULTS, **vector}
            ring = [] if key is None else [(kind, key)]
            vector["document"] = compact(replay(records, copy.deepcopy(files[asked["base"]]), ring=ring, factory=asked["factory"],
                                                stack=asked["stack"])).decode()
        out.append(vector)

    def good(name, batches, *, base="sealed", recipients=(ME,), key=KEY, kind="env-key", flips=False, **members):
        data_key = DATA_KEY if recipients else None
        if not recipients:
            key = None
        header = header_on(base, recipients, data_key, **members)
        records = seal(header, data_key, batches)
        extra = {"flips": every_flip(records, files[base], [] if key is None else [(kind, key)])} if flips else {}
        add(name, records, key=key, kind=kind, base=base, **extra, **{
            "changes": [[change.decode() for change in changes] for changes in batches],
            "data-key": data_key and data_key.hex(), "journal-id": header["journal-id"],
            "payload": header["payload-type"],
            "recipients": [{"name": r["name"], "body": r["body"], "key": b64(r["master"]), "nonce": r["nonce"].hex()}
                           for r in recipients]})
        return records

    # -- what opens
    mine = good("four records", BATCHES)
    good("one record with one change", BATCHES[:1], flips=True)
    good("two records of a journal that is not encrypted", BATCHES[:2], base="plain", recipients=(), flips=True)
    plain = good("a journal that is not encrypted", BATCHES, base="plain", recipients=())
    good("two recipients, the first one's key", BATCHES[:2], base="for two keys", recipients=(ME, SECOND))
    good("two recipients, the second one's key", BATCHES[:2], base="for two keys", recipients=(ME, SECOND), key=OTHER,
         kind="key-file")
    good("on a genesis", BATCHES, base="genesis")
    good("on a genesis of a tool with other documents", BATCHES[:1], base="genesis of a tool with other documents")
    good("on a base of version 1", BATCHES[:2], base="version 1")
    good("on a base of version 1 that is not encrypted", BATCHES[:2], base="version 1, plain", recipients=())
    good("every kind of change", [[
        put("vpc", id="vpc-2", note="größer 🚀"), put("new"), remove("nothing"),
        compact({"set-factory": {"name": "other", "version": "v2", "content-revision": "77aa", "x": [1]}}),
        compact({"set-generated-at": "2026-07-10T14:00:00.5+02:00"}), compact({"set-outputs": {"url": "x"}})]])
    good("outputs and time are cleared", [[compact({"set-outputs": {"url": "x"}})], [
        compact({"set-outputs": None}), compact({"set-generated-at": ""})]])
    good("a record with 300 changes", [[remove(f"e{n}") for n in range(300)]])
    good("a record without changes", [[], BATCHES[0]])
    good("every member of the provenance", BATCHES[:1], operation="größer 🚀", lock_token="-_aZ09", provenance={
        "run": "r-17", "author": "ada", "host": "build-3", "tool": "unit 1.2", "written-at": "2026-07-10T12:00:00.123456789Z"})
    add("no record", [])
    add("the first two of four records", mine[:2])

    header = header_on()

    def rebuilt(change=None, *, raw=None, batches=BATCHES[:1], data_key=DATA_KEY, of=header, **odd):
        """A journal with another header, tagged as one who knows the data key can."""
        other = json.loads(json.dumps(of))
        if change:
            change(other)
        return seal(raw(compact(other)) if raw else other, data_key, batches, **odd)

    def kms(body, wrapped="AA=="):
        return {"name": "kms", "body": body, "wrapped-key": wrapped}

    def nested(levels):
        value = {}
        for _ in range(levels - 1):
            value = {"x": value}
        return value

    def text_of(old, new):
        def edit(data):
            assert data.count(old) == 1, (old, data.count(old))
            return data.replace(old, new)
        return edit

    add("members in another order", rebuilt(raw=lambda b: compact(dict(reversed(json.loads(b).items())))))
    add("sixteen recipients, the last one's key", rebuilt(lambda h: h.update(
        recipients=[kms({"fingerprint": f"{i:x}"}) for i in range(15)] + h["recipients"])))
    add("nested exactly 16 deep in the body of an unknown recipient",
        rebuilt(lambda h: h["recipients"].append(kms(nested(13)))))
    add("white space inside a change", rebuilt(batches=[[b' { "remove" :\n"db" } ']]))

    # -- the order of the records
    twin = seal(header_on(journal_id="0b" * 16, data_key=SECOND_DATA_KEY), SECOND_DATA_KEY, BATCHES)
    other_run = seal(header_on(journal_id="0c" * 16, run_id="0d" * 16, lock_token="0e" * 16, data_key=THIRD), THIRD, BATCHES)
    branch = seal(header, DATA_KEY, [*BATCHES[:1], [put("c")], *BATCHES[2:]])
    plain_twin = seal(header_on("plain", (), None, journal_id="0b" * 16), None, BATCHES)
    for label, own, another, how in [("", mine, twin, {}), (", not encrypted", plain, plain_twin, {"key": None, "base": "plain"})]:
        def order(name, records, why, made, how=how, label=label):
            add(name + label, records, "Damaged", why, made, **how)
        order("records 1 and 2 swapped", [own[0], own[2], own[1], own[3]], "a record is bound to the tag before it", 1)
        order("record 1 left out", [own[0], *own[2:]], "a record is bound to the tag before it", 1)
        order("record 2 left out", [*own[:2], own[3]], "a record is bound to the tag before it", 4)
        order("record 0 left out", own[1:], "record 0 begins with the magic", 0)
        order("record 1 twice", [*own[:2], own[1], *own[2:]], "a record is bound to the tag before it", 4)
        order("record 0 twice", [own[0], own[0]], "only record 0 has a header", 1)
        order("record 0 at the end", [*own, own[0]], "only record 0 has a header", 6)
        order("the begin record of another journal", [another[0], *own[1:]], "the tag before record 1 is another", 1)
        order("record 1 of another journal of the run", [own[0], another[1]], "each journal has its own key or begin", 1)
        order("record 3 of another journal of the run", [*own[:3], another[3]], "each journal has its own key or begin", 5)
        order("another journal behind the own one", [*own, *another], "only record 0 has a header", 6)
        order("record 2 with the last byte missing", [*own[:2], own[2][:-1], own[3]], "its tag is another", 4)
        order("record 2 with a byte more", [*own[:2], own[2] + b"\0", own[3]], "its tag is another", 4)
        order("record 1 is empty", [own[0], b"", own[2]], "a record has a count and a tag", 1)
        order("records 1 and 2 joined", [own[0], own[1] + own[2], own[3]], "its tag is another", 1)
        order("record 0 without its batch", [own[0][:44 + struct.unpack("<I", own[0][8:12])[0]], *own[1:]],
              "a record has a count and a tag", 0)
        order("the count of record 1 changed", [own[0], changed(own[1], 0), *own[2:]],
              "the count is part of the associated data", 1)
    add("two records under number 1", [mine[0], mine[1], branch[1]], "Damaged", "the second of them is no record 2", 4)
    add("record 2 behind another record 1", [mine[0], branch[1], mine[2]], "Damaged",
        "a record is bound to the tag before it", 2)
    add("record 1 of another run on the same base", [mine[0], other_run[1]], "Damaged", "each journal has its own key", 1)
    add("the begin record of another run", [other_run[0], *mine[1:]], "Damaged", "each journal has its own key", 1)

    # -- places
    for name, base, place in [
            ("another base", "later", {}), ("another file of the same name", "sealed again", {}),
            ("another stack", "of another stack", {"stack": "dev"}), ("another factory", "of another factory", {"factory": "Net"})]:
        add(f"the journal of {name}", mine, "Misplaced", "the header names what it belongs to", base=base, **place)
        same = ["payload-type", "factory", "stack", "base", "base-digest"]
        there = header_on(base)
        add(f"moved to {name}, header rewritten and tagged anew", rebuilt(lambda h, t=there: h.update(
            {member: t[member] for member in same})), "Damaged", "the wrapped key is bound to the place", base=base, **place)
        add(f"moved to {name}, header wrapped and tagged anew, records copied",
            [seal(there, DATA_KEY, BATCHES)[0], *mine[1:]], "Damaged", "record 1 is bound to the begin", 1, base=base, **place)
    add("the journal of another base, not encrypted", plain, "Misplaced", "the header names what it belongs to", key=None,
        base="plain, later")
    # A file of version 1 does not say where it belongs, so its digest does not, either.
    on_1 = seal(header_on("version 1, plain", (), None), None, BATCHES)
    for name, place in [("another base", {"base": "version 1, plain, later"}), ("another stack", {"stack": "dev"}),
                        ("another factory", {"factory": "Net"})]:
        add(f"the journal of {name} with the same file of version 1", on_1, "Misplaced", "the digest alone does not tell",
            key=None, **{"base": "version 1, plain", **place})
    add("the digest in capitals", rebuilt(lambda h: h.update({"base-digest": h["base-digest"].upper()})), "Misplaced",
        "the text is compared")
    add("another place and another key", mine, "Misplaced", "the place is compared before any key is tried", key=OTHER,
        base="for two variables")
    add("the journal-id rewritten and tagged anew", rebuilt(lambda h: h.update({"journal-id": "0b" * 16})), "Damaged",
        "the wrapped key is bound to the journal-id")
    add("another payload type", seal(header_on(payload_type="plan"), DATA_KEY, BATCHES), "OtherPayload",
        "it is not the type of the base")
    add("another payload type on a genesis", seal(header_on("genesis", payload_type="plan"), DATA_KEY, BATCHES),
        "OtherPayload", "it is not the type that the reader wants", base="genesis")
    add("the payload type rewritten and tagged anew", rebuilt(lambda h: h.update({"payload-type": "plan"})), "Damaged",
        "the wrapped key is bound to the payload type")

    # -- plain or sealed
    add("a journal that is not encrypted and a real ring", seal(header_on(recipients=(), data_key=None), None, BATCHES),
        "Refused", "a real ring never opens what has no seal")
    add("an encrypted journal and a plain ring", seal(header_on("plain"), DATA_KEY, BATCHES), "Refused",
        "a plain ring opens only what has no seal", key=None, base="plain")
    plain_header = header_on("plain", (), None)
    for tagged, why in [(hashlib.sha256(batch_of(BATCHES[0])).digest(), "the tag covers what is before the record"),
                        (hashlib.sha256(struct.pack("<I", 1) + batch_of(BATCHES[0])).digest(), "the tag covers the tag before")]:
        head = head_of(compact(plain_header))
        add(f"not encrypted, {why}", [head + header_tag(None, head) + struct.pack("<I", 1) + batch_of(BATCHES[0]) + tagged],
            "Damaged", why, key=None, base="plain")
    add("not encrypted, the header tag changed", [changed(plain[0], 12 + struct.unpack("<I", plain[0][8:12])[0])], "Damaged",
        "the tag is over the header", key=None, base="plain")
    add("not encrypted, but recipients", rebuilt(lambda h: h["recipients"].extend(header["recipients"]), data_key=None,
        of=plain_header), "Damaged", "recipients are empty when seal is none", key=None, base="plain")
    add("not encrypted, but recipients, and a real ring", rebuilt(lambda h: h.update(seal="none")), "Damaged",
        "a header that contradicts itself is not judged")
    add("a seal, but no recipients", rebuilt(lambda h: h["recipients"].clear()), "Damaged", "1 to 16 recipients")

    # -- keys
    on_two = header_on("for two variables")
    two = {"base": "for two variables"}

    def named(master):
        return rebuilt(lambda h: h["recipients"][0]["body"].update(fingerprint=fingerprint(master)), of=on_two)
    add("another key", rebuilt(of=on_two), "WrongKey", "no recipient has its fingerprint", key=OTHER, **two)
    add("a key of another kind", rebuilt(of=header_on("for two keys")), "WrongKey",
        "recipients match by name and fingerprint", base="for two keys", key=OTHER, kind="key-file")
    add("another key whose fingerprint is recorded", named(OTHER), "Damaged",
        "the fingerprint finds a key and proves nothing", key=OTHER, **two)
    add("the recorded fingerprint is another key's", named(OTHER), "WrongKey", "no recipient has its fingerprint", **two)
    add("the recorded fingerprint is missing", rebuilt(lambda h: h["recipients"][0]["body"].pop("fingerprint")),
        "WrongKey", "no recipient has its fingerprint")
    wrapped = base64.b64decode(header["recipients"][0]["wrapped-key"])

    def rewrapped(data):
        return rebuilt(lambda h: h["recipients"][0].update({"wrapped-key": b64(data)}))
    add("a byte of the wrapped key changed", rewrapped(changed(wrapped, 40)), "Damaged", "it does not unwrap, and names the key")
    add("the wrapped key is empty", rewrapped(b""), "Damaged", "72 bytes are expected")
    add("wrapped without the recipient's name", rewrapped(wrap(KEY, NONCE, DATA_KEY, context(header))), "Damaged",
        "the name is part of the associated data")
    add("the wrapped key of the base", rewrapped(wrapped_key_of(base64.b64decode(files["sealed"]["sealed"]))), "Damaged",
        "the context begins with another label")
    add("the header tag changed", [changed(mine[0], 12 + struct.unpack("<I", mine[0][8:12])[0]), *mine[1:]], "Damaged",
        "the tag does not verify")
    head = head_of(compact(header))
    for name, tag in [("without a key", hashlib.sha256(head).digest()), ("with the key of a snapshot's header",
                                                                        v2.header_tag(DATA_KEY, head))]:
        data, _ = record(DATA_KEY, 0, tag, batch_of(BATCHES[0]), count=1)
        add(f"the header tag made {name}", [head + tag + data], "Damaged", "the tag has a key of its own")
    for name, odd in [
            ("the associated data is the tag before alone", {"bound": mine[0][-16:]}),
            ("the associated data is the count alone", {"bound": struct.pack("<I", 1)}),
            ("there is no associated data", {"bound": b""}),
            ("the nonce is zero", {"nonce": bytes(12)}),
            ("the number is at the end of the nonce", {"nonce": struct.pack("<4xQ", 1)}),
            ("the number in the nonce is big-endian", {"nonce": struct.pack(">Q4x", 1)}),
            ("the key is that of a snapshot's body", {"info": b"ubstate v2 body"}),
            ("the key is that of the header", {"info": HEADER_INFO})]:
        add(f"record 1: {name}", rebuilt(batches=[BATCHES[0], [put("c")]], **odd), "Damaged",
            "a record is sealed in one way", 1)

    # -- batches; every tag is right
    change = struct.pack("<I", len(put("c"))) + put("c")
    for name, count, batch, why, made in [
            ("one change, said to be two", 2, change, "the batch ends before its changes do", 2),
            ("two changes, said to be one", 1, change * 2, "bytes are left over", 2),
            ("one change, said to be none", 0, change, "bytes are left over", 1),
            ("one change, said to be 2^32 - 1", 0xFFFFFFFF, change, "nothing is reserved by what it says", 2),
            ("a byte after the changes", 1, change + b"\0", "bytes are left over", 2),
            ("a change that is a byte longer than the batch", 1, struct.pack("<I", len(put("c")) + 1) + put("c"),
             "a change ends with the batch", 1),
            ("a change of 2^32 - 1 bytes", 1, b"\xff" * 4 + put("c"), "nothing is reserved by what it says", 1),
            ("half a length", 1, b"\x01\0", "a length has four bytes", 1),
            ("an empty batch, said to be one change", 1, b"", "a length has four bytes", 1)]:
        add(name, rebuilt(batches=[BATCHES[0], []], batch=batch, count=count), "Damaged", why, made)
    for name, data in [
            ("an empty change", b""), ("an empty object", b"{}"), ("a change that is no object", b"7"), ("an unknown change", b'{"rename":"a"}'),
            ("two changes in one object", b'{"remove":"a","set-outputs":null}'), ("a change twice", b'{"remove":"a","remove":"b"}'),
            ("text after the change", b'{"remove":"a"}{}'), ("a change that is not UTF-8", b'{"remove":"\xff"}'),
            ("an entry without an address", compact({"put": {**entry(""), "address": ""}})),
            ("an entry without a binding", compact({"put": {k: v for k, v in entry("a").items() if k != "binding"}})),
            ("an entry whose category does not fit", compact({"put": {**entry("a"), "category": "action"}})),
            ("an entry whose inputs are a list", compact({"put": {**entry("a"), "inputs": []}})),
            ("an entry that is null", b'{"put":null}'), ("an address that is null", b'{"remove":null}'),
            ("an entry with a member twice", compact({"put": entry("a")}).replace(b'"address":"a"', b'"address":"a","address":"a"')),
            ("outputs that are a list", b'{"set-outputs":[]}'), ("a factory that is null", b'{"set-factory":null}'),
            ("a time that is no time", b'{"set-generated-at":"today"}')]:
        add(name, rebuilt(batches=[BATCHES[0], [put("c"), data, put("d")]]), "InvalidSnapshot", "the change breaks a rule", 2)

    # -- the frame of record 0
    length = struct.unpack("<I", mine[0][8:12])[0]
    for name, first, error, why in [
            ("record 0 is empty", b"", "Damaged", "there is no magic"), ("the magic alone", MAGIC, "Damaged", "cut short"),
            ("a snapshot's magic", v2.MAGIC + mine[0][8:], "Damaged", "that is no journal"),
            ("a sealed snapshot", base64.b64decode(files["sealed"]["sealed"]), "Damaged", "that is no journal"),
            ("H is 1 MiB and one byte", mine[0][:8] + struct.pack("<I", v2.MAX_HEADER + 1) + mine[0][12:], "TooLarge",
             "H is looked at before the size of the record"),
            ("H is 2^32 - 1", mine[0][:8] + b"\xff" * 4 + mine[0][12:], "TooLarge", "44 + H must not overflow"),
            ("H reaches past the end by one", mine[0][:8] + struct.pack("<I", len(mine[0]) - 43) + mine[0][12:], "Damaged",
             "44 + H is more than the record"),
            ("H is zero", mine[0][:8] + bytes(4) + mine[0][12:], "Damaged", "an empty header is not JSON"),
            ("H is one too large", mine[0][:8] + struct.pack("<I", length + 1) + mine[0][12:], "Damaged",
             "a byte of the tag after the header's object"),
            ("a letter of the provenance changed", mine[0].replace(b'"ada"', b'"eve"'), "Damaged",
             "the header is not what was tagged"),
            ("the run-id changed", mine[0].replace(RUN_ID.encode(), b"0d" * 16), "Damaged", "the header is not what was tagged")]:
        add(name, [first, *mine[1:]], error, why)

    # -- the header's members; every tag is right
    def header_case(name, why, change=None, raw=None, error="Damaged"):
        add(name, rebuilt(change, raw=raw), error, why)

    header_case("journal-version 2", "a newer version", lambda h: h.update({"journal-version": 2}), error="Refused")
    header_case("journal-version 2 with members that version 1 does not know", "the version is looked at first",
                raw=lambda _: b'{"journal-version":2,"cipher":"x"}', error="Refused")
    header_case("journal-version 0", "not version 1", lambda h: h.update({"journal-version": 0}), error="Refused")
    header_case("journal-version as text", "the version is a number", lambda h: h.update({"journal-version": "1"}))
    for member in MEMBERS:
        header_case(f"no {member}", "a member is missing", lambda h, m=member: h.pop(m))
    header_case("no written-at", "a member is missing", lambda h: h["provenance"].pop("written-at"))
    header_case("an unknown member", "unknown members are refused", lambda h: h.update(note="x"))
    header_case("a member of a snapshot's header", "unknown members are refused", lambda h: h.update(parent=None))
    header_case("an unknown member of a recipient", "unknown members are refused",
                lambda h: h["recipients"][0].update(note="x"))
    header_case("an unknown member of the provenance", "unknown members are refused",
                lambda h: h["provenance"].update(note="x"))
    header_case("a member twice", "repeated members are refused",
                raw=text_of(b'"stack":"prod"', b'"stack":"prod","stack":"prod"'))
    header_case("the version twice", "repeated members are refused",
                raw=text_of(b'"journal-version":1', b'"journal-version":1,"journal-version":1'))
    header_case("a member of a body twice", "repeated members are refused in the body too",
                raw=text_of(b'"env-var":"KEY"', b'"env-var":"KEY","env-var":"KEY"'))
    header_case("nested 17 deep", "16 levels at most", lambda h: h["recipients"].append(kms(nested(14))))
    header_case("seventeen recipients", "16 at most", lambda h: h["recipients"].extend(
        kms({"fingerprint": f"{i:x}"}) for i in range(16)))
    header_case("two recipients with equal name and fingerprint", "one of them can never be meant",
                lambda h: h["recipients"].append({**h["recipients"][0], "body": {"env-var": "B", "fingerprint": fingerprint(KEY)}}))
    header_case("two recipients with equal name and body, without fingerprints", "one of them can never be meant",
                lambda h: h["recipients"].extend([kms({"key": "x"}), kms({"key": "x"})]))
    header_case("a wrapped key with a line feed", "base64 is canonical",
                lambda h: h["recipients"][0].update({"wrapped-key": h["recipients"][0]["wrapped-key"] + "\n"}))
    header_case("a wrapped key with the alphabet for addresses", "base64 is standard",
                lambda h: h["recipients"].append(kms({}, "__8=")))
    header_case("a wrapped key without padding", "base64 is padded", lambda h: h["recipients"].append(kms({}, "AA")))
    header_case("a wrapped key with bits left over", "base64 is canonical", lambda h: h["recipients"].append(kms({}, "AB==")))
    header_case("a provenance text of 4097 bytes", "4 KiB at most", lambda h: h["provenance"].update(host="é" * 2048 + "x"))
    header_case("a written-at that is no time", "RFC 3339", lambda h: h["provenance"].update({"written-at": "today"}))
    header_case("an unknown seal", "only chacha20-poly1305 and none are known", lambda h: h.update(seal="aes-256-gcm"))
    header_case("an empty run-id", "1 to 64 letters, digits, - and _", lambda h: h.update({"run-id": ""}))
    header_case("a run-id with a space", "1 to 64 letters, digits, - and _", lambda h: h.update({"run-id": "r 17"}))
    header_case("a run-id of 65 digits", "1 to 64 letters, digits, - and _", lambda h: h.update({"run-id": "1" * 65}))
    header_case("an empty lock-token", "1 to 64 letters, digits, - and _", lambda h: h.update({"lock-token": ""}))
    header_case("a lock-token with a slash", "1 to 64 letters, digits, - and _", lambda h: h.update({"lock-token": "a/b"}))
    header_case("a number as operation", "a text is expected", lambda h: h.update(operation=7))
    header_case("a header that is a list", "an object is expected", raw=lambda b: b"[" + b + b"]")
    header_case("a second object after the header", "one object is expected", raw=lambda b: b + b"{}")
    header_case("a header that is not UTF-8", "UTF-8 is expected", raw=text_of(b'"ada"', b'"\xff\xfe"'))
    header_case("half a surrogate pair", "that is no text", raw=text_of(b'"ada"', b'"\\ud800"'))

    names = [vector["name"] for vector in out]
    assert len(names) == len(set(names)), [n for n in names if names.count(n) > 1]
    return {"defaults": DEFAULTS, "bases": {name: {**file, "document": compact(file["document"]).decode()}
                                            for name, file in files.items()}, "vectors": out}


def check(file):
    """Every base against `envelope_v2.open`, and every vector against `replay`."""
    for base in file["bases"].values():
        base["document"] = json.loads(base["document"])
    for vector in file["vectors"]:
        vector = {**file["defaults"], **vector}
        ring = [] if vector["key"] is None else [(vector["key-kind"], base64.b64decode(vector["key"]))]
        base = copy.deepcopy(file["bases"][vector["base"]])
        place = {"factory": vector["factory"], "stack": vector["stack"]}
        records = list(map(base64.b64decode, vector["records"]))
        sealed = base64.b64decode(base["sealed"])
        if sealed[:8] == v2.MAGIC and not vector["base"].startswith("genesis"):
            opened = v2.open(sealed, payload="state", revision=base["revision"], ring=ring, **place)
            assert json.loads(opened) == base["document"], vector["name"]
        if "flips" in vector:
            assert every_flip(records, base, ring) == vector["flips"], vector["name"]
        try:
            found = replay(records, base, ring=ring, **place)
            assert vector.get("error") is None, f"{vector['name']}: opened"
            assert compact(found).decode() == vector["document"], vector["name"]
        except Failure as failure:
            expected = vector.get("error"), vector.get("made")
            assert (failure.kind, failure.made) == expected, f"{vector['name']}: {failure} {failure.made}, expected {expected}"
    return len(file["vectors"])


def main():
    if sys.argv[1:] == ["vectors"]:
        def line(value):
            return json.dumps(value, separators=(",", ":"))
        file = vectors()
        bases = [f"{line(name)}:{line(base)}" for name, base in file["bases"].items()]
        print(f'{{"defaults":{line(file["defaults"])},\n"bases":{{\n' + ",\n".join(bases) + '\n},\n"vectors":[\n'
              + ",\n".join(map(line, file["vectors"])) + "\n]}")
    elif sys.argv[1:2] == ["check"] and len(sys.argv) == 3:
        with open(sys.argv[2]) as file:
            print(check(json.load(file)), "vectors hold")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
