/**
 * All the uploads of this page, a few of them at a time.
 *
 * Rules: whoever waits is started in the order of the list; one that was interrupted goes on when its file comes again,
 * by name, size and date, or at once where the browser still lets us read it.
 */

import type { Memory } from './memory'
import { fromHandles, type Picked } from './picking'
import type { Service } from './service'
import { Transfer } from './transfer'

/** Browsers open six connections to a host, and there are questions to be asked beside. */
const AT_ONCE = 3

interface Lasting {
  queryPermission?: (wanted: { mode: 'read' }) => Promise<PermissionState>
  requestPermission?: (wanted: { mode: 'read' }) => Promise<PermissionState>
}

export interface Added {
  begun: number
  goingOn: number
  /** those that were on the list already */
  known: number
}

export interface Totals {
  files: number
  done: number
  failed: number
  sending: number
  /** whether anything can still be paused */
  running: boolean
  /** whether anything can be gone on with, at a click */
  resting: boolean
  size: number
  sent: number
  /** bytes per second */
  speed: number | null
}

export class Uploads {
  readonly all: Transfer[] = []
  /** Nothing is added before: it would find itself among what was left. */
  private readonly recalled: Promise<void>

  constructor(
    private readonly service: Service,
    private readonly memory: Memory,
    private readonly heard: (transfer: Transfer) => void,
  ) {
    this.recalled = this.recall()
  }

  /** What an earlier visit has left. */
  private async recall(): Promise<void> {
    for (const record of await this.memory.all().catch(() => [])) {
      const transfer = Transfer.again(record, this.service, this.memory, this.changed)
      this.all.push(transfer)
      this.heard(transfer)
      void this.goOn(transfer, record.paused)
    }
  }

  private async goOn(transfer: Transfer, paused: boolean): Promise<void> {
    await transfer.recall()
    if (!paused && transfer.state.is === 'interrupted') await this.reopen(transfer, false)
  }

  async add(picked: Iterable<Picked>, volume: string): Promise<Added> {
    await this.recalled
    const added: Added = { begun: 0, goingOn: 0, known: 0 }
    for (const each of picked) {
      const same = this.all.find((transfer) => transfer.fits(each) && transfer.state.is !== 'dropped')
      if (same === undefined || same.state.is === 'done') {
        const transfer = Transfer.of(each, volume, this.service, this.memory, this.changed)
        this.all.push(transfer)
        this.changed(transfer)
        added.begun += 1
      } else if (same.state.is === 'interrupted' || same.state.is === 'failed') {
        if (same.state.is === 'failed' && same.state.over) same.startOver()
        void same.attach(each)
        added.goingOn += 1
      } else {
        added.known += 1
      }
    }
    return added
  }

  /** Go on with a file that the browser kept a handle of; `ask` shows the browser's own question. */
  async reopen(transfer: Transfer, ask: boolean): Promise<boolean> {
    const handle = transfer.handle
    if (handle === null) return false
    const { queryPermission, requestPermission } = handle as Lasting
    const permission = ask ? requestPermission : queryPermission
    try {
      if ((await permission?.call(handle, { mode: 'read' })) !== 'granted') return false
      const [picked] = await fromHandles([handle])
      if (picked === undefined || !transfer.fits({ ...picked, path: transfer.path })) return false
      await transfer.attach(picked)
      return true
    } catch {
      return false // it was moved or removed
    }
  }

  pauseAll(): void {
    const waiting = this.all.filter((transfer) => transfer.state.is === 'waiting')
    const busy = this.all.filter((transfer) => transfer.busy)
    // In this order, or each pause would start one that waits, only to break it off.
    for (const transfer of [...waiting, ...busy]) transfer.pause()
  }

  resumeAll(): void {
    for (const transfer of this.all) if (transfer.state.is === 'paused') transfer.resume()
  }

  /** The network is back, or a key has come: nobody waits for a clock. */
  nudge(state: 'again' | 'locked'): void {
    for (const transfer of this.all) if (transfer.state.is === state) transfer.resume()
  }

  clearDone(): void {
    for (const transfer of [...this.all]) if (transfer.state.is === 'done') transfer.forget()
  }

  totals(now: number): Totals {
    const totals: Totals = {
      files: this.all.length,
      done: 0,
      failed: 0,
      sending: 0,
      running: false,
      resting: false,
      size: 0,
      sent: 0,
      speed: null,
    }
    for (const transfer of this.all) {
      const { is } = transfer.state
      if (is === 'done') totals.done += 1
      if (is === 'failed') totals.failed += 1
      if (is === 'paused') totals.resting = true
      if (transfer.busy || is === 'waiting') totals.running = true
      totals.size += transfer.size
      totals.sent += transfer.sent
      if (is !== 'sending') continue
      totals.sending += 1
      const speed = transfer.pace.speed(now)
      if (speed !== null) totals.speed = (totals.speed ?? 0) + speed
    }
    return totals
  }

  private readonly changed = (transfer: Transfer): void => {
    if (transfer.state.is === 'dropped') this.all.splice(0, this.all.length, ...this.all.filter((t) => t !== transfer))
    this.heard(transfer)
    this.pump()
  }

  private pump(): void {
    let free = AT_ONCE - this.all.filter((transfer) => transfer.takesPlace).length
    for (const transfer of this.all) {
      if (free <= 0) return
      if (transfer.state.is !== 'waiting') continue
      free -= 1
      // It calls `changed` before it returns, and that finds it sending.
      transfer.run()
    }
  }
}
