"""The table of defects: what is wrong, the clauses that must find it, and how it is planted."""

from .clauses import interruption
from .clauses.checksum import digest_of
from .mutations import (
    Mutation,
    answers,
    claims_success,
    continues,
    forgets_and_takes_last,
    lacks,
    only_at,
    overlooks,
    says,
    several,
    shifts,
    supposes,
    takes_for,
    where_status,
)

# The checksum of a body that never comes whole.
PROMISED = digest_of("sha1", interruption.BYTES[: interruption.SIZE])

LYING_DATE = "Sunday, 06-Nov-94 08:49:37 GMT"
PAST = "Sun, 06 Nov 1994 08:49:37 GMT"

CORE = (
    Mutation(
        "OPTIONS is refused", ("core.options.success", "core.options.version-ignored"), of_status=answers(405, 204)
    ),
    Mutation(
        "no Tus-Version",
        (
            "core.options.success",
            "core.options.version-ignored",
            "core.version.list",
            "core.version.412-names-versions",
            "creation.version-412-names-versions",
        ),
        None,
        lacks("Tus-Version"),
    ),
    Mutation("versions without commas", ("core.version.list",), None, says("Tus-Version", "1.0.0 0.2.2")),
    Mutation("extensions without commas", ("core.extension.list",), None, says("Tus-Extension", "creation checksum")),
    Mutation("extensions named as none", ("core.extension.list",), None, says("Tus-Extension", "", "OPTIONS")),
    Mutation("a maximum in words", ("core.max-size.integer",), None, says("Tus-Max-Size", "10 TB", "OPTIONS")),
    Mutation(
        "a maximum that nobody is told",
        ("core.max-size.announced",),
        of_status=answers(413, 201),
        of_answer=lacks("Tus-Max-Size", "OPTIONS"),
    ),
    Mutation(
        "no Tus-Resumable",
        (
            "core.resumable.on-head",
            "core.resumable.on-patch",
            "core.resumable.on-not-found",
            "core.resumable.on-conflict",
            "creation.resumable",
            "creation.resumable-refused",
            "termination.resumable",
        ),
        None,
        lacks("Tus-Resumable"),
    ),
    Mutation(
        "Tus-Resumable of any version is fine",
        (
            "core.version.412-head",
            "core.version.412-patch",
            "core.version.not-processed",
            "creation.version-412",
            "creation.version-not-processed",
            "termination.version-412",
            "termination.version-not-processed",
        ),
        takes_for("Tus-Resumable", "1.0.0"),
    ),
    Mutation(
        "X-HTTP-Method-Override is overlooked",
        ("core.override.patch", "core.override.actual-method-ignored", "core.override.head", "termination.override"),
        overlooks("X-HTTP-Method-Override"),
    ),
    Mutation("HEAD without Cache-Control", ("core.head.no-store",), None, lacks("Cache-Control", "HEAD")),
    Mutation("HEAD with no-cache", ("core.head.no-store",), None, says("Cache-Control", "no-cache", "HEAD")),
    Mutation(
        "HEAD without an offset of 0",
        ("core.head.offset-always", "creation.offset-0", "creation.length-zero"),
        None,
        only_at(0, lacks("Upload-Offset", "HEAD")),
    ),
    Mutation(
        "HEAD without the offset of a complete upload",
        ("core.head.offset-complete",),
        None,
        only_at(10, lacks("Upload-Offset", "HEAD")),
    ),
    Mutation("HEAD without Upload-Length", ("core.head.length",), None, lacks("Upload-Length", "HEAD")),
    Mutation(
        "HEAD's offset is one too large",
        (
            "core.head.offset-always",
            "core.head.offset-midway",
            "core.head.offset-complete",
            "core.patch.head-agrees",
            "interruption.offset-honest",
            "creation.offset-0",
            "creation-with-upload.offset-true",
            "creation.defer.offset-told",
        ),
        None,
        shifts("Upload-Offset", "HEAD"),
    ),
    Mutation("lengths of 32 bits", ("core.head.length-large",), None, says("Upload-Length", "10", "HEAD")),
    Mutation("HEAD is answered 202", ("core.head.status",), of_status=answers(202, 200, "HEAD")),
    Mutation(
        "400 for what is not there", ("core.head.not-found", "core.patch.not-found-404"), of_status=answers(400, 404)
    ),
    Mutation(
        "an offset of what is not there",
        ("core.head.not-found-without-offset",),
        None,
        where_status(404, says("Upload-Offset", "0", "HEAD")),
    ),
    Mutation("PATCH is answered 200", ("core.patch.success-204",), of_status=answers(200, 204, "PATCH")),
    Mutation(
        "PATCH without Upload-Offset",
        ("core.patch.new-offset", "core.patch.last-offset", "core.patch.large"),
        None,
        lacks("Upload-Offset", "PATCH"),
    ),
    Mutation(
        "PATCH tells one byte more than came",
        (
            "core.patch.new-offset",
            "core.patch.last-offset",
            "core.patch.head-agrees",
            "core.patch.large",
            "core.patch.empty",
            "core.patch.chunked",
        ),
        None,
        shifts("Upload-Offset", "PATCH"),
    ),
    Mutation(
        "400 in place of 409",
        ("core.patch.ahead-409", "core.patch.ahead-too-long-409", "core.patch.behind-409", "core.patch.complete-409"),
        of_status=answers(400, 409),
    ),
    Mutation(
        "bytes are taken whatever their offset",
        (
            "core.patch.ahead-409",
            "core.patch.ahead-untouched",
            "core.patch.behind-409",
            "core.patch.behind-untouched",
            "core.patch.complete-409",
            "core.patch.offset-missing",
            "core.patch.offset-negative",
            "core.patch.offset-not-integer",
        ),
        takes_any_offset=True,
    ),
    Mutation(
        "bytes of any type are taken",
        ("core.patch.content-type-415", "core.patch.content-type-untouched"),
        takes_for("Content-Type", "application/offset+octet-stream"),
    ),
    Mutation(
        "bytes without a type are taken",
        ("core.patch.content-type-missing-415",),
        supposes("Content-Type", "application/offset+octet-stream", "PATCH"),
    ),
    Mutation(
        "400 in place of 415",
        ("core.patch.content-type-415", "core.patch.content-type-missing-415"),
        of_status=answers(400, 415),
    ),
    Mutation(
        "more is told than the length",
        ("core.patch.never-beyond-length", "creation-with-upload.never-beyond-length"),
        of_status=several(claims_success(413, "PATCH"), claims_success(413, "POST")),
        of_answer=says("Upload-Offset", "18"),
    ),
    Mutation(
        "a chunked PATCH is refused, and one with Expect",
        ("core.patch.chunked", "core.patch.expect-continue"),
        of_status=answers(400, 204, "PATCH"),
    ),
    Mutation(
        "nothing is kept of a body that breaks off",
        ("interruption.closed.all-kept", "interruption.reset.some-kept", "interruption.chunked.kept"),
        supposes("Upload-Checksum", PROMISED, "PATCH"),
    ),
    Mutation(
        "HEAD tells the end that was promised",
        ("interruption.offset-honest", "interruption.never-beyond-sent"),
        None,
        says("Upload-Offset", str(interruption.SIZE), "HEAD"),
    ),
    Mutation("what broke off cannot go on", ("interruption.resumes",), of_status=answers(409, 204, "PATCH")),
)

