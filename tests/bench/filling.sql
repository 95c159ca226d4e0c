-- Fills a migrated SQLite database as months of single updates would have: rows in the order of their arrival, ids scattered.
-- The table temp.size says how many `calls` and `trackers`. All is as the service writes it: most messages applied, some stale,
-- repeated, recorded or quarantined, some calls refused. Ids are text here; `filling` packs those that it inserts. The bytes of the older half are pruned, as where 30 of 60 days are kept.
-- One call in ten is the first of a new tracker; the others are of any tracker that was new in the three weeks before.

CREATE TEMP TABLE tracker AS
WITH RECURSIVE
  number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number, temp.size WHERE n < trackers),
  drawn (n, a, m) AS MATERIALIZED (SELECT n, lower(hex(randomblob(16))), abs(random() % 100) FROM number)
SELECT
  iif(n % 500 = 0, 'shiipp', 'ship24') AS source,
  substr(a, 1, 8) || '-' || substr(a, 9, 4) || '-4' || substr(a, 13, 3) || '-8' || substr(a, 16, 3) || '-' || substr(a, 19, 12) AS id,
  printf('S24DEMO%09d', abs(random() % 1000000000)) AS tracking_number,
  iif(n % 500 = 0, 'USER-' || (n / 500 % 50), NULL) AS client_tracker_id,
  CASE
    WHEN n % 20000 = 7 THEN 'customs_hold'
    WHEN n % 500 = 0 THEN 'received_at_warehouse'
    WHEN m < 55 THEN 'delivered' WHEN m < 75 THEN 'in_transit' WHEN m < 85 THEN 'out_for_delivery' WHEN m < 90 THEN 'info_received'
    WHEN m < 94 THEN 'exception' WHEN m < 96 THEN 'available_for_pickup' WHEN m < 98 THEN 'failed_attempt'
  END AS milestone
FROM drawn ORDER BY n;

CREATE TEMP TABLE call AS
WITH RECURSIVE
  number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number, temp.size WHERE n < calls),
  drawn (n, is_first, tracker, at, a, b, c, d) AS MATERIALIZED (
    SELECT
      n, n % 10 = 1,
      min((n + 9) / 10, trackers) - iif(n % 10 = 1, 0, abs(random() % min((n + 9) / 10, trackers, max(1, trackers * 21 / 60)))),
      (strftime('%s', 'now') - 60 * 86400) * 1000000 + n * (60 * 86400 * 1000000 / calls),
      lower(hex(randomblob(16))), lower(hex(randomblob(16))), lower(hex(randomblob(16))), abs(random() % 100)
    FROM number, temp.size
  ),
  decided AS (
    SELECT
      n, tracker, at,
      substr(a, 1, 8) || '-' || substr(a, 9, 4) || '-4' || substr(a, 13, 3) || '-8' || substr(a, 16, 3) || '-' || substr(a, 19, 12)
        AS message_id,
      substr(b, 1, 8) || '-' || substr(b, 9, 4) || '-4' || substr(b, 13, 3) || '-8' || substr(b, 16, 3) || '-' || substr(b, 19, 12)
        AS event_id,
      printf('%08x-%04x-7', at / 1000 >> 16, at / 1000 & 65535)
        || substr(c, 1, 3) || '-8' || substr(c, 4, 3) || '-' || substr(c, 7, 12) AS delivery_id,
      c AS digest,
      strftime('%Y-%m-%dT%H:%M:%S', at / 1000000 - iif(NOT is_first AND d BETWEEN 90 AND 95, 70 * 86400, 0), 'unixepoch')
        AS occurrence,
      CASE
        WHEN is_first OR d < 90 THEN 'applied' WHEN d < 96 THEN 'stale' WHEN d < 99 THEN 'recorded' ELSE 'quarantined'
      END AS outcome,
      iif(n % 50000 = 11, '198.51.100.7', '203.0.113.' || (d % 16)) AS client
    FROM drawn, temp.size
  )
