import { DetailedError, type UploadOptions } from 'tus-js-client'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Memory } from '../src/memory'
import type { Service } from '../src/service'
import { Transfer } from '../src/transfer'

/** The attempts that were made, in their order. */
const attempts: Attempt[] = []

class Attempt {
  url: string | null
  aborted = false

  constructor(
    readonly file: File,
    readonly options: UploadOptions,
  ) {
    this.url = options.uploadUrl ?? null
    attempts.push(this)
  }

  start(): void {
    if (this.url !== null) return
    this.url = 'https://host/files/main.1'
    this.options.onUploadUrlAvailable?.()
  }

  abort(): void {
    this.aborted = true
  }

  /** What the service has at the beginning, and then what went out. */
  sends(...bytes: number[]): this {
    for (const sent of bytes) this.options.onProgress?.(sent, this.file.size)
    return this
  }

  async fails(status: number, body = ''): Promise<void> {
    const request = { getMethod: () => 'PATCH', getURL: () => this.url, getHeader: () => undefined }
    const response = { getStatus: () => status, getHeader: () => undefined, getBody: () => body }
    const facts = { originalRequest: request, originalResponse: status === 0 ? null : response }
    this.options.onError?.(Object.assign(Object.create(DetailedError.prototype) as DetailedError, facts))
    await vi.advanceTimersByTimeAsync(1)
  }
}

vi.mock('tus-js-client', async (load) => {
  // The mock is made before the class above is.
  const upload = function (file: File, options: UploadOptions): Attempt {
    return new Attempt(file, options)
  }
  return { ...(await load<object>()), Upload: upload }
})

const memory = { keep: vi.fn(), forget: vi.fn(), hold: () => Promise.resolve(true) }
const service = { endpoint: 'https://host/files', headers: {}, lacksKey: false, status: vi.fn(), terminate: vi.fn() }

const handle = { name: 'a.bin' } as FileSystemFileHandle

function transfer(): Transfer {
  const picked = { file: new File(['x'.repeat(100)], 'a.bin'), path: 'a.bin', handle }
  const quiet = (): void => undefined
  return Transfer.of(picked, '', service as unknown as Service, memory as unknown as Memory, quiet)
}

const last = (): Attempt => attempts.at(-1) as Attempt

beforeEach(() => {
  vi.useFakeTimers()
  attempts.length = 0
})

afterEach(() => {
  vi.useRealTimers()
})

async function pauseAfter(subject: Transfer, ...sent: number[]): Promise<number> {
  const begun = Date.now()
  await last().sends(...sent).fails(0)
  if (subject.state.is !== 'again') throw new Error(subject.state.is)
  const seconds = Math.round((subject.state.at - begun) / 1000)
  await vi.advanceTimersByTimeAsync(seconds * 1000)
  return seconds
}

it('waits longer while nothing arrives, whatever went out, and begins anew when something has', async () => {
  const subject = transfer()
  subject.run()
  expect(await pauseAfter(subject, 0, 50, 90)).toBe(1)
  expect(await pauseAfter(subject, 0, 50, 90)).toBe(2)
  expect(await pauseAfter(subject, 0, 99)).toBe(4)
  expect(await pauseAfter(subject, 40, 60)).toBe(1)
  expect(attempts).toHaveLength(5)
})

it('creates once, and only goes on from then', async () => {
  const subject = transfer()
  subject.run()
  expect(last().options.endpoint).toBeNull()
  await pauseAfter(subject, 0)
  expect(last().options).toMatchObject({ uploadUrl: 'https://host/files/main.1' })
  expect(last().options.endpoint).toBeUndefined()
})

it('asks how much has arrived when it goes on, and not when it begins', async () => {
  const subject = transfer()
  subject.run()
  // Nothing was sent yet.
  expect(subject.asking).toBe(false)
  await pauseAfter(subject, 0, 50)
  expect(subject.asking).toBe(true)
  last().sends(40)
  expect(subject.asking).toBe(false)
})

it('does not hear what an attempt says that was given up', async () => {
  const subject = transfer()
  subject.run()
  const old = last().sends(0, 10)
  subject.pause()
  expect(old.aborted).toBe(true)
  await old.sends(100).fails(400)
  old.options.onSuccess?.({ lastResponse: null as never })
  expect(subject.state.is).toBe('paused')
  expect(subject.sent).toBe(10)
})

const kept = (): unknown => memory.keep.mock.lastCall?.[0]

it('remembers that it was paused until it goes on, so that a later visit lets it go on by itself', () => {
  const subject = transfer()
  subject.run()
  subject.pause()
  expect(kept()).toMatchObject({ url: 'https://host/files/main.1', paused: true, handle })
  subject.resume()
  expect(kept()).toMatchObject({ url: 'https://host/files/main.1', paused: false, handle })
})

it('keeps the handle of a file that is chosen again, and an older one when it comes without', async () => {
  const quiet = (): void => undefined
  const record = { id: '1', url: 'https://host/files/main.1', path: 'a.bin', size: 100, modified: 7, volume: '' }
  const subject = Transfer.again(
    { ...record, paused: true, handle: null },
    service as unknown as Service,
    memory as unknown as Memory,
    quiet,
  )
  const file = new File(['x'.repeat(100)], 'a.bin')
  await subject.attach({ file, handle })
  expect(kept()).toMatchObject({ id: '1', paused: false, handle })
  await subject.attach({ file, handle: null })
  expect(kept()).toMatchObject({ id: '1', handle })
})

it('waits for its turn again when what was in the way was in nobody else’s', async () => {
  const subject = transfer()
  subject.run()
  await last().sends(0).fails(423)
  expect(subject.state).toMatchObject({ is: 'again', alone: true })
  expect(subject.takesPlace).toBe(false)
  await vi.advanceTimersByTimeAsync(1000)
  expect(subject.state.is).toBe('waiting')
  subject.run()
  await last().sends(0).fails(0)
  expect(subject.takesPlace).toBe(true)
})

it('sends smaller and smaller pieces to a proxy, and gives up when it takes none at all', async () => {
  const subject = transfer()
  subject.run()
  for (let count = 0; count < 4; count += 1) await last().sends(0).fails(413)
  expect(attempts.map(({ options }) => options.chunkSize)).toEqual([Number.POSITIVE_INFINITY, 64e6, 8e6, 900e3])
  expect(subject.state.is).toBe('failed')
})

it('looks at how the upload stands when all is sent and no answer comes', async () => {
  const subject = transfer()
  subject.run()
  service.status.mockResolvedValueOnce({ phase: 'closed', committed: 100, assembled: 30, reason: null })
  service.status.mockResolvedValueOnce({ phase: 'published', committed: 100, assembled: 100, reason: null })
  last().sends(0, 100)
  await vi.advanceTimersByTimeAsync(900)
  expect(subject.state).toEqual({ is: 'assembling', assembled: 30 })
  await vi.advanceTimersByTimeAsync(1100)
  expect(subject.state.is).toBe('done')
  expect(memory.forget).toHaveBeenCalledWith(subject.id)
})

it('tells why a file could not be published', async () => {
  const subject = transfer()
  subject.run()
  service.status.mockResolvedValueOnce({ phase: 'failed', committed: 100, assembled: 30, reason: 'It is taken.' })
  last().sends(0, 100)
  await vi.advanceTimersByTimeAsync(900)
  expect(subject.state).toEqual({ is: 'failed', why: 'It is taken.', over: true })
  subject.startOver()
  subject.run()
  expect(attempts).toHaveLength(2)
  expect(subject.url).toBe('https://host/files/main.1')
})
