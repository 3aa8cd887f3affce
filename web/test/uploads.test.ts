import { DetailedError, type UploadOptions } from 'tus-js-client'
import { afterEach, expect, it, vi } from 'vitest'
import type { Memory, Remembered } from '../src/memory'
import type { Picked } from '../src/picking'
import type { Service } from '../src/service'
import { Uploads } from '../src/uploads'

let started = 0
const attempts: UploadOptions[] = []

/** As if the service had answered the attempt that was begun as the `index`th. */
function fail(index: number, status: number): void {
  const request = { getMethod: () => 'PATCH' }
  const response = { getStatus: () => status, getHeader: () => undefined, getBody: () => '' }
  const facts = { originalRequest: request, originalResponse: response }
  attempts[index]?.onError?.(Object.assign(Object.create(DetailedError.prototype) as DetailedError, facts))
}

vi.mock('tus-js-client', async (load) => ({
  ...(await load<object>()),
  Upload: class {
    constructor(_: File, options: UploadOptions) {
      attempts.push(options)
    }
    start(): void {
      started += 1 // and on its way for as long as anybody looks
    }
    abort(): void {
      // Nothing was sent.
    }
  },
}))

afterEach(() => {
  vi.useRealTimers()
})

const service = {
  endpoint: 'https://host/files',
  headers: {},
  lacksKey: false,
  status: () => Promise.resolve({ phase: 'open', committed: 1, assembled: 0, reason: null }),
} as unknown as Service

const picked = (path: string): Picked => ({ file: new File(['x'], path, { lastModified: 7 }), path, handle: null })

const known = (path: string): Remembered => {
  const url = 'https://host/files/main.1'
  return { id: path, url, path, size: 1, modified: 7, volume: '', paused: false, handle: null }
}

function remembering(records: Promise<Remembered[]>): Uploads {
  const memory = { all: () => records, hold: () => Promise.resolve(true), keep: vi.fn(), forget: vi.fn() }
  return new Uploads(service, memory as unknown as Memory, () => undefined)
}

it('goes on with a file that is dropped before the memory has been read', async () => {
  let read: (records: Remembered[]) => void = () => undefined
  const uploads = remembering(new Promise((resolve) => (read = resolve)))
  const adding = uploads.add([picked('a.bin')], '')
  await Promise.resolve()
  read([known('a.bin')])
  expect(await adding).toEqual({ begun: 0, goingOn: 1, known: 0 })
  await vi.waitFor(() => expect(uploads.all.map(({ state }) => state.is)).toEqual(['sending']))
})

it('sends three at a time, and the next one when there is room', async () => {
  const uploads = remembering(Promise.resolve([]))
  await uploads.add(['a', 'b', 'c', 'd', 'e'].map(picked), '')
  const states = (): string => uploads.all.map(({ state }) => state.is).join(' ')
  expect(states()).toBe('sending sending sending waiting waiting')
  uploads.all[1]?.pause()
  expect(states()).toBe('sending paused sending sending waiting')
  started = 0
  uploads.pauseAll()
  expect(states()).toBe('paused paused paused paused paused')
  expect(started).toBe(0)
  uploads.resumeAll()
  expect(states()).toBe('sending sending sending waiting waiting')
})

it('lets others pass one that waits for itself alone, and takes it in again when there is room', async () => {
  vi.useFakeTimers()
  attempts.length = 0
  const uploads = remembering(Promise.resolve([]))
  await uploads.add(['a', 'b', 'c', 'd'].map(picked), '')
  const states = (): string => uploads.all.map(({ state }) => state.is).join(' ')
  expect(states()).toBe('sending sending sending waiting')
  fail(0, 423)
  await vi.advanceTimersByTimeAsync(1)
  expect(states()).toBe('again sending sending sending')
  await vi.advanceTimersByTimeAsync(1000)
  expect(states()).toBe('waiting sending sending sending')
  // A service that is down is everybody's trouble: nobody else is sent after it.
  fail(1, 503)
  await vi.advanceTimersByTimeAsync(1)
  expect(states()).toBe('waiting again sending sending')
  uploads.all[2]?.pause()
  expect(states()).toBe('sending again paused sending')
})

it('knows a file that is on the list already', async () => {
  const uploads = remembering(Promise.resolve([]))
  await uploads.add([picked('a.bin')], '')
  expect(await uploads.add([picked('a.bin'), picked('b.bin')], '')).toEqual({ begun: 1, goingOn: 0, known: 1 })
})
