/**
 * What an answer of the service means for an upload.
 *
 * Rules: a connection that is lost, 409, 423, 429 and 5xx pass, so they are tried again for ever, more and more slowly;
 * everything else is final and told by the service's own sentence. A 413 that is not the service's own is that of a
 * proxy which takes no bodies of this size: the same bytes go through in smaller pieces.
 */

export interface Answer {
  status: number
  /** the problem's name, when the service itself has answered */
  slug: string | null
  detail: string | null
  /** seconds */
  retryAfter: number | null
}

export type Verdict =
  | { then: 'again'; seconds: number; why: string; alone: boolean }
  | { then: 'smaller' }
  | { then: 'key'; why: string }
  | { then: 'assembling' }
  | { then: 'over'; why: string }
  | { then: 'stop'; why: string }

const PROBLEM = 'urn:storage-proxy:problem:'
const PAUSES = [1, 2, 4, 8, 15, 30]

/** Trying again does not bring back what is lost, nor make other bytes of what is stored, though 5xx and 409 pass. */
const FINAL = new Set([
  'manifest-unreadable',
  'manifest-too-new',
  'promised-bytes-missing',
  'chunk-conflict',
  'pieces-exhausted',
])
/** What is in the way of this one upload, and of no other. */
const ALONE = new Set([409, 423])
const GONE = new Set(['upload-not-found', 'upload-gone'])
const OVER = new Set([404, 410])

export function readAnswer(status: number, retryAfter: string | null, body: string): Answer {
  const seconds = Number.parseInt(retryAfter ?? '', 10)
  const answer: Answer = { status, slug: null, detail: null, retryAfter: Number.isNaN(seconds) ? null : seconds }
  try {
    const problem: unknown = JSON.parse(body)
    if (typeof problem === 'object' && problem !== null) {
      const { type, detail } = problem as { type?: unknown; detail?: unknown }
      if (typeof type === 'string' && type.startsWith(PROBLEM)) answer.slug = type.slice(PROBLEM.length)
      if (typeof detail === 'string') answer.detail = detail
    }
  } catch {
    // Not ours: a proxy's page, or nothing at all.
  }
  return answer
}

/** `answer` is null when there was none; `attempt` counts those in a row that brought nothing. */
export function judge(answer: Answer | null, attempt: number): Verdict {
  const pause = PAUSES[Math.min(attempt, PAUSES.length - 1)] ?? 30
  if (answer === null) return { then: 'again', seconds: pause, why: 'The connection was lost.', alone: false }
  const { status, slug, detail } = answer
  const why = detail ?? (status >= 502 ? 'The server cannot be reached.' : `The server answered ${status}.`)
  if (status === 401) return { then: 'key', why: 'This service asks for a key.' }
  if (slug === 'key-rejected') return { then: 'key', why: 'The key was not accepted.' }
  if (slug === 'not-yet-published') return { then: 'assembling' }
  if (status === 413 && slug === null) return { then: 'smaller' }
  if (OVER.has(status) && (slug === null || GONE.has(slug))) return { then: 'over', why }
  const passes = status === 409 || status === 423 || status === 429 || status >= 500
  if (passes && !(slug !== null && FINAL.has(slug))) {
    return { then: 'again', seconds: Math.max(pause, answer.retryAfter ?? 0), why, alone: ALONE.has(status) }
  }
  return { then: 'stop', why }
}
