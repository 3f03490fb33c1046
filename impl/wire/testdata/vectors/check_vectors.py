#!/usr/bin/env python3
"""Checks the test vectors from PROTOCOL.md alone: no code of this project runs.

Needs Python 3 and the package cryptography (X25519, Ed25519, ChaCha20-Poly1305); BLAKE2s is
Python's own. Exit code 0: every vector is as the document says.
"""
import hashlib
import hmac
import ipaddress
import json
import pathlib
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = pathlib.Path(__file__).parent
checks = 0


def load(name):
    return json.loads((HERE / f"{name}.json").read_text())


def x(hexadecimal):
    return bytes.fromhex(hexadecimal)


def expect(what, got, want):
    global checks
    checks += 1
    if got != want:
        show = lambda v: v.hex() if isinstance(v, bytes) else v
        sys.exit(f"{what}:\n  document {show(got)}\n  vector   {show(want)}")


def H(data):
    return hashlib.blake2s(data).digest()


def MAC(key, data):
    return hashlib.blake2s(data, key=key, digest_size=16).digest()


def hmac2s(key, data):
    return hmac.new(key, data, hashlib.blake2s).digest()


def noise_hkdf(ck, material):
    temp = hmac2s(ck, material)
    one = hmac2s(temp, b"\1")
    return one, hmac2s(temp, one + b"\2")


def dh(private, public):
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def public_of(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def seal(key, n, data, ad):
    return ChaCha20Poly1305(key).encrypt(b"\0" * 4 + struct.pack("<Q", n), data, ad)


class Symmetric:
    """Noise's SymmetricState, section 5.2 of its specification."""

    def __init__(self, prologue):
        self.h = self.ck = H(b"Noise_IK_25519_ChaChaPoly_BLAKE2s")  # 33 bytes: hashed
        self.mix_hash(prologue)

    def mix_hash(self, data):
        self.h = H(self.h + data)

    def mix_key(self, secret):
        self.ck, self.k = noise_hkdf(self.ck, secret)

    def encrypt(self, data):  # each key seals one thing only, so the nonce is 0
        out = seal(self.k, 0, data, self.h)
        self.mix_hash(out)
        return out


def handshake():
    v = load("handshake")
    s_i, s_r = x(v["initiator_private"]), x(v["responder_private"])
    e_i, e_r = x(v["initiator_ephemeral"]), x(v["responder_ephemeral"])
    expect("initiator's public key", public_of(s_i), x(v["initiator_public"]))
    expect("responder's public key", public_of(s_r), x(v["responder_public"]))

    header = bytes([4, 1, 0, 0]) + x(v["initiator_index"])
    n = Symmetric(x(v["prologue"]) + header)
    n.mix_hash(public_of(s_r))
    message = public_of(e_i)
    n.mix_hash(message)
    n.mix_key(dh(e_i, public_of(s_r)))
    message += n.encrypt(public_of(s_i))
    n.mix_key(dh(s_i, public_of(s_r)))
    payload = x(v["initiation_payload"])
    plain = struct.pack("<QH", int(v["timestamp"]), len(payload)) + payload
    plain += bytes(max(0, 256 - 146 - len(payload)))
    message += n.encrypt(plain)
    initiation = header + message
    initiation += MAC(H(b"punchlab mac1 v1" + public_of(s_r)), initiation)
    expect("initiation", initiation + bytes(16), x(v["initiation"]))
    expect("initiation's id", initiation[-16:], x(v["initiation_id"]))

    message = public_of(e_r)
    n.mix_hash(message)
    n.mix_key(dh(e_r, public_of(e_i)))
    n.mix_key(dh(e_r, public_of(s_i)))
    message += n.encrypt(x(v["responder_index"]) + x(v["response_payload"]))
    expect("response", bytes([5, 1, 0, 0]) + x(v["initiator_index"]) + message, x(v["response"]))

    expect("handshake hash", n.h, x(v["handshake_hash"]))
    k1, k2 = noise_hkdf(n.ck, b"")
    expect("key i→r", k1, x(v["key_initiator_to_responder"]))
    expect("key r→i", k2, x(v["key_responder_to_initiator"]))
    prk = hmac2s(n.h, k1 + k2)
    for e in v["exports"]:
        info = b"punchlab export v1 " + e["label"].encode()
        out, block = b"", b""
        for i in range(1, 9):
            block = hmac2s(prk, block + info + bytes([i]))
            out += block
        expect("export " + e["label"], out[: e["length"]], x(e["secret"]))
    return v, k1, k2


def transport(v, k1, k2):
    for d in load("transport")["datagrams"]:
        first = d["from"] == "initiator"
        index = x(v["responder_index" if first else "initiator_index"])
        header = bytes([7, 1, 0, 0]) + index + struct.pack("<Q", d["counter"])
        sealed = seal(k1 if first else k2, d["counter"], x(d["plaintext"]), header)
        expect("datagram", header + sealed, x(d["datagram"]))


def hchacha20(key, nonce):
    s = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))
    rotate = lambda a, n: ((a << n) | (a >> (32 - n))) & 0xFFFFFFFF

    def quarter(a, b, c, d):
        for p, q, r, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[p] = (s[p] + s[q]) & 0xFFFFFFFF
            s[r] = rotate(s[r] ^ s[p], n)

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<8I", *s[:4], *s[12:])


