"""tuspy and curl, as a patient user of theirs has them: what passes is tried again, from where HEAD says.

tuspy tries a PATCH again by itself, but not a creation.
"""

import asyncio
import base64
import shutil
import time
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError
from tusclient.uploader.uploader import Uploader

from tests.end_to_end.clients import PASSING

CURL = shutil.which("curl")

RETRIES = 60
RETRY_SECONDS = 0.2


def missing() -> str | None:
    return None if CURL else "curl is not installed; on Debian: apt install curl"


async def tuspy(endpoint: str, file: Path, chunk_bytes: int, *, checksums: bool = False) -> str:
    """The path of the upload."""
    return await asyncio.to_thread(_tuspy, endpoint, file, chunk_bytes, checksums)


def _tuspy(endpoint: str, file: Path, chunk_bytes: int, checksums: bool) -> str:
    with file.open("rb") as stream:
        uploader = Uploader(
            client=TusClient(endpoint),
            file_stream=stream,
            metadata={"filename": file.name},
            retries=RETRIES,
            retry_delay=RETRY_SECONDS,  # type: ignore[arg-type] # it is handed to time.sleep as it is
            chunk_size=chunk_bytes,
            upload_checksum=checksums,
        )
        for _ in range(RETRIES):
            try:
                uploader.upload()
                break
            except TusCommunicationError as error:
                # A creation that was refused for the moment; anything else has been tried again already.
                if uploader.url is not None or error.status_code not in (None, *PASSING):
                    raise
                time.sleep(RETRY_SECONDS)
        return str(urlsplit(uploader.url).path)


async def curl(endpoint: str, file: Path, chunk_bytes: int) -> str:
    """The path of the upload. Each chunk comes from a pipe, so that curl sends it chunked, after `100 Continue`."""
    whole = await asyncio.to_thread(file.read_bytes)
    name = base64.b64encode(file.name.encode()).decode()
    upload, offset = None, 0
    for _ in range(RETRIES + len(whole) // chunk_bytes):
        if upload is None:
            length = ("-H", f"Upload-Length: {len(whole)}", "-H", f"Upload-Metadata: filename {name}")
            said = await _curl("-X", "POST", *length, endpoint)
            upload = urljoin(endpoint, said["location"]) if said["status"] == "201" else None
        elif offset < len(whole):
            place = ("-H", f"Upload-Offset: {offset}", "-H", "Content-Type: application/offset+octet-stream")
            chunk = whole[offset : offset + chunk_bytes]
            said = await _curl("-X", "PATCH", *place, "-H", "Expect: 100-continue", "-T", "-", upload, stdin=chunk)
            if said["status"] != "204":
                await asyncio.sleep(RETRY_SECONDS)
                said = await _curl("--head", upload)
            offset = int(said.get("upload-offset", offset))
        else:
            return urlsplit(upload).path
    raise AssertionError(f"curl has come to byte {offset} of {len(whole)}, and no further")


async def _curl(*words: str, stdin: bytes = b"") -> dict[str, str]:
    """The headers of the last answer, and its `status`; "000" if there was none."""
    assert CURL is not None
    process = await asyncio.create_subprocess_exec(
        *(CURL, "-sS", "-o", "/dev/null", "-D", "-", "--max-time", "60", "-H", "Tus-Resumable: 1.0.0", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate(stdin)
    # "100 Continue" is an answer, too.
    last = said.decode().replace("\r", "").strip().rpartition("\n\n")[2]
    first, *lines = last.split("\n")
    pairs = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {**pairs, "status": [*first.split(" "), "000"][1]}
