import { expect, it, vi } from 'vitest'
import type { Memory, Remembered } from '../src/memory'
import type { Picked } from '../src/picking'
import type { Service } from '../src/service'
import { Uploads } from '../src/uploads'

let started = 0

vi.mock('tus-js-client', async (load) => ({
  ...(await load<object>()),
  Upload: class {
    start(): void {
      started += 1 // and on its way for as long as anybody looks
    }
    abort(): void {
      // Nothing was sent.
    }
  },
}))

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

it('knows a file that is on the list already', async () => {
  const uploads = remembering(Promise.resolve([]))
  await uploads.add([picked('a.bin')], '')
  expect(await uploads.add([picked('a.bin'), picked('b.bin')], '')).toEqual({ begun: 1, goingOn: 0, known: 1 })
})