SELECT
  *, row_number() OVER history AS position, sum(outcome = 'applied') OVER history AS moves,
  substr(max(iif(outcome = 'applied', printf('%010d', n) || event_id, NULL)) OVER (
    history ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
  ), 11) AS against
FROM decided WINDOW history AS (PARTITION BY tracker ORDER BY n) ORDER BY n;

-- What was sent, as `updates.lua` sends it; but for a milestone, a reference and the order it has always the same length.

CREATE TEMP VIEW sent AS
SELECT
  n, source, message_id, delivery_id, at, outcome,
  1275 + 2 * length(coalesce(milestone, 'il')) + length(coalesce(client_tracker_id, 'il')) + length(position) AS body_bytes,
  '{"trackings":[{"metadata":{"generatedAt":"' || strftime('%Y-%m-%dT%H:%M:%S', at / 1000000, 'unixepoch') || '.000000Z","messageId":"'
    || message_id || '","topic":"tracking/events"},"tracker":{"trackerId":"' || id || '","trackingNumber":"' || tracking_number
    || '","shipmentReference":null,"clientTrackerId":' || coalesce('"' || client_tracker_id || '"', 'null')
    || ',"isSubscribed":true,"createdAt":"2026-01-05T09:30:00.000Z"},"shipment":{"shipmentId":"' || id
    || '","statusCode":"transit_handover","statusCategory":"transit","statusMilestone":' || coalesce('"' || milestone || '"', 'null')
    || ',"originCountryCode":"DE","destinationCountryCode":"FR","delivery":{"estimatedDeliveryDate":null,"service":null,'
    || '"signedBy":null},"trackingNumbers":[{"tn":"' || tracking_number || '"}],"recipient":null},"events":[{"eventId":"' || event_id
    || '","trackingNumber":"' || tracking_number || '","eventTrackingNumber":"' || tracking_number
    || '","status":"In transit to the delivery office","occurrenceDatetime":"' || occurrence || '","order":' || position
    || ',"datetime":"' || occurrence || '.000Z","hasNoTime":false,"utcOffset":null,"location":"Paris, FR","sourceCode":"fr-post",'
    || '"courierCode":"fr-post","statusCode":"transit_handover","statusCategory":"transit","statusMilestone":'
    || coalesce('"' || milestone || '"', 'null') || '}],"statistics":{"timestamps":{"infoReceivedDatetime":"2026-01-05T10:00:00",'
    || '"inTransitDatetime":null,"deliveredDatetime":null}}}]}' AS body
FROM call CROSS JOIN tracker ON tracker.rowid = call.tracker;

INSERT INTO messages (source, message_id, tracker_id, topic, outcome, reason, delivery_id, position, digest, received_at)
SELECT
  source, message_id, id, 'tracking/events', outcome,
  CASE outcome WHEN 'stale' THEN 'older' WHEN 'quarantined' THEN iif(n % 1000 = 0, 'implausible_future', 'bad_occurrence') END,
  delivery_id, 0, digest, at
FROM call CROSS JOIN tracker ON tracker.rowid = call.tracker;

INSERT INTO events (
  source, tracker_id, event_id, message_id, occurrence, basis, "order", status, status_code, status_category, status_milestone,
  location, courier_code, outcome, reason, against, digest, received_at, change_id, move, old_status, old_status_milestone,
  generated_at, shipment_milestone
)
SELECT
  source, id, event_id, message_id, occurrence, 'courier', position, 'In transit to the delivery office', 'transit_handover',
  'transit', milestone, 'Paris, FR', 'fr-post', outcome, iif(outcome = 'stale', 'older', NULL), against, digest, at,
  iif(outcome = 'applied', substr(delivery_id, 1, 19) || '9' || substr(delivery_id, 21), NULL),
  iif(outcome = 'applied', moves, NULL),
  iif(outcome = 'applied' AND moves > 1, 'In transit to the delivery office', NULL),
  iif(outcome = 'applied' AND moves > 1, milestone, NULL), at, iif(outcome = 'applied', milestone, NULL)
