/** The page: what people do becomes calls on the uploads, what the uploads do becomes rows and words. */

import { Memory } from './memory'
import { News } from './news'
import { secondsLeft } from './pace'
import { fromDrop, fromHandles, fromInput, type Picked } from './picking'
import { Row, set } from './row'
import { Service } from './service'
import type { Transfer } from './transfer'
import { Uploads } from './uploads'
import { bytesInWords, count, durationInWords, paceInWords, percent } from './words'

interface Pickers {
  showOpenFilePicker?: (options: { multiple: boolean }) => Promise<FileSystemFileHandle[]>
}

const DRAW_MS = 100
const COPIED_MS = 2000

const service = new Service()
const uploads = new Uploads(service, new Memory(`storage-proxy ${location.pathname}`), heard)
const rows = new Map<Transfer, Row>()
const stale = new Set<Transfer>()
const states = new Map<Transfer, string>()
const title = document.title

const dropArea = get('drop')
const files = get<HTMLInputElement>('files')
const folder = get<HTMLInputElement>('folder')
const volume = get<HTMLSelectElement>('volume')
const keyDialog = get<HTMLDialogElement>('key-dialog')
const keyField = get<HTMLInputElement>('key')
const list = get('rows')
const news = new News((words) => (get('news').textContent = words))

const deeds = {
  reopen: (transfer: Transfer) => void reopen(transfer),
  enterKey: () => askForKey('This service asks for a key.'),
  copyLink: (transfer: Transfer, button: HTMLButtonElement) => void copyLink(transfer, button),
  linkIsOpen: !service.facts.needsKey,
  linked: linkInWords(),
}

function linkInWords(): string {
  const { linkedSeconds, needsKey } = service.facts
  const span = linkedSeconds === null ? '' : ` · the link works for ${durationInWords(linkedSeconds)}`
  return needsKey ? `${span}, with the key` : span
}

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- index.html is ours, and says which it is
function get<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T
}

// ---- from the uploads to the page -----------------------------------------------------------------------------------

let drawing: ReturnType<typeof setTimeout> | undefined

function heard(transfer: Transfer): void {
  const { state } = transfer
  // Only one that takes long enough to be counted is told of.
  const known = state.is === 'assembling' && state.assembled === null ? 'sending' : state.is
  if (states.get(transfer) !== known) {
    states.set(transfer, known)
    if (known === state.is) news.became(state, transfer.name)
    if (state.is === 'locked') askForKey(state.why)
  }
  stale.add(transfer)
  drawing ??= setTimeout(draw, DRAW_MS)
}

function draw(): void {
  drawing = undefined
  for (const transfer of stale) {
    const row = rows.get(transfer)
    if (transfer.state.is === 'dropped') remove(transfer, row)
    else if (row !== undefined) row.update()
    else add(transfer)
  }
  stale.clear()
  summarise()
  // Speeds fall and countdowns run although nothing is heard.
  const moving = uploads.all.filter((transfer) => transfer.busy)
  if (moving.length === 0) return
  drawing = setTimeout(() => {
    for (const transfer of moving) stale.add(transfer)
    draw()
  }, 500)
}

function add(transfer: Transfer): void {
  const row = new Row(transfer, deeds)
  rows.set(transfer, row)
  list.append(row.element)
}

function remove(transfer: Transfer, row: Row | undefined): void {
  states.delete(transfer)
  rows.delete(transfer)
  if (row === undefined) return
  const focused = row.element.contains(document.activeElement)
  const next = row.element.nextElementSibling ?? row.element.previousElementSibling
  row.element.remove()
  if (!focused) return
  // The focus goes where the next thing can be done, not to the top of the page.
  const button = next?.querySelector<HTMLElement>('button:not([hidden])') ?? get('choose-files')
  button.focus()
}

function summarise(): void {
  const now = performance.now()
  const totals = uploads.totals(now)
  const { size, sent, speed, sending, done } = totals
  get('uploads').hidden = totals.files === 0
  dropArea.classList.toggle('small', totals.files > 0)
  const all = done === totals.files
  set(get('summary'), all ? `${count(done, 'file')} uploaded` : `${done} of ${count(totals.files, 'file')} uploaded`)
  const pace = sending > 0 ? paceInWords({ speed, left: secondsLeft(size - sent, speed) }) : []
  set(get('summary-pace'), [`${bytesInWords(sent)} of ${bytesInWords(size)}`, ...pace].join(' · '))
  get('pause-all').hidden = !totals.running || totals.files < 2
  get('resume-all').hidden = !totals.resting || totals.files < 2
  get('clear').hidden = done === 0 || totals.files < 2
  document.title = sending > 0 ? `${percent(sent, size)} % – ${title}` : title
  news.progressed(sent, size, now)
  stayAwake(sending > 0)
}