def cookie(v):
    c = load("cookie")
    address, port = c["source"].split(":")
    mapped = bytes(10) + b"\xff\xff" + ipaddress.ip_address(address).packed
    value = MAC(x(c["cookie_secret"]), mapped + struct.pack("<H", int(port)))
    nonce, initiation = x(c["nonce"]), x(v["initiation"])
    key = hchacha20(H(b"punchlab cookie v1" + x(v["responder_public"])), nonce[:16])
    sealed = ChaCha20Poly1305(key).encrypt(b"\0" * 4 + nonce[16:], value, initiation[-32:-16])
    expect("cookie reply", bytes([6, 1, 0, 0]) + x(v["initiator_index"]) + nonce + sealed, x(c["reply"]))
    expect("initiation with mac2", initiation[:-16] + MAC(value, initiation[:-16]), x(c["initiation"]))


def frames():
    p = load("punch")
    for name, sender, flags, size in (("shortest", 0, 0, 32), ("usual", 0, 0, 192), ("low_ttl", 0, 1, 32), ("from_camera", 1, 0, 32)):
        body = bytes([8, 1, sender, flags]) + struct.pack("<IQ", p["counter"], int(p["id"])) + bytes(size - 32)
        expect("punch, " + name, body + MAC(x(p["key"]), body), x(p[name]))
    c = load("channel-data")
    datagram = x(c["datagram"])
    expect("relay frame", struct.pack(">HH", c["channel"], len(datagram)) + datagram, x(c["frame"]))


def endpoint(text):
    address, port = text.rsplit(":", 1)
    return ipaddress.ip_address(address.strip("[]")), int(port)


def fields():
    v = load("fields")
    for c in v["classes"]:
        second = c["no_nat"] << 7 | c["hairpin"] << 6 | c["ports"]
        rest = struct.pack(">hHHH", c["step"], c["block_start"], c["block_size"], c["timeout"])
        expect("class", bytes([c["mapping"] << 4 | c["filtering"], second]) + rest, x(c["bytes"]))
    for e in v["endpoints"]:
        address, port = endpoint(e["address"])
        bare = address.packed + struct.pack(">H", port)
        expect("endpoint", {"udp": b"", "tcp": b"\x06", "tls": b"\xfd"}[e["protocol"]] + bare, x(e["bytes"]))


def stun():
    v = load("stun")
    ports = [3478, 3479]

    def attribute(kind, value):
        return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)

    def address(kind, ip, port, mask=bytes(16)):
        body = struct.pack(">H", port ^ int.from_bytes(mask[:2], "big")) + bytes(a ^ b for a, b in zip(ip.packed, mask))
        return attribute(kind, bytes([0, 1 if ip.version == 4 else 2]) + body)

    for c in v["cases"]:
        request = x(c["request"])
        attributes, at = {}, 20
        while at < len(request):
            kind, size = struct.unpack(">HH", request[at : at + 4])
            attributes[kind] = request[at + 4 : at + 4 + size]
            at += 4 + (size + 3) // 4 * 4
        here, port = endpoint(c["to"])
        other = next(a for a in map(ipaddress.ip_address, v["addresses"]) if a.version == here.version and a != here)
        flags = attributes.get(3, bytes(4))[3]
        origin = (other if flags & 4 else here, ports[1 - ports.index(port)] if flags & 2 else port)
        unknown = [k for k in attributes if k < 0x8000 and k != 3]
        if unknown:
            kind, origin = 0x0111, (here, port)
            body = attribute(9, bytes([0, 0, 4, 20]) + b"Unknown Attribute") + attribute(10, struct.pack(">H", *unknown))
        else:
            kind = 0x0101
            body = address(0x20, *endpoint(c["from"]), mask=request[4:20])
            for more in (address(0x802C, other, ports[1 - ports.index(port)]), address(0x802B, *origin)):
                if 20 + len(body + more) <= len(request):
                    body += more
        expect("STUN " + c["case"], struct.pack(">HH", kind, len(body)) + request[4:20] + body, x(c["answer"]))
        expect("STUN " + c["case"] + ": socket", origin, endpoint(c["answered_by"]))


ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def base32(data, symbols):
    bits = "".join(f"{b:08b}" for b in data).ljust(symbols * 5, "0")
    return "".join(ALPHABET[int(bits[5 * i : 5 * i + 5], 2)] for i in range(symbols))


def gf(a, b):
    p = 0
    for i in range(5):
        if b >> i & 1:
            p ^= a << i
    for i in range(8, 4, -1):
        if p >> i & 1:
            p ^= 0b100101 << (i - 5)
    return p