CREATION = (
    Mutation(
        "creation, termination and the rest are done, not announced",
        ("creation.announced",),
        None,
        lacks("Tus-Extension", "OPTIONS"),
    ),
    Mutation(
        "only creation is announced",
        ("creation-with-upload.announced", "creation.defer.announced", "checksum.announced", "termination.announced"),
        None,
        says("Tus-Extension", "creation", "OPTIONS"),
    ),
    Mutation(
        "creation is not announced with creation-with-upload",
        ("creation-with-upload.needs-creation",),
        None,
        says("Tus-Extension", "creation-with-upload", "OPTIONS"),
    ),
    Mutation(
        "POST is answered 200",
        ("creation.success-201", "creation.length-zero", "creation.defer.success-201", "creation-with-upload.deferred"),
        of_status=answers(200, 201),
    ),
    Mutation("no Location", ("creation.location",), None, lacks("Location")),
    Mutation("a Location that leads nowhere", ("creation.location",), None, says("Location", "/files/nowhere")),
    Mutation("one upload for all", ("creation.new-resource",), None, says("Location", "/files/one")),
    Mutation(
        "whatever is refused is created",
        (
            "creation.length-demanded",
            "creation.length-negative",
            "creation.length-not-integer",
            "creation.defer.value-must-be-1",
            "creation.defer.bad-value-400",
        ),
        of_status=claims_success(400, "POST"),
    ),
    Mutation(
        "a creation that is too long is taken",
        ("creation.too-large-413",),
        takes_for("Upload-Length", "10", "POST"),
    ),
    Mutation("400 in place of 413", ("creation.too-large-413",), of_status=answers(400, 413)),
    Mutation(
        "every length is called deferred",
        ("creation.not-deferred", "creation.defer.header-omitted"),
        None,
        says("Upload-Defer-Length", "1", "HEAD"),
    ),
    Mutation(
        "no metadata in HEAD",
        ("creation.metadata.echoed", "creation.metadata.echoed-complete", "creation.metadata.empty-value"),
        None,
        lacks("Upload-Metadata", "HEAD"),
    ),
    Mutation(
        "metadata is told whatever it is",
        ("creation.metadata.bad-base64", "creation.metadata.key-twice", "creation.metadata.key-empty"),
        overlooks("Upload-Metadata"),
        says("Upload-Metadata", "filename not*base64!", "HEAD"),
    ),
    Mutation(
        "a value becomes a header",
        ("creation.metadata.no-smuggling",),
        overlooks("Upload-Metadata"),
        says("X-Smuggled", "1", "HEAD"),
    ),
    Mutation(
        "POST with bytes tells no offset",
        (
            "creation-with-upload.offset-told",
            "creation-with-upload.offset-true",
            "creation-with-upload.all-accepted",
            "creation-with-upload.deferred",
        ),
        None,
        lacks("Upload-Offset", "POST"),
    ),
    Mutation(
        "POST with bytes tells an offset that is not so",
        ("creation-with-upload.offset-true", "creation-with-upload.all-accepted"),
        None,
        says("Upload-Offset", "0", "POST"),
    ),
    Mutation("PATCH after POST is refused", ("creation-with-upload.continued",), of_status=answers(409, 204, "PATCH")),
    Mutation(
        "POST takes bytes of any type",
        ("creation-with-upload.content-type",),
        takes_for("Content-Type", "application/offset+octet-stream"),
    ),
    Mutation("every body is asked for", ("creation-with-upload.expect-refused",), continues),
    Mutation("POST with Expect fails", ("creation-with-upload.expect-continue",), of_status=answers(417, 201, "POST")),
    Mutation(
        "HEAD does not say that a length is deferred",
        ("creation.defer.told",),
        None,
        lacks("Upload-Defer-Length"),
    ),
    Mutation(
        "any Upload-Defer-Length defers",
        ("creation.defer.value-must-be-1", "creation.defer.bad-value-400"),
        takes_for("Upload-Defer-Length", "1"),
    ),
    Mutation("422 for Upload-Defer-Length: 2", ("creation.defer.bad-value-400",), of_status=answers(422, 400)),
    Mutation("a deferred length is told as 0", ("creation.defer.no-length",), None, says("Upload-Length", "0", "HEAD")),
    Mutation(
        "Upload-Length on PATCH is overlooked",
        (
            "creation.defer.length-set",
            "creation.defer.length-with-first-patch",
            "creation.defer.length-without-bytes",
            "creation.defer.header-omitted",
            "creation.defer.bad-length-refused",
        ),
        overlooks("Upload-Length", "PATCH"),
    ),
    Mutation(
        "the length changes with every PATCH",
        ("creation.defer.length-fixed", "creation.defer.known-length-fixed", "creation.defer.length-below-offset"),
        None,
        forgets_and_takes_last("Upload-Length"),
    ),
)

