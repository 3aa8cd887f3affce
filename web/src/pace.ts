/** How fast it goes, judged by the last seconds only, so that a stall shows and an old one does not. */

const WINDOW_MS = 6000

export class Pace {
  private samples: { at: number; bytes: number }[] = []

  /** Begin anew: what is already there when an attempt begins was not sent now. */
  reset(): void {
    this.samples = []
  }

  note(bytes: number, at: number): void {
    const last = this.samples.at(-1)
    if (last !== undefined && bytes < last.bytes) this.reset()
    this.samples.push({ at, bytes })
    // One sample older than the window stays: the window is measured from it.
    while ((this.samples[1]?.at ?? at) < at - WINDOW_MS) this.samples.shift()
  }

  /** Bytes per second; null while it is too early to tell. */
  speed(at: number): number | null {
    const first = this.samples[0]
    const last = this.samples.at(-1)
    if (first === undefined || last === undefined || at - first.at < 500) return null
    return ((last.bytes - first.bytes) * 1000) / (at - first.at)
  }
}

/** Seconds until `bytes` more are sent; null when that is nothing to name to people. */
export function secondsLeft(bytes: number, speed: number | null): number | null {
  if (speed === null || speed <= 0) return null
  return bytes / speed
}