FROM call CROSS JOIN tracker ON tracker.rowid = call.tracker WHERE outcome IN ('applied', 'stale') ORDER BY n;

INSERT INTO quarantine (
  id, delivery_id, position, event_position, source, message_id, tracker_id, reason, detail, raw, received_at
)
SELECT
  substr(delivery_id, 1, 19) || '9' || substr(delivery_id, 21), delivery_id, 0, 0, source, message_id, id,
  iif(n % 1000 = 0, 'implausible_future', 'bad_occurrence'), 'The event''s time is not one of the four forms of a date-time.',
  CAST(json_object('eventId', event_id, 'occurrenceDatetime', 'yesterday', 'status', 'In transit', 'location', 'Paris') AS BLOB), at
FROM call CROSS JOIN tracker ON tracker.rowid = call.tracker WHERE outcome = 'quarantined';

INSERT INTO deliveries (
  id, source, kind, method, path, received_at, decided_at, peer, client, token, status, outcome, body_bytes,
  received, applied, stale, duplicate, recorded, quarantined
)
SELECT
  sent.delivery_id, sent.source, iif(sent.source = 'ship24', 'tracking', 'new-package'), 'POST',
  iif(sent.source = 'ship24', '/webhooks/ship24', '/webhooks/shiipp/new-package'), sent.at, sent.at + 5000, '127.0.0.1', client,
  'token-1', 200, 'accepted', body_bytes, 1, sent.outcome = 'applied', sent.outcome = 'stale', 0, sent.outcome = 'recorded',
  sent.outcome = 'quarantined'
FROM sent CROSS JOIN call ON call.rowid = sent.n;

INSERT INTO bodies (delivery_id, headers, body, answer, content_bytes)
SELECT
  delivery_id, '', packed(source, headers, body, answer), x'', 8 + length(headers) + length(body) + length(answer)
FROM (SELECT
  delivery_id, '[["host","127.0.0.1:8080"],["content-length","' || body_bytes || '"],["content-type","application/json"]]' AS headers,
  CAST(body AS BLOB) AS body,
  CAST('{"delivery_id":"' || delivery_id || '","received":1,"applied":' || (outcome = 'applied') || ',"stale":' || (outcome = 'stale')
    || ',"duplicate":0,"recorded":' || (outcome = 'recorded') || ',"quarantined":' || (outcome = 'quarantined')
    || ',"messages":[{"message_id":"' || message_id || '","outcome":"' || outcome || '"' || CASE outcome
      WHEN 'stale' THEN ',"reason":"older"' WHEN 'quarantined' THEN ',"reason":"bad_occurrence"' ELSE ''
    END || '}]}' AS BLOB) AS answer, source
FROM sent, temp.size WHERE n > calls / 2);

CREATE TEMP TABLE edge AS SELECT min(delivery_id) AS delivery_id FROM call, temp.size WHERE n > calls / 2;

INSERT INTO prunings SELECT 'bodies', NULL, 0, delivery_id FROM edge;

-- Every fiftieth message came twice, and the first one again and again: a sender that does not take our answer.

CREATE TEMP TABLE copy AS
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number, temp.size WHERE n < calls / 100)
SELECT n, at + 30000000 AS at, lower(hex(randomblob(16))) AS c FROM call WHERE n % 50 = 0
UNION ALL
SELECT call.n, later.at + 7000, lower(hex(randomblob(16)))
FROM number CROSS JOIN call ON call.n = 1 CROSS JOIN call AS later ON later.rowid = number.n * 99;

