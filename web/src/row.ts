/**
 * One upload as a person sees it: its name, how far it is, one sentence, and what can be done now.
 *
 * Rules: a row is made once and changed in place, so that a button keeps the focus while its meaning moves on; names
 * are text and never markup; every button says to a screen reader which file it is for.
 */

import type { Transfer } from './transfer'
import { bytesInWords, percent, stateInWords } from './words'
import { secondsLeft } from './pace'

export interface Deeds {
  reopen: (transfer: Transfer) => void
  enterKey: () => void
  copyLink: (transfer: Transfer, button: HTMLButtonElement) => void
  /** whether a browser gets the file by its bare address */
  linkIsOpen: boolean
  /** how long the link works, in words */
  linked: string
}

interface Deed {
  label: string
  act: (button: HTMLButtonElement) => void
}

export class Row {
  readonly element = make('li', 'row')
  private readonly bar = document.createElement('progress')
  private readonly words = make('p', 'state')
  private readonly main = make('button', '')
  private readonly second = make('button', '')
  private readonly link = make('a', 'button')
  private act: Deed | null = null
  private actSecond: Deed | null = null

  constructor(
    private readonly transfer: Transfer,
    private readonly deeds: Deeds,
  ) {
    const { path, name, size } = transfer
    const head = make('div', 'head')
    const title = make('p', 'name')
    title.append(text('bdi', 'folder', path.slice(0, path.length - name.length)), text('bdi', '', name))
    head.append(title, text('p', 'size', bytesInWords(size)))
    this.bar.max = 100
    this.bar.setAttribute('aria-label', `Progress of ${path}`)
    const actions = make('div', 'actions')
    for (const button of [this.main, this.second]) button.type = 'button'
    this.main.onclick = () => this.act?.act(this.main)
    this.second.onclick = () => this.actSecond?.act(this.second)
    this.link.setAttribute('download', '')
    actions.append(this.link, this.main, this.second)
    this.element.append(head, this.bar, this.words, actions)
    this.update()
  }

  update(): void {
    const { transfer } = this
    const { state, size, sent } = transfer
    const speed = state.is === 'sending' ? transfer.pace.speed(performance.now()) : null
    const left = secondsLeft(size - sent, speed)
    const words = stateInWords(state, { size, sent, speed, left, asking: transfer.asking, now: Date.now() })
    set(this.words, state.is === 'done' ? `${words}${this.deeds.linked}` : words)
    this.element.dataset['state'] = state.is
    const part = state.is === 'assembling' ? (state.assembled ?? size) : sent
    this.bar.hidden = state.is === 'done' || (state.is === 'failed' && sent === 0)
    this.bar.value = state.is === 'done' ? 100 : percent(part, size)
    const [first = null, second = null] = this.possible()
    this.act = first
    this.actSecond = second
    label(this.main, first, transfer.path)
    label(this.second, second, transfer.path)
    this.link.hidden = state.is !== 'done' || !this.deeds.linkIsOpen
    if (!this.link.hidden && transfer.url !== null) {
      this.link.href = transfer.url
      label(this.link, { label: 'Download' }, transfer.path)
    }
  }

  private possible(): Deed[] {
    const { transfer, deeds } = this
    const cancel: Deed = { label: 'Cancel', act: () => void transfer.cancel() }
    const again: Deed = { label: 'Try again', act: () => transfer.resume() }
    switch (transfer.state.is) {
      case 'waiting':
      case 'sending':
        return [{ label: 'Pause', act: () => transfer.pause() }, cancel]
      case 'again':
        return [again, cancel]
      case 'paused':
        return [{ label: 'Resume', act: () => transfer.resume() }, cancel]
      case 'locked':
        return [{ label: 'Enter the key', act: () => deeds.enterKey() }, cancel]
      case 'interrupted': {
        const name = transfer.handle === null ? 'Choose it again' : 'Continue'
        return [{ label: name, act: () => deeds.reopen(transfer) }, cancel]
      }
      case 'failed':
        return [
          transfer.state.over ? { label: 'Start over', act: () => transfer.startOver() } : again,
          { ...cancel, label: 'Remove' },
        ]
      case 'assembling':
        return []
      case 'done':
        return [
          { label: 'Copy link', act: (button) => deeds.copyLink(transfer, button) },
          { label: 'Remove', act: () => transfer.forget() },
        ]
      case 'dropped':
        return []
    }
  }
}

function label(element: HTMLElement, deed: { label: string } | null, path: string): void {
  element.hidden = deed === null
  if (deed === null) return
  // "Copied" is said by whoever has copied, for a while.
  if (element.dataset['label'] === deed.label) return
  element.dataset['label'] = deed.label
  element.textContent = deed.label
  element.setAttribute('aria-label', `${deed.label}: ${path}`)
}

export function make<K extends keyof HTMLElementTagNameMap>(name: K, className: string): HTMLElementTagNameMap[K] {
  const element = document.createElement(name)
  if (className !== '') element.className = className
  return element
}

function text(name: 'p' | 'bdi', className: string, content: string): HTMLElement {
  const element = make(name, className)
  element.textContent = content
  return element
}

export function set(element: HTMLElement, words: string): void {
  if (element.textContent !== words) element.textContent = words
}
