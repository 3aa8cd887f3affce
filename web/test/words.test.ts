import { expect, it } from 'vitest'
import { sentence } from '../src/news'
import { bytesInWords, count, durationInWords, percent, stateInWords } from '../src/words'

it.each([
  [0, '0 bytes'],
  [1, '1 byte'],
  [999, '999 bytes'],
  [1000, '1.0 kB'],
  [9949, '9.9 kB'],
  [9950, '10 kB'],
  [999_499, '999 kB'],
  [999_500, '1.0 MB'],
  [1_234_567_890, '1.2 GB'],
  [5e18, '5000 PB'],
])('%i is %s', (bytes, words) => {
  expect(bytesInWords(bytes)).toBe(words)
})

it.each([
  [0.2, '5 seconds'],
  [43, '45 seconds'],
  [51, '1 minute'],
  [61, '2 minutes'],
  [3600, '1 hour'],
  [5400, '1 hour 30 min'],
  [86_400, '1 day'],
  [200_000, '2 days'],
])('%f s are %s', (seconds, words) => {
  expect(durationInWords(seconds)).toBe(words)
})

it('does not say 100 % before all is done', () => {
  expect(percent(999, 1000)).toBe(99)
  expect(percent(1000, 1000)).toBe(99)
  expect(percent(0, 0)).toBe(0)
})

it('counts in words', () => {
  expect(count(1, 'file')).toBe('1 file')
  expect(count(1200, 'file')).toBe('1,200 files')
  expect(sentence('finished', ['a.txt'])).toBe('a.txt finished.')
  expect(sentence('is being assembled', ['a', 'b'])).toBe('2 files are being assembled.')
  expect(sentence('Link copied.', [])).toBe('Link copied.')
})

it('puts every state into a sentence', () => {
  const progress = { size: 2000, sent: 500, speed: 100, left: 15, asking: false, now: 1000 }
  expect(stateInWords({ is: 'sending' }, progress)).toBe('25 % of 2.0 kB · 100 bytes/s · 15 seconds left')
  // What had left for a server that died does not count: the number is old until it has said.
  expect(stateInWords({ is: 'sending' }, { ...progress, asking: true })).toBe('Asking how much has arrived')
  expect(stateInWords({ is: 'paused' }, progress)).toBe('Paused at 25 %')
  expect(stateInWords({ is: 'again', at: 3500, why: 'Lost.', alone: false }, progress)).toBe('Lost. Trying again in 3 seconds.')
  expect(stateInWords({ is: 'again', at: 900, why: 'Lost.', alone: false }, progress)).toBe('Lost. Trying again.')
  expect(stateInWords({ is: 'assembling', assembled: 1000 }, progress)).toContain('assembling the file: 50 %')
  expect(stateInWords({ is: 'done' }, progress)).toBe('Done')
})