CREATE TEMP TABLE copied AS
SELECT
  copy.n, copy.at,
  printf('%08x-%04x-7', copy.at / 1000 >> 16, copy.at / 1000 & 65535)
    || substr(c, 1, 3) || '-8' || substr(c, 4, 3) || '-' || substr(c, 7, 12) AS delivery_id
FROM copy ORDER BY copy.at;

INSERT INTO sightings (delivery_id, position, source, message_id, outcome, received_at)
SELECT copied.delivery_id, 0, source, message_id, 'duplicate', copied.at FROM copied CROSS JOIN sent ON sent.n = copied.n;

INSERT INTO deliveries (
  id, source, kind, method, path, received_at, decided_at, peer, client, token, status, outcome, body_bytes,
  received, applied, stale, duplicate, recorded, quarantined
)
SELECT
  copied.delivery_id, source, 'tracking', 'POST', '/webhooks/ship24', copied.at, copied.at + 5000, '127.0.0.1', '203.0.113.1',
  'token-1', 200, 'accepted', body_bytes, 1, 0, 0, 1, 0, 0
FROM copied CROSS JOIN sent ON sent.n = copied.n;

INSERT INTO bodies (delivery_id, headers, body, answer, content_bytes)
SELECT
  delivery_id, '', packed(source, headers, body, answer), x'', 8 + length(headers) + length(body) + length(answer)
FROM (SELECT
  copied.delivery_id AS delivery_id, '[["host","127.0.0.1:8080"],["content-length","' || body_bytes || '"],["content-type","application/json"]]' AS headers,
  CAST(body AS BLOB) AS body,
  CAST('{"delivery_id":"' || copied.delivery_id || '","received":1,"applied":0,"stale":0,"duplicate":1,"recorded":0,"quarantined":0,'
    || '"messages":[{"message_id":"' || message_id || '","outcome":"duplicate"}]}' AS BLOB) AS answer, source
FROM edge CROSS JOIN copied CROSS JOIN sent ON sent.n = copied.n WHERE copied.delivery_id >= edge.delivery_id);

-- As many refused calls as are kept one by one, and some that could not be read or stored.

INSERT INTO deliveries (
  id, source, kind, method, path, received_at, decided_at, peer, client, token, status, outcome, code, reason, body_bytes,
  received, applied, stale, duplicate, recorded, quarantined, cause
)
WITH RECURSIVE
  number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number, temp.size WHERE n < min(12000, calls / 20)),
  drawn (n, c, at) AS MATERIALIZED (
    SELECT number.n, lower(hex(randomblob(16))), call.at + 1000
    FROM number, temp.size CROSS JOIN call ON call.rowid = calls - number.n * (calls / min(12000, calls / 20)) + 1
  )
SELECT
  printf('%08x-%04x-7', at / 1000 >> 16, at / 1000 & 65535)
    || substr(c, 1, 3) || '-8' || substr(c, 4, 3) || '-' || substr(c, 7, 12),
  'ship24', 'tracking', 'POST', '/webhooks/ship24', at, at + 5000, '127.0.0.1', '192.0.2.' || (n % 200),
  CASE WHEN n % 500 <> 1 AND n % 12 IN (0, 1) THEN 'token-1' END,
  CASE WHEN n % 500 = 1 THEN 413 WHEN n % 12 = 0 THEN 400 WHEN n % 12 = 1 THEN 503 WHEN n % 3 = 0 THEN 403 ELSE 401 END,
  CASE WHEN n % 500 = 1 THEN 'refused' WHEN n % 12 = 0 THEN 'unreadable' WHEN n % 12 = 1 THEN 'failed' ELSE 'refused' END,
  CASE
    WHEN n % 500 = 1 THEN 'body_too_large' WHEN n % 12 = 0 THEN 'invalid_json' WHEN n % 12 = 1 THEN 'storage_unavailable'
    WHEN n % 3 = 0 THEN 'address_not_allowed' ELSE 'unauthorized'
  END,
  'Expected another call.', 0, 0, 0, 0, 0, 0, 0,
  CASE WHEN n % 500 <> 1 AND n % 12 NOT IN (0, 1) AND n % 3 <> 0 THEN 'unknown_token' END
