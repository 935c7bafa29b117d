#!/usr/bin/env python3
"""Checks Plaudit's certificates, proofs and slots' exports by their documented format alone (src/merkle/mod.rs).

Shares nothing with the program: BLAKE3 is written out below. Python's own library suffices.

    verify.py certificate FILE          whether a certificate agrees with itself
    verify.py proof FILE CERTIFICATE    whether a ballot is in, and in that certificate's tree
    verify.py export FILE               whether an export's ballots are the certificate's
    verify.py vectors                   known hashes, this program's own test

Exits with 0 when all is well, 1 with what is wrong on standard output.
"""

import json
import sys

# BLAKE3 (https://github.com/BLAKE3-team/BLAKE3-specs), unkeyed, 32 bytes.
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
MASK = 0xFFFFFFFF


def turn(word, by):
    return ((word >> by) | (word << (32 - by))) & MASK


def compress(value, words, counter, length, flags):
    state = list(value) + list(IV[:4]) + [counter & MASK, counter >> 32, length, flags]
    words = list(words)
    for _ in range(7):
        at = 0
        for a, b, c, d in COLUMNS + DIAGONALS:
            for word, first, second in ((words[at], 16, 12), (words[at + 1], 8, 7)):
                state[a] = (state[a] + state[b] + word) & MASK
                state[d] = turn(state[d] ^ state[a], first)
                state[c] = (state[c] + state[d]) & MASK
                state[b] = turn(state[b] ^ state[c], second)
            at += 2
        words = [words[n] for n in ORDER]
    return [state[n] ^ state[n + 8] for n in range(8)]


def words_of(block):
    block = block.ljust(64, b"\0")
    return [int.from_bytes(block[n : n + 4], "little") for n in range(0, 64, 4)]


def chunk(data, number, flags):
    blocks = [data[n : n + 64] for n in range(0, len(data), 64)] or [b""]
    value = IV
    for n, block in enumerate(blocks):
        place = (CHUNK_START if n == 0 else 0) | ((CHUNK_END | flags) if n == len(blocks) - 1 else 0)
        value = compress(value, words_of(block), number, len(block), place)
    return value


