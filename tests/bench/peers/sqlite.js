// Storage in a SQLite file: better-sqlite3, a write-ahead log, a synced commit. One process writes, so a transaction never waits.

import Database from 'better-sqlite3'
import { MESSAGE, NEW_STATE, TRACKER, messageRow, trackerRow } from './rows.js'

const TABLES = `
  CREATE TABLE IF NOT EXISTS message (
    message_id TEXT PRIMARY KEY, tracker_id TEXT NOT NULL, outcome TEXT NOT NULL, received_at TEXT NOT NULL, payload TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS message_tracker ON message (tracker_id);
  CREATE TABLE IF NOT EXISTS tracker (
    tracker_id TEXT PRIMARY KEY, tracking_number TEXT NOT NULL, status TEXT, status_code TEXT, status_milestone TEXT, location TEXT,
    latest_occurrence TEXT NOT NULL, latest_order INTEGER NOT NULL
  );
  CREATE INDEX IF NOT EXISTS tracker_number ON tracker (tracking_number);
`

const IS_NEWER = `(julianday(excluded.latest_occurrence), excluded.latest_order)
  > (julianday(tracker.latest_occurrence), tracker.latest_order)`

const insert = (table, columns) => `INSERT INTO ${table} (${columns}) VALUES (${columns.map(() => '?')})`

export function openSqlite(url) {
  const database = new Database(url.slice('sqlite:///'.length), { timeout: 30_000 })
  database.pragma('journal_mode = WAL')
  database.pragma('synchronous = FULL')
  database.exec(TABLES)
  const find = database.prepare('SELECT 1 FROM message WHERE message_id = ?')
  const add = database.prepare(insert('message', MESSAGE))
  const move = database.prepare(
    `${insert('tracker', TRACKER)} ON CONFLICT (tracker_id) DO UPDATE SET ${NEW_STATE} WHERE ${IS_NEWER}`,
  )

  function keepOne(item) {
    if (find.get(item.metadata.messageId)) return 'duplicate'
    const moves = item.events.map((event) => move.run(trackerRow(item, event)).changes)
    const outcome = moves.some(Boolean) ? 'applied' : 'stale'
    add.run(messageRow(item, outcome))
    return outcome
  }

  return database.transaction((items) => items.map(keepOne)).immediate
}
