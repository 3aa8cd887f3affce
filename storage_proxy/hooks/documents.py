"""The document that a hook gets, and the reply that it gives: JSON, with the fields that tusd's users know.

Rules: PURE. A field that tusd has means what it means there; what is ours stands beside under `Id`, `At`, `Number` and
in the upload's `Phase`, `Reason` and `Path`. A reply is read strictly where it would change something, and any field
that is not ours to obey is passed over.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from storage_proxy.core.errors import HookFailed, Refused
from storage_proxy.core.manifest import Manifest, Notice, UploadId
from storage_proxy.ports import Asked, Asker, Verdict
from storage_proxy.wire.metadata import parse_metadata

Document = Mapping[str, Any]


def question(asked: Asked, identity: str, now: float, manifest: Manifest, asker: Asker | None) -> Document:
    return _document(asked, identity, now, 0, manifest, manifest.prefix, asker)


def notice(identity: str, told: Notice, manifest: Manifest) -> Document:
    return _document(told.kind, identity, told.at, told.number, manifest, told.offset, None)


def _document(
    kind: str, identity: str, at: float, number: int, manifest: Manifest, offset: int, asker: Asker | None
) -> Document:
    return {
        "Type": kind,
        "Id": identity,
        "At": at,
        "Number": number,
        "Event": {"Upload": _upload(manifest, offset), "HTTPRequest": None if asker is None else _request(asker)},
    }


def _upload(manifest: Manifest, offset: int) -> Document:
    path = manifest.publication.path if manifest.publication is not None else manifest.target.path
    return {
        "ID": str(manifest.upload),
        "Size": manifest.length or 0,
        "SizeIsDeferred": manifest.length is None,
        "Offset": offset,
        "MetaData": _metadata(manifest.metadata),
        "IsPartial": manifest.part is not None,
        "IsFinal": manifest.final is not None,
        "PartialUploads": _parts(manifest),
        "Storage": {"Type": "share", "Volume": manifest.target.volume, "Path": path},
        "Phase": manifest.phase,
        "Reason": manifest.reason,
    }


def _parts(manifest: Manifest) -> list[str] | None:
    if manifest.final is None:
        return None
    return [str(UploadId(manifest.upload.volume, piece.key)) for piece in manifest.final.pieces]


def _metadata(text: str) -> dict[str, str]:
    try:
        fields = parse_metadata(text)
    except Refused:
        return {}
    # A value is any bytes; what is no text is shown as well as it can be.
    return {key: value.decode(errors="replace") for key, value in fields}


def _request(asker: Asker) -> Document:
    return {
        "Method": asker.method,
        "URI": asker.uri,
        "RemoteAddr": asker.remote,
        "Header": {name: [value] for name, value in asker.headers.items()},
    }


# ---- the reply ------------------------------------------------------------------------------------------------------


class _Reads(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Response(_Reads):
    body: str = Field("", alias="Body")


class _Storage(_Reads):
    path: str | None = Field(None, alias="Path")


class _Change(_Reads):
    storage: _Storage = Field(_Storage(), alias="Storage")


class _Reply(_Reads):
    reject_upload: bool = Field(False, alias="RejectUpload")
    reject_termination: bool = Field(False, alias="RejectTermination")
    response: _Response = Field(_Response(), alias="HTTPResponse")
    change: _Change = Field(_Change(), alias="ChangeFileInfo")


MESSAGE_CHARACTERS_MAX = 1000


def verdict(asked: Asked, reply: object) -> Verdict:
    """An empty reply allows. HookFailed: it is none that can be understood."""
    try:
        read = _Reply.model_validate({} if reply is None else reply)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the reply"
        raise HookFailed(hook=asked, reason=f"gave a reply that cannot be read ({where}: {first['msg']})") from None
    if read.reject_termination if asked is Asked.TERMINATION else read.reject_upload:
        return Verdict(refusal=_message(read.response.body))
    return Verdict(path=read.change.storage.path if asked is Asked.CREATION else None)


def _message(body: str) -> str:
    """tusd's hooks often write JSON for their clients; its `message` is the sentence."""
    try:
        told = json.loads(body)
    except ValueError:
        told = body
    if isinstance(told, dict):
        told = told.get("message", body)
    return str(told).strip()[:MESSAGE_CHARACTERS_MAX]
