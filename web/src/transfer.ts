/**
 * One file on its way, from being chosen to being at its place.
 *
 *   waiting -> sending -> assembling -> done
 *   sending <-> paused, again (trouble that passes), locked (a key is needed)
 *   failed: only a person can go on; interrupted: known from an earlier visit, and its file is not at hand
 *
 * Rules: tus-js-client makes the requests of one attempt, and every attempt is a new one of its objects, so that what an
 * old one still has to say is heard by nobody. When to try again is decided here: its own rule gives up too early, and
 * its answer to most troubles of a HEAD is to start from byte 0; so it is not told where to create once there is an
 * upload.
 */

import { DetailedError, Upload, type UploadOptions } from 'tus-js-client'
import { judge, readAnswer, type Answer } from './answers'
import { newId, type Memory, type Remembered } from './memory'
import { Pace } from './pace'
import type { Picked } from './picking'
import { isStatus, type Service } from './service'

export type State =
  | { is: 'interrupted' }
  | { is: 'waiting' }
  | { is: 'sending' }
  | { is: 'paused' }
  | { is: 'again'; at: number; why: string; alone: boolean }
  | { is: 'locked'; why: string }
  | { is: 'assembling'; assembled: number | null }
  | { is: 'done' }
  | { is: 'failed'; why: string; over: boolean }
  | { is: 'dropped' }

/** Of one request body; the first one is what the protocol is meant for, the others are for proxies with a limit. */
const PIECES = [Number.POSITIVE_INFINITY, 64e6, 8e6, 900e3]

const QUIET_MS = 800
const WATCH_MS = 1000

const UNREADABLE = 'The file cannot be read any more: it was changed, moved or removed. Choose it again.'
const ELSEWHERE = 'Another tab is uploading this file.'

export class Transfer {
  readonly pace = new Pace()
  state: State
  sent = 0
  url: string | null = null

  private upload: Upload | null = null
  private attempt = 0
  private failures = 0
  private arrived = 0
  private fresh = true
  private piece = 0
  private timer: ReturnType<typeof setTimeout> | undefined
  private release: (() => void) | null = null

  private constructor(
    readonly id: string,
    readonly path: string,
    readonly size: number,
    readonly modified: number,
    readonly volume: string,
    private file: File | null,
    public handle: FileSystemFileHandle | null,
    private readonly service: Service,
    private readonly memory: Memory,
    private readonly changed: (transfer: Transfer) => void,
  ) {
    this.state = file === null ? { is: 'interrupted' } : { is: 'waiting' }
  }

  static of(picked: Picked, volume: string, service: Service, memory: Memory, changed: (t: Transfer) => void): Transfer {
    const { file, path, handle } = picked
    return new Transfer(newId(), path, file.size, file.lastModified, volume, file, handle, service, memory, changed)
  }

  static again(known: Remembered, service: Service, memory: Memory, changed: (t: Transfer) => void): Transfer {
    const { id, path, size, modified, volume, handle } = known
    const transfer = new Transfer(id, path, size, modified, volume, null, handle, service, memory, changed)
    transfer.url = known.url
    return transfer
  }

  get name(): string {
    return this.path.slice(this.path.lastIndexOf('/') + 1)
  }

  get busy(): boolean {
    return this.state.is === 'sending' || this.state.is === 'again'
  }

  /** One that waits for itself alone makes room; while all wait for the service, it is asked by a few only. */
  get takesPlace(): boolean {
    return this.state.is === 'sending' || (this.state.is === 'again' && !this.state.alone)
  }

  /** What was sent before may not have arrived, until the first answer of this attempt. */
  get asking(): boolean {
    return this.state.is === 'sending' && this.fresh && this.sent > 0
  }

  fits(picked: Picked): boolean {
    return picked.path === this.path && picked.file.size === this.size && picked.file.lastModified === this.modified
  }

  // ---- what people do -----------------------------------------------------------------------------------------------