def subtree(data, number, flags):
    if len(data) <= 1024:
        return chunk(data, number, flags)
    left = 1024
    while left * 2 < len(data):
        left *= 2
    both = subtree(data[:left], number, 0) + subtree(data[left:], number + left // 1024, 0)
    return compress(IV, both, 0, 64, PARENT | flags)


def blake3(data):
    return b"".join(word.to_bytes(4, "little") for word in subtree(data, 0, ROOT))


# The format.
TYPES = {"standard": 0, "super": 1, "mega": 2}


def field(data):
    assert len(data) < 256
    return bytes([len(data)]) + data


def number(value, size=8):
    return field(value.to_bytes(size, "big"))


def voter_in(voter_id, season, slot):
    return blake3(field(voter_id) + field(season.encode()) + number(slot, 4))


def leaf_hash(leaf):
    return blake3(
        b"\0"
        + field(bytes.fromhex(leaf["c"]))
        + field(leaf["clipId"].encode())
        + number(TYPES[leaf["voteType"]], 1)
        + number(leaf["weight"], 2)
        + number(int(leaf["sequence"]))
    )


def node(left, right):
    return blake3(b"\1" + left + right)


def root_of(leaves):
    """RFC 9162, 2.1.1, by levels: what stands alone on the right goes up as it is."""
    level = list(leaves)
    if not level:
        return blake3(b"")
    while len(level) > 1:
        pairs = [node(*level[n : n + 2]) for n in range(0, len(level) - 1, 2)]
        level = pairs + (level[-1:] if len(level) % 2 else [])
    return level[0]


def root_through(leaf, index, size, path):
    """RFC 9162, 2.1.3.2."""
    if not 0 <= index < size:
        return None
    at, last, value = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if at % 2 or at == last:
            value = node(sibling, value)
            while at % 2 == 0 and at != 0:
                at, last = at // 2, last // 2
        else:
            value = node(value, sibling)
        at, last = at // 2, last // 2
    return value if last == 0 else None


def certificate_hash(it):
    chain = it["chain"]
    text = b"\2" + number(it["format"]) + field(bytes.fromhex(it["store"])) + number(it["number"])
    text += field(bytes.fromhex(it["previous"] or "")) + field(it["season"].encode()) + number(it["slot"])
    text += number(int(it["sequence"]))
    text += number(int(chain["first"])) + number(int(chain["last"])) if chain else field(b"") * 2
    text += field(bytes.fromhex(chain["hash"] if chain else ""))
    text += field((it["winnerClipId"] or "").encode()) + field(it["winnerBy"].encode())
    text += number(it["leaves"]) + field(bytes.fromhex(it["root"])) + number(len(it["clips"]))
    for clip in it["clips"]:
        text += field(clip["clipId"].encode()) + number(clip["voteCount"]) + number(clip["weightedScore"])
    text += number(len(it["voids"]))
    for index in it["voids"]:
        text += number(index)
    if it.get("void"):
        text += number(int(it["void"]["id"])) + number(int(it["void"]["lifted"]))
    return blake3(text)


def check_certificate(it):
    if it["format"] not in (1, 2):
        yield f"format {it['format']}: this reads 1 and 2"
        return
    follows = it["format"] == 2
    if any(part != follows for part in (it["number"] > 1, bool(it["previous"]), bool(it.get("void")))):
        yield "it is neither a slot's first certificate nor one that names a void and the one before"
    if certificate_hash(it).hex() != it["hash"]:
        yield "the certificate's hash does not fit what it says"
    best = None
    for clip in it["clips"]:
        if best is None or (clip["weightedScore"], clip["voteCount"]) > (best["weightedScore"], best["voteCount"]):
            best = clip
    best = best and best["clipId"]
    if it["winnerBy"] == "count" and it["winnerClipId"] != best:
        yield f"the winner is said to be {it['winnerClipId']} by count, the counts make it {best}"
    if it["winnerClipId"] is not None and it["winnerClipId"] not in [clip["clipId"] for clip in it["clips"]]:
        yield "the winner is no clip of the slot"
    if it["voids"] != sorted(set(it["voids"])) or any(not 0 <= at < it["leaves"] for at in it["voids"]):
        yield "the voids are not ascending indexes of leaves"


def check_proof(proof, certificate):
    yield from check_certificate(certificate)
    for name, other in (("season", "season"), ("slot", "slot"), ("root", "root"), ("size", "leaves")):
        if proof[name] != certificate[other]:
            yield f"{name}: the proof says {proof[name]}, the certificate {certificate[other]}"
    leaf = leaf_hash(proof["leaf"])
    if leaf.hex() != proof["leafHash"]:
        yield "the leaf's hash does not fit what the leaf says"
    path = [bytes.fromhex(sibling) for sibling in proof["path"]]
    root = root_through(leaf, proof["index"], proof["size"], path)
    if root is None or root.hex() != proof["root"]:
        yield "the path does not lead from the leaf to the root"


def check_export(lines):
    certificate = json.loads(next(lines))["certificate"]
    yield from check_certificate(certificate)
    counts = {clip["clipId"]: [0, 0] for clip in certificate["clips"]}
    voids, hashes, last, voted = set(certificate["voids"]), [], None, set()
    for line in lines:
        leaf, at = json.loads(line), len(hashes)
        place = (bytes.fromhex(leaf["c"]), int(leaf["sequence"]))
        if last is None or last[0] != place[0]:
            voted = set()
        if last is not None and last >= place:
            yield f"leaf {at}: it does not come behind the one before it"
        if leaf["clipId"] in voted:
            yield f"leaf {at}: a second ballot of one voter for clip {leaf['clipId']}"
        if place[1] >= int(certificate["sequence"]):
            yield f"leaf {at}: sequence {place[1]} is not below the freeze's"
        last = place
        voted.add(leaf["clipId"])
        if leaf["clipId"] not in counts:
            yield f"leaf {at}: the certificate knows no clip {leaf['clipId']}"
        elif at not in voids:
            counts[leaf["clipId"]][0] += 1
            counts[leaf["clipId"]][1] += leaf["weight"]
        hashes.append(leaf_hash(leaf))
    for clip in certificate["clips"]:
        found = counts[clip["clipId"]]
        if found != [clip["voteCount"], clip["weightedScore"]]:
            said = f"{clip['voteCount']} votes of weight {clip['weightedScore']}"
            yield f"clip {clip['clipId']}: certified {said}, the ballots are {found[0]} of {found[1]}"
    if len(hashes) != certificate["leaves"]:
        yield f"the certificate is of {certificate['leaves']} ballots, there are {len(hashes)}"
    if root_of(hashes).hex() != certificate["root"]:
        yield "the ballots do not give the certificate's root"


def check_vectors():
    """BLAKE3's own vectors (input: 0, 1, … 250, 0, …) and those that the Rust tests hold, too."""
    known = {
        0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
        1023: "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
        1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
        1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
        3072: "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2",
    }
    for length, value in known.items():
        if blake3(bytes(n % 251 for n in range(length))).hex() != value:
            yield f"BLAKE3 of {length} bytes"
    # Those that the tests beside src/merkle/ hold; the tree's leaves are BLAKE3 of each number as eight bytes.
    leaves = [blake3(n.to_bytes(8, "big")) for n in range(257)]
    c = voter_in(bytes([7]) * 16, "s1", 2)
    leaf = {"c": c.hex(), "clipId": "clip-1", "voteType": "super", "weight": 3, "sequence": "70000"}
    ours = {
        "the root of 3 leaves": (root_of(leaves[:3]), "f424ca274e29cfd7fdcbfb8cb78c32389c07e946931d63dcb039190316ce22e2"),
        "the root of 257 leaves": (root_of(leaves), "2df03f11d155132830674a3e7dc24d51ec98a77c3951a80f6d9e172007cb4016"),
        "a voter's c": (c, "e492ac4fb896976660c2763fd5e226f0d140ff2bc1969aa834bd03828e54c109"),
        "a leaf": (leaf_hash(leaf), "32f9c3ce2b75805988d96d3196916e65974c91577672c807f2c0e67595ed22ab"),
    }
    for name, (found, value) in ours.items():
        if found.hex() != value:
            yield name


def main(words):
    def load(path):
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    match words:
        case ["certificate", path]:
            wrong = check_certificate(load(path))
        case ["proof", path, certificate]:
            wrong = check_proof(load(path), load(certificate))
        case ["export", path]:
            wrong = check_export(iter(open(path, encoding="utf-8")))
        case ["vectors"]:
            wrong = check_vectors()
        case _:
            sys.exit(__doc__)
    wrong = list(wrong)
    for problem in wrong:
        print(f"wrong: {problem}")
    print("something is wrong" if wrong else "all is well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