FROM drawn;

INSERT INTO bodies (delivery_id, headers, body, answer, content_bytes)
SELECT
  delivery_id, '', packed(source, headers, body, answer), x'', 8 + length(headers) + length(body) + length(answer)
FROM (SELECT
  id AS delivery_id, '[["host","127.0.0.1:8080"],["content-type","application/json"]]' AS headers, x'' AS body,
  CAST('{"error":{"code":"' || code || '","message":"Expected another call."},"delivery_id":"' || id || '"}' AS BLOB) AS answer, source
FROM edge CROSS JOIN (SELECT id_text(id) AS id, source, code FROM deliveries WHERE outcome <> 'accepted')
WHERE id >= edge.delivery_id);

CREATE TEMP TABLE latest AS
SELECT tracker, max(position) AS position, moves, at, occurrence, event_id, message_id, digest FROM call
WHERE outcome = 'applied' GROUP BY tracker;

INSERT INTO trackers (
  source, tracker_id, version, subject, tracking_number, client_tracker_id, shipment, snapshot_generated_at, snapshot_message_id,
  created_at, status, status_code, status_category, status_milestone, location,
  latest_occurrence, latest_order, latest_event_id, latest_message_id, latest_digest, applied_at, moved_at, moves,
  shipment_milestone
)
SELECT
  source, id, position, iif(source = 'shiipp', 'package', 'parcel'), tracking_number, client_tracker_id,
  json_object(
    'shipmentId', id, 'statusCode', 'transit_handover', 'statusCategory', 'transit', 'statusMilestone', milestone,
    'originCountryCode', 'DE', 'destinationCountryCode', 'FR', 'trackingNumbers', json_array(json_object('tn', tracking_number)),
    'delivery', json_object('estimatedDeliveryDate', NULL, 'service', NULL, 'signedBy', NULL), 'recipient', NULL
  ),
  at, message_id, at, 'In transit to the delivery office', 'transit_handover', 'transit', milestone, 'Paris, FR',
  occurrence, position, event_id, message_id, digest, at, at, moves,
  CASE WHEN milestone IS NOT NULL AND latest.tracker % 50 = 0 THEN 'delivered' ELSE coalesce(milestone, 'in_transit') END
FROM latest CROSS JOIN tracker ON tracker.rowid = latest.tracker ORDER BY random();

INSERT INTO terms (term, source, tracker_id)
SELECT id, source, id FROM tracker UNION ALL SELECT lower(tracking_number), source, id FROM tracker
UNION ALL SELECT lower(client_tracker_id), source, id FROM tracker WHERE client_tracker_id IS NOT NULL;

-- Packages of a warehouse: all but one in a hundred are in completed manifests, a hundred in each.

CREATE TEMP TABLE package AS
WITH RECURSIVE
  number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number, temp.size WHERE n < min(50000, calls)),
  drawn (n, a) AS MATERIALIZED (SELECT n, lower(hex(randomblob(16))) FROM number)
SELECT
  n,
  substr(a, 1, 8) || '-' || substr(a, 9, 4) || '-4' || substr(a, 13, 3) || '-8' || substr(a, 16, 3) || '-' || substr(a, 19, 12) AS id,
  'manifest:MAN-' || (n / 100) AS manifest, n / 100 % 100 <> 1 AS completed,
  (strftime('%s', 'now') - 60 * 86400) * 1000000 + n * (60 * 86400 * 1000000 / min(50000, calls)) AS at
FROM drawn, temp.size;

