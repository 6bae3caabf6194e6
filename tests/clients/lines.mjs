// The conversation between a client under test and its test: one JSON object per line, orders in, reports out.

import { createInterface } from 'node:readline'

export function report(event, details = {}) {
  process.stdout.write(JSON.stringify({ event, ...details }) + '\n')
}

// Runs orders (`{"order": "subscribe", ...}`) until standard input ends.
export function obey(orders) {
  const input = createInterface({ input: process.stdin })
  input.on('line', line => {
    const { order, ...details } = JSON.parse(line)
    orders[order](details)
  })
  input.on('close', () => process.exit(0))
  report('ready')
}
