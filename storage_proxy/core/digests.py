"""The digests of a whole file: what was declared against what was found.

Rules: `file` is always the one file that holds the whole upload (`transitions.whole_file`), or will when it has grown.
"""

from collections.abc import Iterable, Mapping

from storage_proxy.core.manifest import SHA_256, Digest, Manifest


def known(manifest: Manifest, file: str) -> tuple[Digest, ...]:
    """What is known without reading the file: as long as it is one chunk, that chunk's sha256 is the file's."""
    whole = (chunk for chunk in manifest.chunks if chunk.file == file and chunk.length == manifest.length)
    return tuple(Digest(SHA_256, chunk.sha256) for chunk in whole)


def to_compute(manifest: Manifest, file: str) -> tuple[str, ...]:
    """The algorithms with which the file must be read before it may be announced."""
    told = {digest.algorithm for digest in known(manifest, file)}
    return tuple(digest.algorithm for digest in manifest.declared if digest.algorithm not in told)


def found(manifest: Manifest, file: str, computed: Iterable[Digest]) -> Mapping[str, str]:
    return {digest.algorithm: digest.value for digest in (*computed, *known(manifest, file))}


def are_right(manifest: Manifest, found: Mapping[str, str]) -> bool:
    """Each one that was declared was found, and found to be so."""
    return all(found.get(declared.algorithm) == declared.value for declared in manifest.declared)


def difference(manifest: Manifest, found: Mapping[str, str]) -> str | None:
    """A sentence about the first one that was found to be another."""
    for declared in manifest.declared:
        value = found.get(declared.algorithm, declared.value)
        if value != declared.value:
            return f"its {declared.algorithm} is {value}, not {declared.value} as declared"
    return None
