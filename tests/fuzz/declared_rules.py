"""What a creation may say besides: the digest of the whole file, right or wrong, and the key by which it is found."""

from base64 import b64encode
from collections.abc import Callable, Mapping

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, rule

from tests.fuzz import wild
from tests.fuzz.machine import BYTES, FRAMED, LENGTH_MAX, SIZES, TUS, Protocol
from tests.fuzz.protocol_model import Declared, Phase, Upload

Told = Callable[[Declared], dict[str, str]]

WAYS: Mapping[str, tuple[str, Told]] = {
    "sha-256": ("sha-256", lambda declared: {"Repr-Digest": declared.member}),
    "sha-512, and what nobody knows": (
        "sha-512",
        lambda declared: {"Repr-Digest": f"unixsum=:AAA=:, {declared.member}, other=5"},
    ),
    "hex digits in the metadata": (
        "sha-256",
        lambda declared: {"Upload-Metadata": wild.metadata(filename="declared", sha256=declared.digest.hex())},
    ),
    "Base64 in the metadata": (
        "sha-512",
        lambda declared: {
            "Upload-Metadata": wild.metadata(filename="declared", sha512=b64encode(declared.digest).decode())
        },
    ),
}

# More than any upload here has.
LENGTH_OF_NONE = LENGTH_MAX + 1


class DeclaredAndKeyed(Protocol):
    keyed = Bundle("keyed")

    # ---- digests ----------------------------------------------------------------------------------------------------

    @rule(
        target=Protocol.uploads,
        length=st.integers(1, LENGTH_MAX),
        way=st.sampled_from(sorted(WAYS)),
        right=st.booleans(),
        first=st.none() | SIZES,
        framed=FRAMED,
    )
    def create_with_a_digest(
        self, length: int, way: str, right: bool, first: int | None, framed: tuple[bool, int]
    ) -> Upload:
        upload = Upload(len(self.all), "", length, any_order=False)
        algorithm, told = WAYS[way]
        upload.declared = Declared.of(algorithm, upload.bytes_at(0, length) + (b"" if right else b"?"))
        # All of them at once would be refused, if they are wrong, and its client would not know where they are kept.
        first = None if first is None else min(first, length - 1)
        return self.created(upload, {"Upload-Length": str(length), **told(upload.declared)}, first, framed)

    @rule(length=st.integers(1, 6000), framed=FRAMED)
    def create_whole_with_a_wrong_digest(self, length: int, framed: tuple[bool, int]) -> None:
        body = b"x" * length
        headers = {**BYTES, "Upload-Length": str(length), "Repr-Digest": Declared.of("sha-256", body + b"?").member}
        assert self.ask("POST", "/files", headers, body, framed).status == 422

    # ---- keys -------------------------------------------------------------------------------------------------------

    @rule(
        targets=(Protocol.uploads, keyed),
        length=st.none() | st.integers(0, LENGTH_MAX),
        first=st.none() | SIZES,
        framed=FRAMED,
    )
    def create_with_a_key(self, length: int | None, first: int | None, framed: tuple[bool, int]) -> Upload:
        upload = Upload(len(self.all), "", length, any_order=False)
        size = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        headers = {**size, "Idempotency-Key": f'"the key of upload {self.served.number()}"'}
        self.created(upload, headers, first, framed)
        upload.created_with = headers
        return upload

    @rule(upload=keyed, first=st.none() | SIZES, framed=FRAMED)
    def create_once_more(self, upload: Upload, first: int | None, framed: tuple[bool, int]) -> None:
        headers = {**(TUS if first is None else BYTES), **upload.created_with}
        body = None
        if first is not None:
            body = upload.bytes_at(0, first if upload.length is None else min(first, upload.length))
        answer = self.ask("POST", "/files", headers, body, framed)
        if upload.phase is Phase.GONE:
            assert answer.status == 410, answer
            return
        assert (answer.status, answer.headers["Location"]) == (201, upload.path), (answer, upload)
        # Bytes that come once more are not read.
        if body and upload.phase is Phase.OPEN and not upload.prefix:
            upload.put(0, body)
        assert answer.offset == upload.prefix

    @rule(upload=keyed, changed=st.sampled_from(["Upload-Length", "Upload-Metadata", "Upload-Order", "Repr-Digest"]))
    def reuse_its_key(self, upload: Upload, changed: str) -> None:
        others = {
            "Upload-Length": str(LENGTH_OF_NONE),
            "Upload-Metadata": wild.metadata(filename="another"),
            "Upload-Order": "any",
            "Repr-Digest": Declared.of("sha-256", b"another").member,
        }
        kept = {name: text for name, text in upload.created_with.items() if name != "Upload-Defer-Length"}
        answer = self.ask("POST", "/files", {**TUS, "Upload-Length": "5", **kept, changed: others[changed]})
        assert answer.status == 422, answer
