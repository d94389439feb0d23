#!/usr/bin/env python3
"""Keeps a key for `command:key_program.py`: the same protocol would go to a key service, a device or a password manager.

The 32 bytes of the key are in the file $KEY_PROGRAM_FILE. It needs: pip install pynacl.
"""

import base64
import hashlib
import json
import os
import sys

from nacl.bindings import (crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt,
                           crypto_aead_xchacha20poly1305_ietf_encrypt as encrypt)
from nacl.exceptions import CryptoError

key = open(os.environ["KEY_PROGRAM_FILE"], "rb").read()
question = json.load(sys.stdin)
if question.pop("version") != 1:
    sys.exit("only version 1 is known")
[(what, given)] = question.items()
own = hashlib.sha256(b"key_program.py" + key).hexdigest()[:16]
if given.get("id", own) != own:
    sys.exit("this is the key " + own)
data = {name: base64.b64decode(given[name]) for name in ("key", "wrapped", "context") if name in given}

if what == "identify":
    answer = {"id": own}
elif what == "wrap":
    nonce = os.urandom(24)
    answer = {"wrapped": nonce + encrypt(data["key"], data["context"], nonce, key)}
else:
    nonce, sealed = data["wrapped"][:24], data["wrapped"][24:]
    try:
        answer = {"key": decrypt(sealed, data["context"], nonce, key)}
    except (CryptoError, ValueError):
        answer = {"key": None}
answer = {name: base64.b64encode(value).decode() if isinstance(value, bytes) else value for name, value in answer.items()}
json.dump({"version": 1, **answer}, sys.stdout)