  /** The file of an interrupted upload is at hand again; it may be without a handle, and an older one still good. */
  async attach({ file, handle }: Pick<Picked, 'file' | 'handle'>): Promise<void> {
    if (!(await this.hold())) return this.become({ is: 'failed', why: ELSEWHERE, over: false })
    this.file = file
    this.handle = handle ?? this.handle
    this.resume()
  }

  /** What became of it since the page was left. */
  async recall(): Promise<void> {
    if (this.url === null) return
    const told = await this.service.status(this.url)
    if (told === null || this.state.is !== 'interrupted') return
    if (isStatus(told)) {
      this.sent = told.committed
      if (told.phase === 'published') return this.finished()
      if (told.phase !== 'open') return this.assemble()
      this.changed(this)
    } else if (judge(told, 0).then === 'over') {
      this.forget()
    }
  }

  pause(): void {
    this.stop()
    this.become({ is: 'paused' })
    this.remember()
  }

  /** Queue it (again); `run` is then called when it is its turn. */
  resume(): void {
    this.stop()
    this.failures = 0
    this.become(this.file === null ? { is: 'interrupted' } : { is: 'waiting' })
    this.remember()
  }

  /** The upload on the server is of no use any more. */
  startOver(): void {
    void this.memory.forget(this.id)
    this.url = null
    this.sent = 0
    this.resume()
  }

  async cancel(): Promise<void> {
    this.stop()
    const url = this.url
    this.forget()
    // What cannot be told now is removed by the service itself when it has been idle for long.
    if (url !== null) await this.service.terminate(url)
  }

  /** Take it off the list, and out of the memory. */
  forget(): void {
    this.stop()
    this.letGo()
    this.become({ is: 'dropped' })
  }

  // ---- sending ------------------------------------------------------------------------------------------------------

  run(): void {
    if (this.file === null) return
    this.stop()
    if (this.service.lacksKey) return this.become({ is: 'locked', why: 'This service asks for a key.' })
    this.pace.reset()
    this.fresh = true
    this.become({ is: 'sending' })
    const attempt = this.attempt
    const current = (what: () => void) => () => {
      if (attempt === this.attempt) what()
    }
    this.upload = new Upload(this.file, {
      ...this.options(),
      onUploadUrlAvailable: current(() => this.created()),
      onProgress: (sent) => current(() => this.progressed(sent))(),
      onChunkComplete: (_, accepted) => current(() => this.accepted(accepted))(),
      onSuccess: current(() => this.finished()),
      onError: (error) => current(() => void this.troubled(error, attempt))(),
    })
    this.upload.start()
  }

  private options(): UploadOptions {
    return {
      ...(this.url === null ? { endpoint: this.service.endpoint } : { uploadUrl: this.url }),
      chunkSize: PIECES[this.piece] ?? Number.POSITIVE_INFINITY,
      metadata: {
        filename: this.name,
        ...(this.path === this.name ? {} : { relativePath: this.path }),
        ...(this.file?.type ? { filetype: this.file.type } : {}),
        ...(this.volume === '' ? {} : { volume: this.volume }),
      },
      headers: this.service.headers,
      retryDelays: null,
      storeFingerprintForResuming: false,
    }
  }

  private created(): void {
    if (this.upload === null || this.url !== null) return
    this.url = this.upload.url
    this.upload.options.endpoint = null
    this.remember()
    void this.hold()
  }

  private progressed(sent: number): void {
    // The first one of an attempt tells what the service has; what was handed to the network has not arrived yet.
    if (this.fresh) this.accepted(sent)
    this.fresh = false
    this.sent = sent
    this.pace.note(sent, performance.now())
    this.changed(this)
    clearTimeout(this.timer)
    // All is sent and no answer comes: the file is being assembled, or a proxy still has it.
    if (sent === this.size) this.timer = setTimeout(() => this.assemble(), QUIET_MS)
  }

  private accepted(offset: number): void {
    if (offset > this.arrived) this.failures = 0
    this.arrived = offset
  }

  private async troubled(error: Error, attempt: number): Promise<void> {
    const answer = await this.answerTo(error)
    if (attempt !== this.attempt) return
    if (answer === null && !(await this.readable())) {
      return this.become({ is: 'failed', why: UNREADABLE, over: false })
    }
    if (attempt === this.attempt) this.decide(answer)
  }