/** A phone that goes to sleep stops uploading. */
let awake: Promise<WakeLockSentinel | null> | null = null

function stayAwake(wanted: boolean): void {
  const locks = (navigator as { wakeLock?: WakeLock }).wakeLock
  if (wanted === (awake !== null) || locks === undefined) return
  if (wanted) {
    awake = locks.request('screen').catch(() => null)
  } else {
    void awake?.then((lock) => lock?.release())
    awake = null
  }
}

// ---- from people to the uploads -------------------------------------------------------------------------------------

async function take(picked: Picked[]): Promise<void> {
  // Folders come in no order that means anything.
  picked.sort((a, b) => a.path.localeCompare(b.path, 'en', { numeric: true }))
  const { begun, goingOn, known } = await uploads.add(picked, volume.value)
  if (begun > 0) news.say(`${count(begun, 'file')} added.`)
  if (goingOn > 0) news.say(`${count(goingOn, 'file')} going on.`)
  if (known > 0) news.say(`${count(known, 'file')} already on the list.`)
}

async function choose(): Promise<void> {
  const { showOpenFilePicker } = window as Pickers
  if (showOpenFilePicker === undefined) return files.click()
  try {
    // Unlike an input's, these files can be read again after a reload.
    await take(await fromHandles(await showOpenFilePicker.call(window, { multiple: true })))
  } catch (error) {
    if (!(error instanceof DOMException && error.name === 'AbortError')) files.click()
  }
}

async function reopen(transfer: Transfer): Promise<void> {
  if (await uploads.reopen(transfer, true)) return
  // The dialog below may be refused by a browser that was asked long ago; then the row has a button for it.
  transfer.handle = null
  heard(transfer)
  const inFolder = transfer.path !== transfer.name
  news.say(inFolder ? 'Choose the folder again.' : 'Choose the file again.')
  if (inFolder) folder.click()
  else files.click()
}

async function copyLink(transfer: Transfer, button: HTMLButtonElement): Promise<void> {
  if (transfer.url === null) return
  const copied = await copy(transfer.url)
  button.focus()
  news.say(copied ? 'Link copied.' : 'The link could not be copied.')
  button.textContent = copied ? 'Copied' : 'Not copied'
  setTimeout(() => (button.textContent = 'Copy link'), COPIED_MS)
}

async function copy(words: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(words)
    return true
  } catch {
    // Not on https, or not allowed: the old way.
    const field = document.createElement('textarea')
    field.value = words
    field.className = 'unseen'
    document.body.append(field)
    field.select()
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- there is no other way without https
    const copied = document.execCommand('copy')
    field.remove()
    return copied
  }
}

function askForKey(why: string): void {
  if (keyDialog.open) return
  service.key = null
  get('key-why').textContent = why
  keyField.value = ''
  keyDialog.showModal()
}

function takeKey(event: SubmitEvent): void {
  event.preventDefault()
  service.key = keyField.value.trim()
  keyDialog.close()
  uploads.nudge('locked')
}

function prepare(): void {
  set(get('host'), `to ${location.host}`)
  get('choose-files').onclick = () => void choose()
  get('choose-folder').onclick = () => folder.click()
  // Phones have no folders to choose from, and say so.
  get('choose-folder').hidden = !('webkitdirectory' in folder) || matchMedia('(pointer: coarse)').matches
  for (const input of [files, folder]) {
    input.onchange = () => {
      void take(fromInput(input.files ?? []))
      input.value = ''
    }
  }
  get('pause-all').onclick = () => uploads.pauseAll()
  get('resume-all').onclick = () => uploads.resumeAll()
  get('clear').onclick = () => {
    uploads.clearDone()
    get('choose-files').focus()
  }
  get('key-form').onsubmit = takeKey
  get('key-later').onclick = () => keyDialog.close()
  const { volumes } = service.facts
  volume.append(...volumes.map((name) => new Option(name, volumes.length > 1 ? name : '')))
  get('volume-field').hidden = volumes.length < 2
}

function listen(): void {
  // Anywhere on the page: who misses the frame by a hair must not get the file opened instead.
  document.ondragover = (event) => {
    event.preventDefault()
    dropArea.classList.add('over')
  }
  document.ondragleave = (event) => {
    if (event.relatedTarget === null) dropArea.classList.remove('over')
  }
  document.ondrop = (event) => {
    event.preventDefault()
    dropArea.classList.remove('over')
    if (event.dataTransfer !== null) void fromDrop(event.dataTransfer).then(take)
  }
  window.ononline = () => uploads.nudge('again')
  window.onbeforeunload = (event) => {
    if (uploads.all.some((transfer) => transfer.busy)) event.preventDefault()
  }
}

prepare()
listen()
