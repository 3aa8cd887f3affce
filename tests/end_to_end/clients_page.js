// What the page of clients_page.py does when it is told to: uploads of the files that were chosen, by tus-js-client's
// own browser build or by Uppy. `uploads` tells what became of each, by the name of its file:
//
//   {state: "running" | "success" | "aborted" | "terminated" | "error", reason, url, sent, resumed, answers}

const uploads = {}

const chosen = (name) => [...document.querySelector('input').files].find((file) => file.name === name)

function answerHeard(upload, request, response) {
  const offset = response.getHeader('Upload-Offset')
  upload.answers.push({
    method: request.getHeader('X-HTTP-Method-Override') ?? request.getMethod(),
    status: response.getStatus(),
    offset: offset === null || offset === undefined ? null : Number(offset),
    url: request.getURL(),
  })
}

// `asStream`: nobody knows how much will come. `resume`: go on with what local storage remembers of this file.
async function begin(name, { asStream, resume, ...options }) {
  const upload = { state: 'running', reason: null, url: null, sent: 0, resumed: null, answers: [] }
  uploads[name] = upload
  const file = chosen(name)
  upload.client = new tus.Upload(asStream ? file.stream().getReader() : file, {
    chunkSize: Number.POSITIVE_INFINITY,
    metadata: { filename: name, filetype: file.type },
    ...options,
    onUploadUrlAvailable: () => (upload.url = upload.client.url),
    onProgress: (sent) => (upload.sent = sent),
    onAfterResponse: (request, response) => answerHeard(upload, request, response),
    onSuccess: () => Object.assign(upload, { state: 'success', url: upload.client.url }),
    onError: (error) => Object.assign(upload, { state: 'error', reason: String(error) }),
  })
  if (resume) {
    const [previous] = await upload.client.findPreviousUploads()
    if (previous) {
      upload.resumed = previous.uploadUrl
      upload.client.resumeFromPreviousUpload(previous)
    }
  }
  upload.client.start()
}

async function abort(name, terminate) {
  await uploads[name].client.abort(terminate)
  uploads[name].state = terminate ? 'terminated' : 'aborted'
}

// One Uppy with all of these files, as pages have it.
function beginWithUppy(names, options) {
  const uppy = new Uppy.Uppy()
  uppy.use(Uppy.Tus, {
    ...options,
    onAfterResponse: (request, response) => answerHeard(uploads[request.getUnderlyingObject().name], request, response),
    onBeforeRequest: (request, file) => (request.getUnderlyingObject().name = file.name),
  })
  for (const name of names) {
    uploads[name] = { state: 'running', reason: null, url: null, sent: 0, resumed: null, answers: [] }
    uppy.addFile({ name, data: chosen(name), source: 'input' })
  }
  uppy.on('upload-progress', (file, progress) => (uploads[file.name].sent = progress.bytesUploaded))
  uppy.on('upload-success', (file, { uploadURL }) => {
    Object.assign(uploads[file.name], { state: 'success', url: uploadURL })
  })
  uppy.on('upload-error', (file, error) => {
    Object.assign(uploads[file.name], { state: 'error', reason: String(error) })
  })
  uppy.upload()
}

const told = (name) => ({ ...uploads[name], client: undefined })
