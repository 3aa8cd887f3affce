/**
 * The service behind this page: what it has said of itself in the page's head, and how it is asked.
 *
 * Rules: every address is relative to the page, so that a prefix needs no setting. The key lives as long as the tab
 * does, and goes nowhere but into Authorization.
 */

import { readAnswer, type Answer } from './answers'

export interface Facts {
  /** where an upload may go, the usual one first */
  volumes: string[]
  needsKey: boolean
  /** how long the link of a finished file works */
  linkedSeconds: number | null
}

export function parseFacts(text: string): Facts {
  // Empty when Vite serves the page by itself.
  const told = (text === '' ? {} : JSON.parse(text)) as Partial<Facts>
  return {
    volumes: told.volumes ?? [],
    needsKey: told.needsKey ?? false,
    linkedSeconds: told.linkedSeconds ?? null,
  }
}

export interface Status {
  phase: string
  committed: number
  assembled: number
  reason: string | null
}

const KEY = 'storage-proxy-key'
const TUS = { 'Tus-Resumable': '1.0.0' }

export class Service {
  readonly endpoint = new URL('files', document.baseURI).href
  readonly facts = parseFacts(document.querySelector<HTMLMetaElement>('meta[name=service]')?.content ?? '')

  get key(): string | null {
    return sessionStorage.getItem(KEY)
  }

  set key(key: string | null) {
    if (key === null) sessionStorage.removeItem(KEY)
    else sessionStorage.setItem(KEY, key)
  }

  get lacksKey(): boolean {
    return this.facts.needsKey && this.key === null
  }

  /** Headers of every request. */
  get headers(): Record<string, string> {
    return this.key === null ? {} : { Authorization: `Bearer ${this.key}` }
  }

  /** How an upload stands; the answer when it is a refusal, null when there is none. */
  async status(url: string): Promise<Status | Answer | null> {
    const got = await this.ask('GET', `${url}/status`)
    if (got === null || got.answer.status !== 200) return got?.answer ?? null
    const told = JSON.parse(got.body) as Record<string, unknown>
    return {
      phase: String(told['phase']),
      committed: Number(told['committed_offset']),
      assembled: Number(told['assembled_offset']),
      reason: typeof told['reason'] === 'string' ? told['reason'] : null,
    }
  }

  async terminate(url: string): Promise<Answer | null> {
    return (await this.ask('DELETE', url))?.answer ?? null
  }

  private async ask(method: string, url: string): Promise<{ answer: Answer; body: string } | null> {
    try {
      const response = await fetch(url, { method, headers: { ...TUS, ...this.headers }, cache: 'no-store' })
      const body = await response.text()
      return { answer: readAnswer(response.status, response.headers.get('Retry-After'), body), body }
    } catch {
      return null
    }
  }
}

export function isStatus(told: Status | Answer): told is Status {
  return 'phase' in told
}