INSERT INTO trackers (
  source, tracker_id, version, subject, tracking_number, client_tracker_id, shipment, snapshot_generated_at, snapshot_message_id,
  created_at, status, status_milestone, latest_occurrence, latest_order, latest_event_id, latest_message_id, latest_digest,
  applied_at, moved_at, moves, manifest_completed
)
SELECT
  'shiipp', id, 1, 'package', printf('1Z%016d', n), printf('CODE%03d', n % 50), json_object('weight', 3.5, 'weight_pounds', 3.5), at,
  'package:' || id, at, 'Received', 'received_at_warehouse', strftime('%Y-%m-%dT%H:%M:%S', at / 1000000, 'unixepoch'), at,
  'package:' || id, 'package:' || id, substr(id, 1, 8), at, at, 1, completed
FROM package
UNION ALL
SELECT
  'shiipp', manifest, 1, 'manifest', substr(manifest, 10), NULL, '{}', max(at), manifest, max(at),
  iif(completed, 'Completed', 'Shipped'), iif(completed, 'completed', 'shipped'),
  strftime('%Y-%m-%dT%H:%M:%S', max(at) / 1000000, 'unixepoch'), max(at), manifest, manifest, 'digest', max(at), max(at), 1, 0
FROM package GROUP BY manifest;

INSERT INTO links (source, package, manifest, linked_at) SELECT 'shiipp', id, manifest, at FROM package;

INSERT INTO terms (term, source, tracker_id)
SELECT id, 'shiipp', id FROM package UNION ALL SELECT lower(printf('1Z%016d', n)), 'shiipp', id FROM package
UNION ALL SELECT printf('code%03d', n % 50), 'shiipp', id FROM package
UNION ALL SELECT DISTINCT lower(manifest), 'shiipp', manifest FROM package;

-- As two processes would have counted: hours, and the minutes of the last three days.

CREATE TEMP TABLE span AS SELECT 3600 AS seconds, 0 AS since UNION ALL SELECT 60, (strftime('%s', 'now') - 3 * 86400) * 1000000;

INSERT INTO tallies
SELECT
  seconds, received_at - received_at % (seconds * 1000000), 'writer-' || (received_at % 2), source, outcome, coalesce(code, ''),
  count(*) + 10 * (outcome = 'refused'), 10 * (outcome = 'refused'), sum(received), sum(applied), sum(stale), sum(duplicate),
  sum(recorded), sum(quarantined)
FROM span CROSS JOIN deliveries WHERE received_at >= since GROUP BY 1, 2, 3, 4, 5, 6;

INSERT INTO token_uses SELECT source, token, max(received_at) FROM deliveries WHERE token IS NOT NULL GROUP BY source, token;

-- Changes for two targets, at most 200,000 that wait: `shop` is slow, and `warehouse` refuses the first change of each tracker.

CREATE TEMP TABLE shipped AS
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 40)
SELECT
  iif(n <= 30, 'shop', 'warehouse') AS target, source, id, iif(n <= 30, n, n - 30) AS move, n = 31 AS fails,
  strftime('%s', 'now') * 1000000 - abs(random() % (3 * 86400)) * 1000000 AS at
FROM (SELECT source, id FROM tracker LIMIT 5000) CROSS JOIN number;

INSERT INTO dispatches (target, source, tracker_id, move, event_id, due_at, attempts, error, made_at)
SELECT
  target, source, id, move, 'event-' || move, iif(move = 1, at, 1 << 62), 5 * fails, iif(fails, 'warehouse answered 500.', NULL), at
FROM shipped;

INSERT INTO dead_changes (target, source, tracker_id, move, event_id, died_at, attempts, error)
SELECT target, source, id, move + 30, 'event-' || move, at, 13, 'warehouse answered 500.' FROM shipped WHERE target = 'warehouse';

INSERT INTO delivered_changes (target, source, tracker_id, move, change_id, delivered_at, attempts, status)
SELECT target, source, id, move + 30, lower(hex(randomblob(16))), at, 1, 200 FROM shipped WHERE target = 'shop' AND move <= 10;