def label(prefix, v, camera):
    hosts = "+".join(h.upper() for h in v["rendezvous_hosts"])
    body = f"{prefix}/{base32(camera, 52)}/{base32(x(v['rendezvous_key']), 52)}/{base32(x(v['secret']), 26)}/{hosts}"
    return body + "/" + base32(H(b"punchlab label v1" + body.encode()), 6)


def uid_of(public):
    digits = [ALPHABET.index(c) for c in base32(H(b"punchlab uid v1" + public), 26)]
    powers = [1]
    for _ in range(30):
        powers.append(gf(powers[-1], 2))
    a = b = 0
    for i, d in enumerate(digits):
        a, b = a ^ d, b ^ gf(d, powers[i])
    want = b ^ gf(powers[27], a)
    d26 = next(d for d in range(32) if gf(d, powers[26] ^ powers[27]) == want)
    return "".join(ALPHABET[d] for d in digits + [d26, a ^ d26])


def grouped(uid):
    return "-".join(uid[i : i + 4] for i in range(0, 28, 4))


def identity():
    v = load("identity")
    camera, secret = x(v["camera_public"]), x(v["secret"])
    uid = uid_of(camera)
    expect("UID", grouped(uid), v["uid"])
    expect("UID on the wire", uid.encode(), x(v["uid_on_the_wire"]))
    expect("key text", base32(camera, 52), v["camera_key_text"])
    expect("label", label("PL1", v, camera), v["label"])
    expect("pairing proof", MAC(secret, b"punchlab pairing v1" + x(v["viewer_public"]) + camera), x(v["pairing_proof"]))


def authority():
    v = load("authority")
    camera, viewer = x(v["camera_public"]), x(v["viewer_public"])
    keys = {}
    for who in ("maker", "account"):
        keys[who] = Ed25519PrivateKey.from_private_bytes(x(v[who + "_seed"]))
        expect(who + " key", keys[who].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), x(v[who + "_public"]))
    body = b"\1" + x(v["maker_public"]) + camera + struct.pack(">QQQ", int(v["serial"]), int(v["not_before"]), int(v["not_after"]))
    certificate = body + keys["maker"].sign(b"punchlab certificate v1" + body)
    expect("certificate", certificate, x(v["certificate"]))
    expect("certificate text", "PC1/" + base32(certificate, (len(certificate) * 8 + 4) // 5), v["certificate_text"])
    expect("revoked", sorted(v["revoked"]), sorted(grouped(uid_of(k)) for k in (camera, viewer)))
    lines = ["PR1", "maker " + base32(x(v["maker_public"]), 52), "number " + v["number"], "issued " + v["issued"]]
    text = "".join(line + "\n" for line in lines + ["revoked " + u for u in sorted(v["revoked"])])
    signature = keys["maker"].sign(b"punchlab revocations v1" + text.encode())
    expect("revocation list", text + "signature " + base32(signature, 103) + "\n", v["revocation_list"])
    body = b"\1" + viewer + struct.pack(">Q", int(v["token_not_after"]))
    token = body + keys["account"].sign(b"punchlab account v1" + body)
    expect("token", token, x(v["token"]))
    expect("token text", "PT1/" + base32(token, (len(token) * 8 + 4) // 5), v["token_text"])
    expect("invitation", label("PI1", v, camera), v["invitation"])


def statuses():
    """What the 33 bytes of each status in a presence say."""
    for path in sorted(HERE.glob("message-presence*.json")):
        raw = x(json.loads(path.read_text())["bytes"])
        at = raw.find(b"\x58\x21")
        while at >= 0:
            uid, state, age = raw[at + 2 : at + 30].decode(), raw[at + 30], int.from_bytes(raw[at + 31 : at + 35], "big")
            expect("status' UID", all(c in ALPHABET for c in uid), True)
            expect("status' state", state <= 3 and (state > 0 or age == 0), True)
            at = raw.find(b"\x58\x21", at + 35)


def cbor(value):
    """Deterministic CBOR of what diagnostic notation below yields."""
    def head(major, n):
        for size, code in ((1, 24), (2, 25), (4, 26), (8, 27)):
            if n < 24:
                return bytes([major << 5 | n])
            if n < 1 << 8 * size:
                return bytes([major << 5 | code]) + n.to_bytes(size, "big")

    if value is True:
        return b"\xf5"
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    return head(5, len(value)) + b"".join(cbor(k) + cbor(w) for k, w in sorted(value.items()))


def messages():
    for path in sorted(HERE.glob("message-*.json")):
        v = json.loads(path.read_text())
        source = v["diagnostic"].replace("h'", "x('")  # a Python expression now, but for the brackets
        for digits in set(part.split("'")[0] for part in source.split("x('")[1:]):
            source = source.replace(f"x('{digits}'", f"x('{digits}')")
        source = source.replace("true", "True")
        expect(path.name, cbor(eval(source, {"x": x})), x(v["bytes"]))


if __name__ == "__main__":
    handshake_vector, k1, k2 = handshake()
    transport(handshake_vector, k1, k2)
    cookie(handshake_vector)
    frames()
    fields()
    stun()
    identity()
    authority()
    statuses()
    messages()
    print(f"{checks} values are as PROTOCOL.md says")
