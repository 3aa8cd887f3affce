/** Numbers and states, as people read them. */

import type { State } from './transfer'

const UNITS = ['kB', 'MB', 'GB', 'TB', 'PB']

export function bytesInWords(bytes: number): string {
  if (bytes < 1000) return bytes === 1 ? '1 byte' : `${Math.round(bytes)} bytes`
  let value = bytes
  let unit = -1
  // 999.5 would be rounded to 1000 of its unit.
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${UNITS[unit] ?? ''}`
}

export function durationInWords(seconds: number): string {
  if (seconds < 50) return count(Math.max(1, Math.ceil(seconds / 5) * 5), 'second')
  const minutes = Math.ceil(seconds / 60)
  if (minutes < 60) return count(minutes, 'minute')
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return minutes % 60 === 0 ? count(hours, 'hour') : `${count(hours, 'hour')} ${minutes % 60} min`
  return count(Math.round(hours / 24), 'day')
}

export function count(number: number, thing: string): string {
  return `${number.toLocaleString('en')} ${thing}${number === 1 ? '' : 's'}`
}

export function percent(part: number, whole: number): number {
  // 100 % is said of what is complete, and of nothing else.
  return whole === 0 ? 0 : Math.min(99, Math.floor((100 * part) / whole))
}

export interface Progress {
  size: number
  sent: number
  /** bytes per second */
  speed: number | null
  /** seconds */
  left: number | null
  /** whether the service has not said yet how much it has */
  asking: boolean
  /** of the clock, in milliseconds */
  now: number
}

export function stateInWords(state: State, progress: Progress): string {
  const { size, sent } = progress
  const so_far = `${percent(sent, size)} %`
  switch (state.is) {
    case 'waiting':
      return sent > 0 ? `Waiting at ${so_far}` : 'Waiting'
    case 'sending':
      if (progress.asking) return 'Asking how much has arrived'
      return [`${so_far} of ${bytesInWords(size)}`, ...paceInWords(progress)].join(' · ')
    case 'paused':
      return `Paused at ${so_far}`
    case 'again': {
      const seconds = Math.ceil((state.at - progress.now) / 1000)
      return `${state.why} ${seconds > 0 ? `Trying again in ${count(seconds, 'second')}.` : 'Trying again.'}`
    }
    case 'locked':
      return state.why
    case 'assembling':
      if (state.assembled === null) return 'All sent. Waiting for the server to confirm.'
      return `All sent. The server is assembling the file: ${percent(state.assembled, size)} %`
    case 'done':
      return 'Done'
    case 'failed':
      return state.why
    case 'interrupted':
      return sent > 0 ? `Interrupted at ${so_far}` : 'Interrupted'
    case 'dropped':
      return 'Cancelled'
  }
}

export function paceInWords({ speed, left }: { speed: number | null; left: number | null }): string[] {
  const words: string[] = []
  if (speed !== null && speed > 0) words.push(`${bytesInWords(speed)}/s`)
  if (left !== null) words.push(`${durationInWords(left)} left`)
  return words
}
