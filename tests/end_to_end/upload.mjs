// One upload by tus-js-client, told by JSON and telling in JSON: test_tus_js_client.py starts this with the options as
// its only argument, reads one event a line from standard output, and may write "abort" or "terminate" (which also
// deletes the upload) to standard input.
//
//   {"event": "url", "url"}                           the service has named the upload
//   {"event": "progress", "sent", "total"}            bytes handed to the network; told each 100 ms at the most
//   {"event": "answer", "method", "status", "offset", "url"}   every answer, as it came
//   {"event": "retry", "reason"}                      tus-js-client decided to try again
//   {"event": "resuming", "url"}                      a URL that an earlier process had stored was found
//   {"event": "aborted"} {"event": "success", "url"} {"event": "error", "reason"}

import { createReadStream } from 'node:fs'
import { PassThrough } from 'node:stream'
import { createInterface } from 'node:readline'
import { DetailedError, FileUrlStorage, Upload } from 'tus-js-client'

const options = JSON.parse(process.argv[2])
const tell = (event, facts) => process.stdout.write(`${JSON.stringify({ event, ...facts })}\n`)

function source() {
  const file = createReadStream(options.file)
  // tus-js-client knows the size of a file stream; of a pipe it knows nothing.
  return options.asStream ? file.pipe(new PassThrough()) : file
}

// Its own rule, copied because giving an `onShouldRetry` replaces it.
function shouldRetry(error) {
  const status = error.originalResponse ? error.originalResponse.getStatus() : 0
  const retries = status < 400 || status >= 500 || status === 409 || status === 423
  if (retries) tell('retry', { reason: reasonOf(error), status })
  return retries
}

function reasonOf(error) {
  return error instanceof DetailedError ? error.message : String(error.stack)
}

const upload = new Upload(source(), {
  endpoint: options.endpoint,
  ...(options.protocol && { protocol: options.protocol }),
  chunkSize: options.chunkSize ?? Number.POSITIVE_INFINITY,
  retryDelays: options.retryDelays,
  metadata: options.metadata ?? {},
  headers: options.headers ?? {},
  uploadLengthDeferred: options.uploadLengthDeferred ?? false,
  uploadDataDuringCreation: options.uploadDataDuringCreation ?? false,
  overridePatchMethod: options.overridePatchMethod ?? false,
  addRequestId: options.addRequestId ?? false,
  parallelUploads: options.parallelUploads ?? 1,
  protocol: options.protocol ?? 'tus-v1',
  ...(options.urlStorage && { urlStorage: new FileUrlStorage(options.urlStorage) }),
  storeFingerprintForResuming: Boolean(options.urlStorage),
  onShouldRetry: shouldRetry,
  onUploadUrlAvailable: () => tell('url', { url: upload.url }),
  onProgress: (sent, total) => tell('progress', { sent, total }),
  onAfterResponse: (request, response) => {
    const offset = response.getHeader('Upload-Offset')
    tell('answer', {
      method: request.getHeader('X-HTTP-Method-Override') ?? request.getMethod(),
      status: response.getStatus(),
      offset: offset === undefined ? null : Number(offset),
      url: request.getURL(),
    })
  },
  onSuccess: () => {
    tell('success', { url: upload.url })
    process.exit(0)
  },
  onError: (error) => {
    tell('error', { reason: reasonOf(error) })
    process.exit(1)
  },
})

createInterface({ input: process.stdin }).on('line', async (line) => {
  await upload.abort(line.trim() === 'terminate')
  tell('aborted', {})
  process.exit(0)
})

if (options.urlStorage && !options.asStream) {
  const [previous] = await upload.findPreviousUploads()
  if (previous) {
    tell('resuming', { url: previous.uploadUrl })
    upload.resumeFromPreviousUpload(previous)
  }
}
upload.start()
