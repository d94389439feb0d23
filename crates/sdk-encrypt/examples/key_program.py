#!/usr/bin/env python3
"""Keeps a key for `--encrypter command:/path/of/key_program.py`. A real one asks a key service, a device or a password manager.

The 32 bytes of the key are in the file $KEY_PROGRAM_FILE. They seal by encrypt-then-MAC with HMAC-SHA-256, which Python has.
"""

import base64
import hashlib
import hmac
import json
import os
import sys


def mac(purpose, *parts):
    lengths = b"".join(len(part).to_bytes(4, "big") for part in parts)
    return hmac.new(key, purpose + lengths + b"".join(parts), hashlib.sha256).digest()


def xor(one, other):
    return bytes(a ^ b for a, b in zip(one, other))


key = open(os.environ["KEY_PROGRAM_FILE"], "rb").read()
own = mac(b"id").hex()[:16]
question = json.load(sys.stdin)
if question.pop("version") != 1:
    sys.exit("only version 1 is known")
[(what, given)] = question.items()
if given.get("id", own) != own:
    sys.exit("this is the key " + own)
data = {name: base64.b64decode(given[name]) for name in ("key", "wrapped", "context") if name in given}

if what == "identify":
    answer = {"id": own}
elif what == "wrap":
    nonce = os.urandom(32)
    sealed = nonce + xor(data["key"], mac(b"encrypt", nonce))
    answer = {"wrapped": sealed + mac(b"authenticate", sealed, data["context"])}
else:
    sealed, tag = data["wrapped"][:64], data["wrapped"][64:]
    is_mine = hmac.compare_digest(mac(b"authenticate", sealed, data["context"]), tag)
    answer = {"key": xor(sealed[32:], mac(b"encrypt", sealed[:32])) if is_mine else None}
answer = {name: base64.b64encode(value).decode() if isinstance(value, bytes) else value for name, value in answer.items()}
json.dump({"version": 1, **answer}, sys.stdout)