  private decide(answer: Answer | null): void {
    const verdict = judge(answer, this.failures)
    this.stop()
    switch (verdict.then) {
      case 'again':
        this.failures += 1
        this.become({ is: 'again', at: Date.now() + verdict.seconds * 1000, why: verdict.why, alone: verdict.alone })
        // Who has made room waits for some again.
        this.timer = setTimeout(
          () => (verdict.alone ? this.become({ is: 'waiting' }) : this.run()),
          verdict.seconds * 1000,
        )
        return
      case 'smaller':
        if (this.piece === PIECES.length - 1) break
        this.piece += 1
        return this.run()
      case 'assembling':
        return this.assemble()
      case 'key':
        return this.become({ is: 'locked', why: verdict.why })
      case 'over':
        return this.become({ is: 'failed', why: verdict.why, over: this.url !== null })
      case 'stop':
        return this.become({ is: 'failed', why: verdict.why, over: false })
    }
    this.become({ is: 'failed', why: 'Something between here and the server refuses even small pieces.', over: false })
  }

  /** What was answered. HEAD has no body to say it in, so the upload's own page is asked for the sentence. */
  private async answerTo(error: Error): Promise<Answer | null> {
    if (!(error instanceof DetailedError) || error.originalResponse === null) return null
    const response = error.originalResponse
    const said = readAnswer(response.getStatus(), response.getHeader('Retry-After') ?? null, response.getBody())
    if (error.originalRequest.getMethod() !== 'HEAD' || this.url === null) return said
    const told = await this.service.status(this.url)
    if (told === null) return null
    return isStatus(told) ? { ...said, slug: told.phase === 'open' ? null : 'not-yet-published' } : told
  }

  private async readable(): Promise<boolean> {
    try {
      await this.file?.slice(0, 1).arrayBuffer()
      return true
    } catch {
      return false
    }
  }

  // ---- after the last byte ------------------------------------------------------------------------------------------

  /** The request may still be waiting for its answer; who hears first of the end is first. */
  private assemble(): void {
    this.become({ is: 'assembling', assembled: null })
    void this.watch(this.attempt)
  }

  private async watch(attempt: number): Promise<void> {
    const told = this.url === null ? null : await this.service.status(this.url)
    if (attempt !== this.attempt || this.state.is !== 'assembling') return
    if (told !== null && isStatus(told)) {
      if (told.phase === 'published') return this.finished()
      if (told.phase === 'failed') return this.become({ is: 'failed', why: told.reason ?? 'It failed.', over: true })
      if (told.phase !== 'open') this.become({ is: 'assembling', assembled: told.assembled })
      // Nobody is sending any more, and not all has arrived.
      else if (this.upload === null) return this.resume()
    } else if (told !== null) {
      const { then } = judge(told, 0)
      if (then !== 'again' && then !== 'assembling') return this.decide(told)
    }
    this.timer = setTimeout(() => void this.watch(attempt), WATCH_MS)
  }

  private finished(): void {
    this.stop()
    this.sent = this.size
    this.letGo()
    this.become({ is: 'done' })
  }

  // ---- underneath ---------------------------------------------------------------------------------------------------

  private stop(): void {
    this.attempt += 1
    clearTimeout(this.timer)
    void this.upload?.abort()
    this.upload = null
  }

  private become(state: State): void {
    this.state = state
    this.changed(this)
  }

  private remember(): void {
    const { id, url, path, size, modified, volume, handle } = this
    if (url === null) return
    void this.memory.keep({ id, url, path, size, modified, volume, handle, paused: this.state.is === 'paused' })
  }

  private async hold(): Promise<boolean> {
    if (this.release !== null) return true
    const released = new Promise<void>((resolve) => (this.release = resolve))
    const held = await this.memory.hold(this.id, released)
    if (!held) this.release = null
    return held
  }

  private letGo(): void {
    void this.memory.forget(this.id)
    this.release?.()
    this.release = null
  }
}
