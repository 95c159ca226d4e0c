// The handler that a user would write on Node: Fastify, and a transaction with one commit for each request.
//
// It is as careful as usual_handler.py: the token is compared in constant time, the body is checked against a schema, a message is
// kept once, and a tracker moves only forward. DATABASE_URL chooses the database, of which each has a module.

import { createHash, timingSafeEqual } from 'node:crypto'
import Fastify from 'fastify'
import { openPostgresql } from './postgresql.js'
import { openSqlite } from './sqlite.js'

const text = { type: 'string' }
const textOrNull = { type: ['string', 'null'] }

const event = {
  type: 'object',
  required: ['status', 'statusCode', 'statusMilestone', 'location', 'occurrenceDatetime', 'order'],
  properties: {
    status: textOrNull,
    statusCode: textOrNull,
    statusMilestone: textOrNull,
    location: textOrNull,
    occurrenceDatetime: { type: 'string', format: 'iso-date-time' },
    order: { type: 'integer' },
  },
}

const item = {
  type: 'object',
  required: ['metadata', 'tracker', 'events'],
  properties: {
    metadata: { type: 'object', required: ['messageId'], properties: { messageId: text } },
    tracker: {
      type: 'object',
      required: ['trackerId', 'trackingNumber'],
      properties: { trackerId: text, trackingNumber: text },
    },
    events: { type: 'array', items: event },
  },
}

const body = {
  type: 'object',
  required: ['trackings'],
  properties: { trackings: { type: 'array', items: item } },
}

const url = process.env.DATABASE_URL
const keep = url.startsWith('sqlite:') ? openSqlite(url) : await openPostgresql(url)

const digest = (value) => createHash('sha256').update(value).digest()
const expected = digest(`Bearer ${process.env.TOKEN}`)

async function checkToken(request, reply) {
  if (!timingSafeEqual(digest(request.headers.authorization ?? ''), expected)) {
    return reply.code(401).header('WWW-Authenticate', 'Bearer').send()
  }
}

async function receive(request) {
  const outcomes = await keep(request.body.trackings)
  const count = (wanted) => outcomes.filter((outcome) => outcome === wanted).length
  return { applied: count('applied'), stale: count('stale'), duplicate: count('duplicate') }
}

const app = Fastify({ ajv: { customOptions: { coerceTypes: false } } })
app.post('/webhooks/ship24', { onRequest: checkToken, schema: { body } }, receive)
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
