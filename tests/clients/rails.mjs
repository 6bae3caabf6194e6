// `@rails/actioncable` under Node: node rails.mjs URL

import { adapters, ConnectionMonitor, createConsumer, logger } from '@rails/actioncable'
import WebSocket from 'ws'

import { obey, report } from './lines.mjs'

// What a browser has.
globalThis.addEventListener ??= () => {}
globalThis.removeEventListener ??= () => {}
adapters.WebSocket = WebSocket
logger.enabled = false

// By default a Rails client is offline for 6 to 18 seconds after every drop; the server pings often enough for this.
ConnectionMonitor.staleThreshold = 0.4
ConnectionMonitor.reconnectionBackoffRate = 0

const consumer = createConsumer(process.argv[2])
const subscriptions = {}

obey({
  connect: () => consumer.connect(),
  subscribe: ({ name, channel, ...params }) => {
    subscriptions[name] = consumer.subscriptions.create(
      { channel, ...params },
      {
        connected: details => report('connected', { name, ...details }),
        disconnected: details => report('disconnected', { name, ...details }),
        rejected: () => report('rejected', { name }),
        received: message => report('received', { name, message })
      }
    )
  },
  perform: ({ name, action, data }) => subscriptions[name].perform(action, data),
  unsubscribe: ({ name }) => subscriptions[name].unsubscribe()
})
