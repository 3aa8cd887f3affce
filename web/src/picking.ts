/**
 * Files as people hand them over: dropped or chosen, alone or in folders.
 *
 * Rules: a file in a folder keeps its path, from the folder's own name on. Where the browser has lasting handles (the
 * File System Access API) they are kept, so that a later visit can go on without anybody's looking for the file again.
 */

export interface Picked {
  file: File
  /** "report.pdf", or "photos/2026/a.jpg" */
  path: string
  handle: FileSystemFileHandle | null
}

interface WithHandle {
  getAsFileSystemHandle?: () => Promise<FileSystemHandle | null>
}

export function fromInput(files: Iterable<File>): Picked[] {
  return Array.from(files, (file) => ({ file, path: file.webkitRelativePath || file.name, handle: null }))
}

export async function fromHandles(handles: Iterable<FileSystemHandle>): Promise<Picked[]> {
  const picked: Picked[] = []
  for (const handle of handles) await walkHandle(handle, '', picked)
  return picked
}

/** To be called while the drop is being handled: afterwards the browser has forgotten what it was. */
export async function fromDrop(transfer: DataTransfer): Promise<Picked[]> {
  const found = [...transfer.items].filter((item) => item.kind === 'file').map(begin)
  const picked: Picked[] = []
  for (const walk of found) await walk(picked)
  return picked
}

function begin(item: DataTransferItem): (picked: Picked[]) => Promise<void> {
  const handle = (item as WithHandle).getAsFileSystemHandle?.().catch(() => null)
  const entry = item.webkitGetAsEntry()
  const file = item.getAsFile()
  return async (picked) => {
    const lasting = await handle
    if (lasting) return walkHandle(lasting, '', picked)
    if (entry) return walkEntry(entry, '', picked)
    if (file) picked.push({ file, path: file.name, handle: null })
  }
}

async function walkHandle(handle: FileSystemHandle, above: string, picked: Picked[]): Promise<void> {
  const path = above + handle.name
  if (isDirectory(handle)) {
    for await (const child of handle.values()) await walkHandle(child, `${path}/`, picked)
  } else {
    const lasting = handle as FileSystemFileHandle
    picked.push({ file: await lasting.getFile(), path, handle: lasting })
  }
}

function isDirectory(handle: FileSystemHandle): handle is FileSystemDirectoryHandle {
  return handle.kind === 'directory'
}

async function walkEntry(entry: FileSystemEntry, above: string, picked: Picked[]): Promise<void> {
  const path = above + entry.name
  if (entry.isDirectory) {
    const reader = (entry as FileSystemDirectoryEntry).createReader()
    // It gives out a part of them each time, and none at the end.
    for (let part = await read(reader); part.length > 0; part = await read(reader)) {
      for (const child of part) await walkEntry(child, `${path}/`, picked)
    }
  } else {
    const file = await new Promise<File>((resolve, reject) => {
      ;(entry as FileSystemFileEntry).file(resolve, reject)
    })
    picked.push({ file, path, handle: null })
  }
}

function read(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  return new Promise((resolve, reject) => {
    reader.readEntries(resolve, reject)
  })
}
