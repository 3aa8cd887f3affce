/**
 * What a screen reader tells without being asked.
 *
 * Rules: what has happened, not how far it is; several things at once are one sentence; a quarter of all is told at
 * most each ten seconds.
 */

import type { State } from './transfer'

const GATHER_MS = 1200
const MILESTONE_MS = 10_000

export class News {
  private gathered = new Map<string, string[]>()
  private timer: ReturnType<typeof setTimeout> | undefined
  private quarter = 0
  private lastMilestone = 0

  constructor(private readonly tell: (words: string) => void) {}

  /** `what` with all the names that it is true of. */
  of(what: string, name: string): void {
    this.gathered.set(what, [...(this.gathered.get(what) ?? []), name])
    this.later()
  }

  say(words: string): void {
    this.gathered.set(words, [])
    this.later()
  }

  became(state: State, name: string): void {
    const what = { done: 'finished', failed: 'failed', assembling: 'is being assembled', again: 'waits and tries again' }
    if (state.is in what) this.of(what[state.is as keyof typeof what], name)
  }

  progressed(part: number, whole: number, now: number): void {
    const quarter = whole === 0 ? 0 : Math.floor((4 * part) / whole)
    if (quarter < this.quarter) this.quarter = quarter
    if (quarter <= this.quarter || quarter === 4 || now - this.lastMilestone < MILESTONE_MS) return
    this.quarter = quarter
    this.lastMilestone = now
    this.say(`${quarter * 25} % uploaded.`)
  }

  private later(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      const sentences = [...this.gathered].map(([what, names]) => sentence(what, names))
      this.gathered.clear()
      this.tell(sentences.join(' '))
    }, GATHER_MS)
  }
}

export function sentence(what: string, names: string[]): string {
  if (names.length === 0) return what
  if (names.length === 1) return `${names[0] ?? ''} ${what}.`
  return `${names.length} files ${what.replace(/^is /, 'are ').replace('waits and tries', 'wait and try')}.`
}
