/**
 * What outlives the page: one record for each upload that is not finished, in IndexedDB (which, unlike localStorage,
 * can keep file handles).
 *
 * Rules: the file itself is never kept, only how to know it again. Without IndexedDB there is no memory, and everything
 * else works. An upload that another tab is busy with is left to it, as far as the browser can tell (Web Locks need
 * https or localhost).
 */

export interface Remembered {
  id: string
  url: string
  path: string
  size: number
  modified: number
  volume: string
  paused: boolean
  handle: FileSystemFileHandle | null
}

const STORE = 'uploads'

export class Memory {
  private readonly opened: Promise<IDBDatabase | null>

  /** `name` keeps apart services that share a host. */
  constructor(private readonly name: string) {
    this.opened = open(name).catch(() => null)
  }

  async all(): Promise<Remembered[]> {
    const [database, busy] = await Promise.all([this.opened, this.busyElsewhere()])
    if (database === null) return []
    const store = database.transaction(STORE).objectStore(STORE)
    const records = await done(store.getAll() as IDBRequest<Remembered[]>)
    return records.filter((record) => !busy.has(this.lock(record.id)))
  }

  async keep(record: Remembered): Promise<void> {
    await this.change((store) => store.put(record))
  }

  async forget(id: string): Promise<void> {
    await this.change((store) => store.delete(id))
  }

  /** Whether this tab may send it now; until `released`, no other one may. */
  async hold(id: string, released: Promise<void>): Promise<boolean> {
    const locks = lockManager()
    if (locks === undefined) return true
    return new Promise((resolve) => {
      void locks.request(this.lock(id), { ifAvailable: true }, async (lock) => {
        resolve(lock !== null)
        if (lock !== null) await released
      })
    })
  }

  private async busyElsewhere(): Promise<Set<string>> {
    const held = (await lockManager()?.query())?.held ?? []
    return new Set(held.map((lock) => lock.name ?? ''))
  }

  private lock(id: string): string {
    return `${this.name} ${id}`
  }

  private async change(what: (store: IDBObjectStore) => IDBRequest): Promise<void> {
    const database = await this.opened
    if (database === null) return
    // A full disk costs the memory, not the upload.
    await done(what(database.transaction(STORE, 'readwrite').objectStore(STORE))).catch(() => null)
  }
}

function lockManager(): LockManager | undefined {
  return (navigator as { locks?: LockManager }).locks
}

async function open(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, 1)
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: 'id' })
  return await done(request)
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('IndexedDB gave no reason'))
  })
}

export function newId(): string {
  // randomUUID is for https and localhost only.
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
