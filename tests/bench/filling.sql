-- Fills a migrated SQLite database as months of single updates would have: rows in the order of their arrival, ids scattered.
-- The table temp.size says how many `calls` and `trackers`. Bodies are empty, as after pruning; all else is as the service writes.

CREATE TEMP TABLE tracker AS
WITH RECURSIVE
  number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number, temp.size WHERE n < trackers),
  drawn (n, a) AS MATERIALIZED (SELECT n, lower(hex(randomblob(16))) FROM number)
SELECT
  substr(a, 1, 8) || '-' || substr(a, 9, 4) || '-4' || substr(a, 13, 3) || '-8' || substr(a, 16, 3) || '-' || substr(a, 19, 12) AS id,
  printf('S24DEMO%09d', abs(random() % 1000000000)) AS tracking_number
FROM drawn ORDER BY n;

CREATE TEMP TABLE call AS
WITH RECURSIVE
  number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number, temp.size WHERE n < calls),
  drawn (n, tracker, at, a, b, c) AS MATERIALIZED (
    SELECT
      n, 1 + abs(random() % trackers), (strftime('%s', 'now') - 60 * 86400) * 1000000 + n * (60 * 86400 * 1000000 / calls),
      lower(hex(randomblob(16))), lower(hex(randomblob(16))), lower(hex(randomblob(16)))
    FROM number, temp.size
  )
SELECT
  n, tracker, at,
  substr(a, 1, 8) || '-' || substr(a, 9, 4) || '-4' || substr(a, 13, 3) || '-8' || substr(a, 16, 3) || '-' || substr(a, 19, 12)
    AS message_id,
  substr(b, 1, 8) || '-' || substr(b, 9, 4) || '-4' || substr(b, 13, 3) || '-8' || substr(b, 16, 3) || '-' || substr(b, 19, 12)
    AS event_id,
  printf('%08x-%04x-7', at / 1000 >> 16, at / 1000 & 65535)
    || substr(c, 1, 3) || '-8' || substr(c, 4, 3) || '-' || substr(c, 7, 12) AS delivery_id,
  c AS digest,
  strftime('%Y-%m-%dT%H:%M:%S', at / 1000000, 'unixepoch') AS occurrence,
  row_number() OVER (PARTITION BY tracker ORDER BY n) AS position
FROM drawn ORDER BY n;

INSERT INTO messages (source, message_id, tracker_id, topic, outcome, delivery_id, position, digest, received_at)
SELECT 'ship24', message_id, id, 'tracking/events', 'applied', delivery_id, 0, digest, at
FROM call CROSS JOIN tracker ON tracker.rowid = call.tracker;

INSERT INTO events (
  source, tracker_id, event_id, message_id, occurrence, basis, "order", status, status_code, status_category, status_milestone,
  location, courier_code, outcome, digest, received_at
)
SELECT
  'ship24', id, event_id, message_id, occurrence, 'courier', position, 'In transit to the delivery office', 'transit_handover',
  'transit', 'in_transit', 'Paris, FR', 'fr-post', 'applied', digest, at
FROM call CROSS JOIN tracker ON tracker.rowid = call.tracker;

INSERT INTO deliveries (
  id, source, kind, method, path, received_at, decided_at, peer, client, token, status, outcome, body_bytes,
  received, applied, stale, duplicate, recorded, quarantined
)
SELECT
  delivery_id, 'ship24', 'tracking', 'POST', '/webhooks/ship24', at, at + 5000, '127.0.0.1', '127.0.0.1', 'token-1', 200, 'accepted',
  1250, 1, 1, 0, 0, 0, 0
FROM call;

INSERT INTO bodies (delivery_id, headers, body, answer)
SELECT delivery_id, '[]', x'', CAST('{"received":1,"applied":1,"stale":0,"duplicate":0,"recorded":0,"quarantined":0}' AS BLOB)
FROM call;

CREATE TEMP TABLE latest AS
SELECT tracker, max(position) AS position, at, occurrence, event_id, message_id, digest FROM call GROUP BY tracker;

INSERT INTO trackers (
  source, tracker_id, version, subject, tracking_number, shipment, snapshot_generated_at, snapshot_message_id, created_at,
  status, status_code, status_category, status_milestone, location,
  latest_occurrence, latest_order, latest_event_id, latest_message_id, latest_digest, applied_at, moved_at
)
SELECT
  'ship24', id, position, 'parcel', tracking_number,
  json_object(
    'shipmentId', id, 'statusCode', 'transit_handover', 'statusCategory', 'transit', 'statusMilestone', 'in_transit',
    'originCountryCode', 'DE', 'destinationCountryCode', 'FR', 'trackingNumbers', json_array(json_object('tn', tracking_number)),
    'delivery', json_object('estimatedDeliveryDate', NULL, 'service', NULL, 'signedBy', NULL), 'recipient', NULL
  ),
  at, message_id, at, 'In transit to the delivery office', 'transit_handover', 'transit', 'in_transit', 'Paris, FR',
  occurrence, position, event_id, message_id, digest, at, at
FROM latest CROSS JOIN tracker ON tracker.rowid = latest.tracker ORDER BY random();

INSERT INTO terms (term, source, tracker_id)
SELECT id, 'ship24', id FROM tracker UNION ALL SELECT lower(tracking_number), 'ship24', id FROM tracker;
