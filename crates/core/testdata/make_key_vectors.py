"""Writes key-vectors.json, audit-vectors.json and seal-vectors.json: formats of Keyward, computed a second time.

    python3 make_key_vectors.py            write the files beside this script
    python3 make_key_vectors.py --check    say whether the files are what this script makes

It is written from the description of the formats and shares nothing with the Rust code, so that a mistake in either
shows in the tests (key_text.rs, audit.rs, seal.rs in tests/it). Standard library only. The "random" parts are derived
from fixed labels: the vectors are the same on every run, and none of them is a key of anybody.

A key's text is PREFIX + "_" + base64url without padding of 73 ASCII bytes: 16 of the key's id, 50 of the secret, 7 of
the CRC-32 (ISO-HDLC) of PREFIX + "_" + id + secret in base 36. The last 6 characters of an id are the last 6 base-36
digits of the first 8 bytes (big-endian) of HMAC-SHA256(key, "keyward key id v1" + 0x00 + the first 10 characters).

An audit hash is SHA-256 over fields, each with its length before it as 8 big-endian bytes; a number is 8 bytes,
big-endian, two's complement. What a secret is sealed to is written in the same way, and an absent number is an empty
field. Sealed rows live as long as a database: if these vectors change, every stored key stops opening.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys
import zlib

HERE = pathlib.Path(__file__).resolve().parent
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
URL_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def base36(number, width):
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = BASE36[digit] + digits
    return digits[-width:].rjust(width, "0")


def characters(label, count):
    """`count` characters of base 36 that depend on nothing but `label`."""
    text, block = "", 0
    while len(text) < count:
        stream = hashlib.sha256(f"{label} {block}".encode()).digest()
        text += "".join(BASE36[byte % 36] for byte in stream if byte < 252)
        block += 1
    return text[:count]


def checksum(prefix, key_id, secret):
    return base36(zlib.crc32(f"{prefix}_{key_id}{secret}".encode()), 7)


def encode(prefix, decoded):
    return prefix + "_" + base64.urlsafe_b64encode(decoded.encode()).decode().rstrip("=")


def valid(name, prefix, key_id, secret):
    check = checksum(prefix, key_id, secret)
    text = encode(prefix, key_id + secret + check)
    assert len(text) == len(prefix) + 99
    return {
        "name": name,
        "prefix": prefix,
        "text": text,
        "id": key_id,
        "secret": secret,
        "checksum": check,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "hint_head": text[: len(prefix) + 1 + 6],
        "hint_tail": text[-4:],
    }


def secret_with_small_checksum(prefix, key_id):
    """A secret whose checksum begins with zeros, so that padding is tested."""
    attempt = 0
    while True:
        secret = characters(f"padding {attempt}", 50)
        if checksum(prefix, key_id, secret).startswith("000"):
            return secret
        attempt += 1


def valid_keys(keyring_id):
    first = valid("plain", "dtvi", characters("id", 16), characters("secret", 50))
    return [
        first,
        valid("the same key id with another secret", "dtvi", first["id"], characters("another secret", 50)),
        valid("all zeros", "dtvi", "0" * 16, "0" * 50),
        valid("all z", "dtvi", "z" * 16, "z" * 50),
        valid("checksum with leading zeros", "dtvi", "p" * 16, secret_with_small_checksum("dtvi", "p" * 16)),
        valid("the id is the one that the keyring below gives", "dtvi", keyring_id, characters("ours", 50)),
        valid("shortest prefix", "k1", characters("short", 16), characters("short secret", 50)),
        valid("longest prefix", "abcdefghi9", characters("long", 16), characters("long secret", 50)),
    ]


def replaced(text, at, character):
    return text[:at] + character + text[at + 1 :]


def malformed_keys(key):
    text, key_id, secret, check = key["text"], key["id"], key["secret"], key["checksum"]
    body = text[5:]
    rows = []

    def add(name, text, defect, **more):
        rows.append({"name": name, "prefix": "dtvi", "text": text, "defect": defect, **more})

    add("empty", "", "prefix")
    add("a word", "hello", "prefix")
    add("the prefix alone", "dtvi", "prefix")
    add("prefix and underscore alone", "dtvi_", "length", expected=103, got=5)
    add("without the prefix", body, "prefix")
    add("another prefix of the same length", "dtvx_" + body, "prefix")
    add("upper-case prefix", "DTVI_" + body, "prefix")
    add("one upper-case letter in the prefix", "dtvI_" + body, "prefix")
    add("hyphen in place of the underscore", "dtvi-" + body, "prefix")
    add("prefix twice", "dtvi_" + text, "length", expected=103, got=108)
    add("one character short at the end", text[:-1], "length", expected=103, got=102)
    add("one character short in the middle", text[:50] + text[51:], "length", expected=103, got=102)
    add("one character more at the end", text + "A", "length", expected=103, got=104)
    add("one character more in the middle", text[:50] + "A" + text[50:], "length", expected=103, got=104)
    add("padded base64", text + "==", "length", expected=103, got=105)
    add("twice in a row", text + text, "length", expected=103, got=206)
    add("cut by a shell at 64", text[:64], "length", expected=103, got=64)
    add("masked as in a hint", key["hint_head"] + "..." + key["hint_tail"], "length", expected=103, got=18)

    add("space before", " " + text, "surrounding_space")
    add("space after", text + " ", "surrounding_space")
    add("line end after", text + "\n", "surrounding_space")
    add("carriage return and line end after", text + "\r\n", "surrounding_space")
    add("tab before", "\t" + text, "surrounding_space")
    add("no-break space after", text + "\u00a0", "surrounding_space")
    add("space around quotes", f' "{text}" ', "surrounding_space")
    add("only a space", " ", "surrounding_space")
    add("double quotes", f'"{text}"', "quotes")
    add("single quotes", f"'{text}'", "quotes")
    add("backticks", f"`{text}`", "quotes")
    add("typographic quotes", f"\u201c{text}\u201d", "quotes")
    add("a quote at the beginning only", f'"{text}', "quotes")
    add("a quote at the end only", f"{text}'", "quotes")
    add("space inside quotes", f'" {text}"', "quotes")
    add("a space inside", text[:40] + " " + text[40:], "inner_space", position=41)
    add("a line end inside", text[:76] + "\n" + text[76:], "inner_space", position=77)
    add("a space in place of a character", replaced(text, 60, " "), "inner_space", position=61)
    add("a no-break space inside", replaced(text, 60, "\u00a0"), "inner_space", position=61)
    add("a space after the prefix", "dtvi_ " + body, "inner_space", position=6)

    add("non-ASCII letter", replaced(text, 30, "\u00e9"), "character", position=31)
    add("a look-alike from another alphabet", replaced(text, 30, "\u0410"), "character", position=31)
    add("outside the basic plane", replaced(text, 102, "\U0001f511"), "character", position=103)
    add("zero-width space in place of a character", replaced(text, 5, "\u200b"), "character", position=6)
    add("plus, from ordinary base64", replaced(text, 50, "+"), "character", position=51)
    add("slash, from ordinary base64", replaced(text, 50, "/"), "character", position=51)
    add("equals sign inside", replaced(text, 102, "="), "character", position=103)
    add("a full stop inside", replaced(text, 20, "."), "character", position=21)
    add("a quote inside", replaced(text, 20, '"'), "character", position=21)
    add("NUL inside", replaced(text, 20, "\x00"), "character", position=21)
    add("non-ASCII prefix", "dtv\u0456_" + body, "prefix")

    other = "b" if text[50] != "b" else "c"
    add("one character changed", replaced(text, 50, other), "checksum")
    add("two neighbours swapped", text[:50] + text[51] + text[50] + text[52:], "checksum")
    assert text[50] != text[51]
    add("the checksum of another key", encode("dtvi", key_id + secret + checksum("dtvi", key_id, "0" * 50)), "checksum")
    add("the checksum without the prefix in it",
        encode("dtvi", key_id + secret + base36(zlib.crc32((key_id + secret).encode()), 7)), "checksum")
    add("the checksum under another prefix", encode("dtvi", key_id + secret + checksum("dtvx", key_id, secret)), "checksum")
    add("upper-case checksum", encode("dtvi", key_id + secret + check.upper()), "checksum")
    add("an upper-case character in the id, with a checksum that fits it",
        encode("dtvi", "A" + key_id[1:] + secret + checksum("dtvi", "A" + key_id[1:], secret)), "checksum")
    add("a hyphen in the secret, with a checksum that fits it",
        encode("dtvi", key_id + "-" + secret[1:] + checksum("dtvi", key_id, "-" + secret[1:])), "checksum")
    add("72 bytes and a group that decodes to nothing", text[:-2] + "__", "checksum")
    # The last character holds two bits of the 73rd byte and four that are zero: the other 15 spellings decode to the
    # same bytes in a careless decoder, and would give one key several texts (and digests).
    last = URL_SAFE.index(text[-1])
    assert last % 16 == 0
    for rest in range(1, 16):
        add(f"trailing bits {rest:04b} in place of 0000", replaced(text, 102, URL_SAFE[last + rest]), "checksum")
    return rows


def keyring():
    mac_key = hashlib.sha256(b"vector: the key of the id's MAC").digest()
    sealing_key = hashlib.sha256(b"vector: sealing key 1").digest()
    unpadded = lambda key: base64.b64encode(key).decode().rstrip("=")
    text = json.dumps({
        "format": 1,
        "id": characters("keyring", 16),
        "key_id_mac_key": unpadded(mac_key),
        "active": 1,
        "versions": {"1": {"created_at_ms": 1_700_000_000_000, "key": unpadded(sealing_key)}},
    })
    ids = []
    for drawn in ["0000000000", "zzzzzzzzzz", *(characters(f"drawn {number}", 10) for number in range(6))]:
        tag = hmac.new(mac_key, b"keyward key id v1\x00" + drawn.encode(), hashlib.sha256).digest()
        ids.append(drawn + base36(int.from_bytes(tag[:8], "big"), 6))
    check_value = hmac.new(mac_key, b"keyward keyring check v1\x00" + characters("keyring", 16).encode(), hashlib.sha256)
    return {"text": text, "key_ids": ids, "check_value": check_value.hexdigest()}


def field(value):
    if isinstance(value, int):
        value = value.to_bytes(8, "big", signed=True)
    if isinstance(value, str):
        value = value.encode()
    return len(value).to_bytes(8, "big") + value


def hashed(*fields):
    return hashlib.sha256(b"".join(map(field, fields))).hexdigest()


def audit():
    entries, previous = [], "00" * 32
    rows = [
        ("org-123", 1_700_000_000_000, "local_administrator", "organization.create", "organization/org-123", "r-1", "{}"),
        ("org-123", 1_700_000_000_001, "person/p-1", "key.create", "key/" + characters("id", 16), "r-2",
         '{"level":"full","name_commitment":"00ff"}'),
        ("org-123", -1, "system", "key.delete", "key/" + characters("id", 16), "", '{"reason":"\u00e9\u4e2d\U0001f511"}'),
    ]
    for sequence, (chain, at, actor, action, target, request_id, facts) in enumerate(rows, start=1):
        digest = hashed("keyward audit entry v1", chain, sequence, bytes.fromhex(previous), at, actor, action, target,
                        request_id, facts)
        entries.append({
            "chain": chain, "sequence": sequence, "previous": previous, "at_ms": at, "actor": actor, "action": action,
            "target": target, "request_id": request_id, "facts": facts, "hash": digest,
        })
        previous = digest
    commitments = [
        {"salt": salt, "value": value, "commitment": hashed("keyward audit commitment v1", salt, value)}
        for salt, value in [("00112233445566778899aabbccddeeff", "ada@example.org"), ("", ""), ("a", "bc"), ("ab", "c"),
                            ("00112233445566778899aabbccddeeff", "M\u00fcller \u4e2d")]
    ]
    return {"about": "See make_key_vectors.py, which writes this file.", "entries": entries, "commitments": commitments}


def seals():
    """The rows of tests/it/seal.rs: one with every field set, one with as few as can be, a deleted one."""

    def binding(*fields):
        return b"".join(map(field, ("keyward sealed key v1", "org-a", "0123456789abcdef", *fields))).hex()

    now = 1_750_000_000_000
    no_conditions = ("", "", "anywhere", "", "")
    full = binding(
        4, 2, "until", now + 500,
        "active", "", "",
        3, "restricted", 2,
        2, "dataset.read", "dataset.write", 2, "dataset/a", "dataset/b",
        1, "training.*", 2, "run/*", "flow/f",
        now, now + 1000, "only", 2, "10.0.0.0/8", "2001:db8::/32", 10, 60_000,
    )
    plain = binding(1, 1, "current", "", "active", "", "", 7, "full", 0, *no_conditions)
    deleted = binding(1, 1, "ended", "", "deleted", "compromised", now, 7, "full", 0, *no_conditions)
    return {
        "about": "See make_key_vectors.py, which writes this file.",
        "full": full,
        "plain": plain,
        "deleted": deleted,
    }


def keys():
    ring = keyring()
    good = valid_keys(ring["key_ids"][2])
    return {
        "about": "See make_key_vectors.py, which writes this file. Parse each text with its prefix.",
        "valid": good,
        "malformed": malformed_keys(good[0]),
        "keyring": ring,
    }


def main():
    is_check = "--check" in sys.argv[1:]
    contents = [("key-vectors.json", keys()), ("audit-vectors.json", audit()), ("seal-vectors.json", seals())]
    for name, content in contents:
        path, text = HERE / name, json.dumps(content, indent=2) + "\n"
        if is_check and (not path.exists() or path.read_text() != text):
            sys.exit(f"{name} is not what this script makes")
        if not is_check:
            path.write_text(text)


if __name__ == "__main__":
    main()
