import { expect, it } from 'vitest'
import { Pace, secondsLeft } from '../src/pace'

it('says nothing while it is too early to tell', () => {
  const pace = new Pace()
  expect(pace.speed(0)).toBeNull()
  pace.note(0, 0)
  pace.note(100, 100)
  expect(pace.speed(100)).toBeNull()
  expect(secondsLeft(100, null)).toBeNull()
})

it('does not count what was there when the attempt began', () => {
  const pace = new Pace()
  pace.note(5_000_000, 0)
  pace.note(5_002_000, 1000)
  expect(pace.speed(1000)).toBe(2000)
})

it('forgets old speeds, and falls while nothing comes', () => {
  const pace = new Pace()
  for (let second = 0; second <= 10; second += 1) pace.note(second * 1000, second * 1000)
  for (let second = 11; second <= 30; second += 1) pace.note(10_000 + (second - 10) * 10, second * 1000)
  expect(pace.speed(30_000)).toBeCloseTo(10)
  expect(pace.speed(90_000)).toBeLessThan(2)
})

it('begins anew when the service has less than was sent', () => {
  const pace = new Pace()
  pace.note(9000, 0)
  pace.note(4000, 1000)
  pace.note(6000, 2000)
  expect(pace.speed(2000)).toBe(2000)
  expect(secondsLeft(6000, 2000)).toBe(3)
  expect(secondsLeft(6000, 0)).toBeNull()
})
