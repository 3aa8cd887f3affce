import { expect, it } from 'vitest'
import { fromDrop, fromHandles, fromInput } from '../src/picking'

const file = (name: string, relative = ''): File =>
  Object.defineProperty(new File(['x'], name), 'webkitRelativePath', { value: relative })

const asHandle = (name: string, children?: FileSystemHandle[]): FileSystemHandle =>
  ({
    name,
    kind: children === undefined ? 'file' : 'directory',
    getFile: () => Promise.resolve(file(name)),
    values: async function* () {
      await Promise.resolve()
      yield* children ?? []
    },
  }) as unknown as FileSystemHandle

/** Gives its children out two at a time, as browsers do by the hundred. */
const asEntry = (name: string, children?: FileSystemEntry[]): FileSystemEntry => {
  const left = [...(children ?? [])]
  return {
    name,
    isDirectory: children !== undefined,
    file: (found: (file: File) => void) => found(file(name)),
    createReader: () => ({ readEntries: (found: (part: FileSystemEntry[]) => void) => found(left.splice(0, 2)) }),
  } as unknown as FileSystemEntry
}

const TREE = ['photos/2026/a.jpg', 'photos/2026/b.jpg', 'photos/2026/c.jpg', 'photos/d.jpg', 'e.txt']

it('keeps the paths of a folder that was chosen', () => {
  const picked = fromInput([file('a.jpg', 'photos/2026/a.jpg'), file('e.txt')])
  expect(picked.map(({ path }) => path)).toEqual(['photos/2026/a.jpg', 'e.txt'])
})

it('walks folders by their handles, and keeps those of the files', async () => {
  const year = asHandle('2026', [asHandle('a.jpg'), asHandle('b.jpg'), asHandle('c.jpg')])
  const picked = await fromHandles([asHandle('photos', [year, asHandle('d.jpg')]), asHandle('e.txt')])
  expect(picked.map(({ path }) => path)).toEqual(TREE)
  expect(picked.every(({ handle }) => handle !== null)).toBe(true)
})

it('walks folders by their entries where there are no handles, however many parts they come in', async () => {
  const year = asEntry('2026', [asEntry('a.jpg'), asEntry('b.jpg'), asEntry('c.jpg')])
  const dropped = [asEntry('photos', [year, asEntry('d.jpg')]), asEntry('e.txt')]
  const items = dropped.map((entry) => ({ kind: 'file', webkitGetAsEntry: () => entry, getAsFile: () => null }))
  const picked = await fromDrop({ items } as unknown as DataTransfer)
  expect(picked.map(({ path }) => path)).toEqual(TREE)
})
