"""The defects that the clauses of the IETF draft must find, in each version that has the clause."""

from .clauses.ietf_words import PARTIAL
from .mutations import (
    Mutation,
    announces_elsewhere,
    answers,
    lacks,
    overlooks,
    says,
    several,
    shifts,
    supposes,
    takes_for,
)
from .running import all_clauses


def _each(*names: str) -> tuple[str, ...]:
    ids = [clause.id for clause in all_clauses() if clause.id.startswith("ietf-")]
    return tuple(id for id in ids if id.partition(".")[2] in names)


MUTATIONS = (
    Mutation(
        "a creation is answered 200", _each("create-201", "create-recommended-201"), of_status=answers(200, 201, "POST")
    ),
    Mutation("no Location", _each("create-location"), None, lacks("Location", "POST")),
    Mutation(
        "HEAD tells one byte more",
        _each("create-first-bytes", "append-stored"),
        None,
        shifts("Upload-Offset", "HEAD"),
    ),
    Mutation("a creation tells no offset", _each("create-offset"), None, lacks("Upload-Offset", "POST")),
    Mutation(
        "nothing is ever complete for HEAD",
        _each("create-whole", "append-last", "append-last-empty"),
        None,
        several(says("Upload-Complete", "?0", "HEAD"), says("Upload-Incomplete", "?1", "HEAD")),
    ),
    Mutation(
        "everything is complete for HEAD",
        _each("create-not-complete", "head-completeness"),
        None,
        several(says("Upload-Complete", "?1", "HEAD"), says("Upload-Incomplete", "?0", "HEAD")),
    ),
    Mutation(
        "every creation is complete",
        _each("create-told"),
        None,
        several(says("Upload-Complete", "?1", "POST"), says("Upload-Incomplete", "?0", "POST")),
    ),
    Mutation("the length is overlooked", _each("length-two-ways", "head-length"), overlooks("Upload-Length", "POST")),
    Mutation("HEAD is partial", _each("head-status"), of_status=answers(206, 204, "HEAD")),
    Mutation("HEAD tells no offset", _each("head-offset"), None, lacks("Upload-Offset", "HEAD")),
    Mutation("HEAD tells no limits", _each("head-limits"), None, lacks("Upload-Limit", "HEAD")),
    Mutation("HEAD may be kept", _each("head-no-store"), None, lacks("Cache-Control", "HEAD")),
    Mutation("HEAD with an offset is taken", _each("head-bare"), overlooks("Upload-Offset", "HEAD")),
    Mutation("GET tells no offset", _each("get-offset"), None, lacks("Upload-Offset", "GET")),
    Mutation("DELETE is answered 203", _each("delete-204"), of_status=answers(203, 204, "DELETE")),
    Mutation("what is deleted stays", _each("delete-gone"), of_status=several(answers(200, 410), answers(200, 404))),
    Mutation("OPTIONS tells no limits", _each("options-limits"), None, lacks("Upload-Limit", "OPTIONS")),
    Mutation("no 104", _each("interim-sent"), supposes("Via", "1.1 somebody", "POST")),
    Mutation(
        "104 of another version and place",
        _each("interim-version", "interim-location", "interim-unknown"),
        announces_elsewhere,
    ),
    Mutation(
        "an append is answered 203",
        _each("append-status"),
        of_status=several(answers(203, 201, "PATCH"), answers(203, 204, "PATCH")),
    ),
    Mutation(
        "an append tells no offset",
        _each("append-offset", "append-conflict-told"),
        None,
        lacks("Upload-Offset", "PATCH"),
    ),
    Mutation(
        "every append is the last",
        _each("append-not-last", "append-conflict-incomplete"),
        None,
        several(says("Upload-Complete", "?1", "PATCH"), says("Upload-Incomplete", "?0", "PATCH")),
    ),
    Mutation(
        "no append is the last",
        _each("append-last-told", "append-last-not-incomplete"),
        None,
        several(says("Upload-Complete", "?0", "PATCH"), says("Upload-Incomplete", "?1", "PATCH")),
    ),
    Mutation("any offset will do", _each("append-conflict", "append-conflict-untouched"), takes_any_offset=True),
    Mutation("any type will do", _each("append-type"), takes_for("Content-Type", PARTIAL, "PATCH")),
    Mutation(
        "what is refused is called taken",
        _each("append-beyond", "append-length-changed", "append-complete-refused"),
        of_status=answers(201, 400, "PATCH"),
    ),
)
