import { describe, expect, it } from 'vitest'
import { judge, readAnswer, type Answer } from '../src/answers'

const ours = (status: number, slug: string, retryAfter: string | null = null): Answer =>
  readAnswer(status, retryAfter, JSON.stringify({ type: `urn:storage-proxy:problem:${slug}`, detail: 'A sentence.' }))

const foreign = (status: number): Answer => readAnswer(status, null, '<html>nginx</html>')

describe('what an answer means', () => {
  it.each([409, 423, 429, 500, 502, 503, 507])('%i passes, whoever says it', (status) => {
    expect(judge(foreign(status), 0).then).toBe('again')
    expect(judge(ours(status, 'share-fault'), 0).then).toBe('again')
  })

  it('is tried again more and more slowly, and never less than each half minute', () => {
    const pauses = [0, 1, 2, 3, 4, 5, 6, 1000].map((attempt) => judge(null, attempt))
    expect(pauses.map((verdict) => verdict.then === 'again' && verdict.seconds)).toEqual([1, 2, 4, 8, 15, 30, 30, 30])
  })

  it('waits as long as the service asks', () => {
    expect(judge(ours(507, 'share-full', '30'), 0)).toMatchObject({ then: 'again', seconds: 30 })
    expect(judge(ours(423, 'upload-busy', '1'), 3)).toMatchObject({ then: 'again', seconds: 8 })
  })

  it.each([
    [500, 'manifest-unreadable'],
    [500, 'manifest-too-new'],
    [500, 'promised-bytes-missing'],
    [409, 'chunk-conflict'],
    [409, 'pieces-exhausted'],
  ])('%i does not pass when it is %s', (status, slug) => {
    expect(judge(ours(status, slug), 0)).toEqual({ then: 'stop', why: 'A sentence.' })
  })

  it('tells trouble of one upload from trouble that everybody has', () => {
    const alone = (answer: Answer | null): unknown => judge(answer, 0)
    expect(alone(ours(409, 'offset-mismatch'))).toMatchObject({ then: 'again', alone: true })
    expect(alone(ours(423, 'upload-busy'))).toMatchObject({ then: 'again', alone: true })
    for (const answer of [null, foreign(502), ours(507, 'share-full'), ours(429, 'too-many')]) {
      expect(alone(answer)).toMatchObject({ then: 'again', alone: false })
    }
  })

  it('tells a refusal in the words of the service', () => {
    expect(judge(ours(403, 'target-not-allowed'), 0)).toEqual({ then: 'stop', why: 'A sentence.' })
    expect(judge(ours(413, 'size-exceeded'), 0)).toEqual({ then: 'stop', why: 'A sentence.' })
    expect(judge(foreign(400), 0)).toEqual({ then: 'stop', why: 'The server answered 400.' })
  })

  it('sends smaller pieces through a proxy that takes no large ones', () => {
    expect(judge(foreign(413), 0).then).toBe('smaller')
  })

  it('asks for a key when one is missing or wrong', () => {
    expect(judge(ours(401, 'key-missing'), 0).then).toBe('key')
    expect(judge(ours(403, 'key-rejected'), 0).then).toBe('key')
  })

  it('knows an upload that is gone, and one that is being assembled', () => {
    expect(judge(ours(410, 'upload-gone'), 0).then).toBe('over')
    expect(judge(ours(404, 'upload-not-found'), 0).then).toBe('over')
    expect(judge(ours(423, 'not-yet-published', '2'), 0).then).toBe('assembling')
  })
})

it('reads nothing into what is not a problem of ours', () => {
  for (const body of ['', 'null', '[]', '{"type":"about:blank"}', '{"type":1,"detail":{}}', '<']) {
    expect(readAnswer(500, 'soon', body)).toEqual({ status: 500, slug: null, detail: null, retryAfter: null })
  }
})