OTHERS = (
    Mutation(
        "other bytes are stored than were sent",
        (
            "core.patch.bytes-applied",
            "core.patch.conflict-bytes-untouched",
            "interruption.bytes-right",
            "creation-with-upload.bytes-right",
            "checksum.mismatch-discarded",
        ),
        content=b"helloWRONG",
    ),
    Mutation("no Upload-Expires", ("expiration.told",), None, lacks("Upload-Expires")),
    Mutation("PATCH without Upload-Expires", ("expiration.on-patch",), None, lacks("Upload-Expires", "PATCH")),
    Mutation("POST without Upload-Expires", ("expiration.on-post",), None, lacks("Upload-Expires", "POST")),
    Mutation("an obsolete date", ("expiration.date",), None, says("Upload-Expires", LYING_DATE)),
    Mutation("a date that has passed", ("expiration.ahead", "expiration.gone"), None, says("Upload-Expires", PAST)),
    Mutation("no list of algorithms", ("checksum.algorithms-told",), None, lacks("Tus-Checksum-Algorithm")),
    Mutation(
        "algorithms in capitals",
        ("checksum.algorithms-list", "checksum.sha1-told"),
        None,
        says("Tus-Checksum-Algorithm", "SHA1,MD5"),
    ),
    Mutation("no sha1", ("checksum.sha1-told",), None, says("Tus-Checksum-Algorithm", "sha256", "OPTIONS")),
    Mutation(
        "Upload-Checksum is overlooked",
        (
            "checksum.each-algorithm",
            "checksum.mismatch-refused",
            "checksum.mismatch-460",
            "checksum.mismatch-untouched",
            "checksum.mismatch-large-untouched",
            "checksum.mismatch-repaired",
            "checksum.unknown-refused",
            "checksum.unknown-400",
            "checksum.unknown-untouched",
            "checksum.malformed-refused",
            "checksum.broken-off-untouched",
            "creation-with-upload.checksum",
        ),
        overlooks("Upload-Checksum"),
    ),
    Mutation(
        "every checksum is wrong",
        ("checksum.match-204", "checksum.match-large", "checksum.each-algorithm", "checksum.mismatch-repaired"),
        takes_for("Upload-Checksum", PROMISED),
    ),
    Mutation("409 in place of 460", ("checksum.mismatch-460",), of_status=answers(409, 460)),
    Mutation("460 in place of 400", ("checksum.unknown-400",), of_status=answers(460, 400)),
    Mutation(
        "DELETE is answered 200",
        ("termination.success-204", "termination.complete-204", "termination.override"),
        of_status=answers(200, 204),
    ),
    Mutation(
        "what is deleted is still there",
        ("termination.head-gone", "termination.patch-gone", "termination.delete-gone", "termination.complete-gone"),
        of_status=several(answers(200, 410), answers(200, 404)),
    ),
)

MUTATIONS = (*CORE, *CREATION, *OTHERS)
