// Storage in PostgreSQL: pg with a pool of connections and prepared statements. The loser of a race tries again.

import pg from 'pg'
import { MESSAGE, NEW_STATE, TRACKER, messageRow, trackerRow } from './rows.js'

const ATTEMPTS = 5
const RACES = new Set(['23505', '40P01']) // another request inserted the key first; a deadlock

const TABLES = `
  CREATE TABLE IF NOT EXISTS message (
    message_id text PRIMARY KEY, tracker_id text NOT NULL, outcome text NOT NULL, received_at timestamptz NOT NULL,
    payload json NOT NULL
  );
  CREATE INDEX IF NOT EXISTS message_tracker ON message (tracker_id);
  CREATE TABLE IF NOT EXISTS tracker (
    tracker_id text PRIMARY KEY, tracking_number text NOT NULL, status text, status_code text, status_milestone text, location text,
    latest_occurrence text NOT NULL, latest_order integer NOT NULL
  );
  CREATE INDEX IF NOT EXISTS tracker_number ON tracker (tracking_number);
`

const IS_NEWER = `(excluded.latest_occurrence::timestamptz, excluded.latest_order)
  > (tracker.latest_occurrence::timestamptz, tracker.latest_order)`

const insert = (table, columns) => `INSERT INTO ${table} (${columns}) VALUES (${columns.map((_, at) => `$${at + 1}`)})`

const FIND = { name: 'find', text: 'SELECT 1 FROM message WHERE message_id = $1' }
const ADD = { name: 'add', text: insert('message', MESSAGE) }
const MOVE = {
  name: 'move',
  text: `${insert('tracker', TRACKER)} ON CONFLICT (tracker_id) DO UPDATE SET ${NEW_STATE} WHERE ${IS_NEWER}`,
}

async function keepOne(client, item) {
  const known = await client.query({ ...FIND, values: [item.metadata.messageId] })
  if (known.rowCount) return 'duplicate'
  let moved = false
  for (const event of item.events) {
    const { rowCount } = await client.query({ ...MOVE, values: trackerRow(item, event) })
    moved ||= rowCount > 0
  }
  const outcome = moved ? 'applied' : 'stale'
  await client.query({ ...ADD, values: messageRow(item, outcome) })
  return outcome
}

async function keepAll(client, items) {
  await client.query('BEGIN')
  try {
    const outcomes = []
    for (const item of items) outcomes.push(await keepOne(client, item))
    await client.query('COMMIT')
    return outcomes
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  }
}

export async function openPostgresql(url) {
  const pool = new pg.Pool({ connectionString: url, max: 10, options: '-c TimeZone=UTC' })
  pool.on('error', (error) => console.error(error)) // of a connection that nobody uses: the pool opens another one
  await pool.query(TABLES)

  return async function keep(items) {
    for (let attempt = 1; ; attempt++) {
      const client = await pool.connect()
      try {
        return await keepAll(client, items)
      } catch (error) {
        if (!RACES.has(error.code)) throw error
        if (attempt === ATTEMPTS) throw Object.assign(error, { statusCode: 503 })
      } finally {
        client.release()
      }
    }
  }
}
