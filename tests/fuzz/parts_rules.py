"""Parts and what joins them (TUS 1.0, concatenation): beside the rules of every upload, which parts keep to as well.

Rules: a final upload takes no bytes, and becomes what its parts are, one after the other, in whichever order they and
it were made; nothing that is done to a part after it was taken changes it.
"""

import time

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, rule

from tests.fuzz import wild
from tests.fuzz.connection import DEADLINE_SECONDS, Answer
from tests.fuzz.machine import BYTES, FRAMED, LENGTH_MAX, NAMES, SIZES, TUS, Protocol
from tests.fuzz.protocol_model import Final, Phase, Upload
from tests.fuzz.served import UPLOAD_BYTES_MAX, Served

PART = {"Upload-Concat": "partial"}
JOIN_FAULTS: dict[str, tuple[dict[str, str], int]] = {
    "a length": ({"Upload-Length": "5"}, 400),
    "no length": ({"Upload-Defer-Length": "1"}, 400),
    "another version": ({"Tus-Resumable": "0.2.2"}, 412),
    "nobody's part": ({"Upload-Concat": f"final;/files/{wild.NOWHERE}"}, 404),
    "nothing": ({"Upload-Concat": "final;"}, 400),
    "elsewhere": ({"Upload-Concat": "final;http://a.example/others/x"}, 400),
    "neither": ({"Upload-Concat": "whole"}, 400),
}


