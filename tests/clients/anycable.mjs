// `@anycable/core` under Node: node anycable.mjs URL SUBPROTOCOL [OPTIONS AS JSON]

import { Channel, createCable } from '@anycable/core'
import msgpack from '@ygoe/msgpack'
import WebSocket from 'ws'

import { obey, report } from './lines.mjs'

// The same library that AnyCable's own encoder is made of.
const encoder = {
  encode: message => msgpack.encode(message),
  decode: data => msgpack.decode(data)
}

const logger = { debug() {}, info() {}, warn: log('warn'), error: log('error') }

function log(level) {
  return (text, details) => report('log', { level, text, details })
}

const [url, protocol, options = '{}'] = process.argv.slice(2)

const cable = createCable(url, {
  protocol,
  encoder: protocol.endsWith('-msgpack') ? encoder : undefined,
  logger,
  websocketImplementation: WebSocket,
  reconnectStrategy: () => 100, // ms; by default up to 9 seconds
  ...JSON.parse(options)
})

cable.on('connect', event => report('cable connected', event))
cable.on('disconnect', event => report('cable disconnected', { reason: event && event.reason }))
cable.on('close', event => report('cable closed', { reason: event && event.reason }))

const channels = {}

obey({
  connect: () => cable.connect().catch(() => {}),
  subscribe: ({ name, channel: identifier, ...params }) => {
    const Named = class extends Channel {}
    Named.identifier = identifier
    const channel = (channels[name] = new Named(params))
    channel.on('connect', event => report('connected', { name, ...event }))
    channel.on('disconnect', event => report('disconnected', { name, reason: event && event.reason }))
    channel.on('close', event => report('rejected', { name, reason: event && event.reason }))
    channel.on('info', event => report('info', { name, ...event }))
    channel.on('message', (message, meta) => report('received', { name, message, meta }))
    cable.subscribe(channel)
  },
  perform: ({ name, action, data }) => channels[name].perform(action, data).catch(() => {}),
  whisper: ({ name, data }) => channels[name].whisper(data),
  presence: ({ name }) =>
    channels[name].presence.info().then(
      info => report('presence', { name, info }),
      error => report('presence failed', { name, text: error.message })
    ),
  unsubscribe: ({ name }) => channels[name].disconnect()
})