class Parts(Protocol):
    parts = Bundle("parts")
    finals = Bundle("finals")

    def __init__(self, served: Served) -> None:
        super().__init__(served)
        self.all_parts: list[Upload] = []
        self.all_finals: list[Final] = []

    @rule(
        targets=(Protocol.uploads, parts),
        length=st.none() | st.integers(0, LENGTH_MAX),
        any_order=st.booleans(),
        first=st.none() | SIZES,
        framed=FRAMED,
    )
    def create_a_part(self, length: int | None, any_order: bool, first: int | None, framed: tuple[bool, int]) -> Upload:
        return self.new_part(length, any_order, first, framed)

    def new_part(self, length: int | None, any_order: bool, first: int | None, framed: tuple[bool, int]) -> Upload:
        part = Upload(len(self.all), "", length, any_order, part=True)
        size = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        self.all_parts.append(part)
        return self.created(part, {**PART, **size, **({"Upload-Order": "any"} if any_order else {})}, first, framed)

    @rule(target=finals, first=parts, others=st.lists(st.integers(0, 20), max_size=3), name=NAMES, far=st.booleans())
    def join(self, first: Upload, others: list[int], name: str, far: bool) -> Final:
        return self.new_final((first, *(self.all_parts[number % len(self.all_parts)] for number in others)), name, far)

    def new_final(self, parts: tuple[Upload, ...], name: str, far: bool = False) -> Final:
        # Only the path counts: a service behind proxies does not know all names of its host.
        urls = [f"http://a.example{part.path}" if far else part.path for part in parts]
        final = Final("", f"final;{' '.join(urls)}", parts)
        answer = self.ask(
            "POST", "/files", {**TUS, "Upload-Concat": final.text, "Upload-Metadata": wild.metadata(filename=name)}
        )
        if any(part.phase is Phase.GONE for part in parts):
            assert answer.status == 404, answer
            final.phase = Phase.GONE
        elif sum(part.length or 0 for part in parts) > UPLOAD_BYTES_MAX:
            assert answer.status == 413, answer
            final.phase = Phase.GONE
        else:
            assert answer.status == 201, answer
            self.all_finals.append(final)
        final.path = answer.headers.get("Location", f"/files/{wild.NOWHERE}")
        return final

    @rule(
        target=finals,
        sizes=st.lists(st.integers(0, 6000), min_size=2, max_size=3),
        early=st.booleans(),
        name=NAMES,
        framed=FRAMED,
    )
    def send_in_parts(self, sizes: list[int], early: bool, name: str, framed: tuple[bool, int]) -> Final:
        """As clients do that send the parts of a file side by side. `early`: joined before their bytes are there."""
        parts = tuple(self.new_part(size, False, None, framed) for size in sizes)
        final = self.new_final(parts, name) if early else None
        for part in parts:
            body = part.bytes_at(0, part.length or 0)
            answer = self.ask("PATCH", part.path, {**BYTES, "Upload-Offset": "0"}, body, framed)
            assert (answer.status, answer.offset) == (204, len(body)), answer
            part.put(0, body)
        return final or self.new_final(parts, name)

    @rule(upload=Protocol.uploads)
    def join_what_is_no_part(self, upload: Upload) -> None:
        if not upload.part:
            answer = self.ask("POST", "/files", {**TUS, "Upload-Concat": f"final;{upload.path}"})
            assert answer.status == (404 if upload.phase is Phase.GONE else 400), answer

    @rule(part=parts, fault=st.sampled_from(sorted(JOIN_FAULTS)))
    def join_wrongly(self, part: Upload, fault: str) -> None:
        changed, status = JOIN_FAULTS[fault]
        answer = self.ask("POST", "/files", {**TUS, "Upload-Concat": f"final;{part.path}", **changed})
        assert answer.status == status, answer

    # ---- what has been joined ---------------------------------------------------------------------------------------

    @rule(final=finals)
    def look_at_a_final(self, final: Final) -> None:
        answer = self.ask("HEAD", final.path, TUS)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (told := _told(answer)) is Phase.WAITING and Phase.WAITING not in self.could_be(final):
            assert time.monotonic() < deadline, f"{final} does not come to an end: {answer}"
            answer = self.ask("HEAD", final.path, TUS)
        assert told in self.could_be(final), (final, answer)
        final.phase = told
        if told in (Phase.WAITING, Phase.DONE):
            assert answer.headers["Upload-Concat"] == final.text
            assert answer.headers.get("Upload-Length") == (None if final.length is None else str(final.length))
        if told is Phase.DONE:
            assert answer.offset == final.length

    def could_be(self, final: Final) -> set[Phase]:
        return final.could_be if final.phase is Phase.WAITING else {final.phase}

    @rule(final=finals)
    def fetch_a_final(self, final: Final) -> None:
        self.look_at_a_final(final)
        answer = self.ask("GET", final.path, {})
        if final.phase is Phase.DONE:
            assert answer.status == 200
            assert final.fits(answer.body)
        elif final.phase is not Phase.WAITING:
            assert answer.status == (404 if final.phase is Phase.GONE else 410), answer
        else:
            assert answer.status in (200, 410, 423), answer

    @rule(final=finals, size=SIZES, framed=FRAMED)
    def append_to_a_final(self, final: Final, size: int, framed: tuple[bool, int]) -> None:
        self.look_at_a_final(final)
        answer = self.ask("PATCH", final.path, {**BYTES, "Upload-Offset": "0"}, b"x" * size, framed)
        # One that waits for a part which is gone may be given up at any moment.
        expected = {Phase.GONE: {404}, Phase.FORSAKEN: {410}, Phase.WAITING: {403, 410}}
        assert answer.status in expected.get(final.phase, {403}), answer

    @rule(final=finals, data=st.data())
    def throw_at_a_final(self, final: Final, data: st.DataObject) -> None:
        self.check_thrown(self.connection.throw(data.draw(wild.requests(st.just(final.path)))))
        self.look_at_a_final(final)

    @rule(final=finals)
    def terminate_a_final(self, final: Final) -> None:
        self.look_at_a_final(final)
        if final.phase is Phase.DONE:
            self.finished[bytes(self.ask("GET", final.path, {}).body)] += 1
        answer = self.ask("DELETE", final.path, TUS)
        expected = {Phase.GONE: {404}, Phase.FORSAKEN: {410}, Phase.WAITING: {204, 410}}
        assert answer.status in expected.get(final.phase, {204}), answer
        final.phase = Phase.GONE if answer.status != 410 else Phase.FORSAKEN

    # ---- the end ----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        super().settle()
        for final in self.all_finals:
            self.look_at_a_final(final)

    def joined(self) -> list[bytes]:
        contents = [self.ask("GET", final.path, {}).body for final in self.all_finals if final.phase is Phase.DONE]
        return [*super().joined(), *contents]


def _told(answer: Answer) -> Phase:
    if answer.status in (404, 410):
        return Phase.GONE if answer.status == 404 else Phase.FORSAKEN
    assert answer.status == 200, answer
    return Phase.DONE if "Upload-Offset" in answer.headers else Phase.WAITING
