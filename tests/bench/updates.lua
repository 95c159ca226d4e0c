-- What wrk sends: Ship24 webhooks, each with `UPDATES` updates of about 1.2 KB, no two alike.
--
-- One update in ten is the first of a new tracker; the others go to any that is known, so that a tracker gets about ten.
-- Each says what happened just now, and `order` grows with each update of a tracker, so all of them are there to be applied.
-- `KNOWN` names a file of trackers that the database has already, one `id number order` a line. Where several threads send, each
-- has its own trackers: it sets `share` and `shares` before `init`.

local updates = tonumber(os.getenv("UPDATES") or "1")
local known = os.getenv("KNOWN")

wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("TOKEN") or "")
wrk.headers["Content-Type"] = "application/json"

local FIRST_TRACKERS = 200 -- of all threads; so many are new before any is met again: 64 calls are under way at once
local NEW = 0.1

-- What a courier says, by the event's number; the last one stays.
local STEPS = {
  { "Electronic information received", "data_order_created", "data", "info_received", "Leipzig, DE" },
  { "Accepted at the origin facility", "transit_handover", "transit", "in_transit", "Leipzig, DE" },
  { "Departed from the country of origin", "transit_origin_country_departure", "transit", "in_transit", "Frankfurt, DE" },
  { "Arrived in the country of destination", "destination_arrival", "destination", "in_transit", "Roissy, FR" },
  { "Presented to customs", "customs_received", "customs", "in_transit", "Roissy, FR" },
  { "Released by customs", "customs_cleared", "customs", "in_transit", "Roissy, FR" },
  { "In transit to the delivery office", "transit_handover", "transit", "in_transit", "Paris, FR" },
}

local TEMPLATE = [[{"metadata":{"generatedAt":"%s.%06dZ","messageId":"%s","topic":"tracking/events"},]]
  .. [["tracker":{"trackerId":"%s","trackingNumber":"%s","shipmentReference":null,"clientTrackerId":null,"isSubscribed":true,]]
  .. [["createdAt":"2026-01-05T09:30:00.000Z"},]]
  .. [["shipment":{"shipmentId":"%s","statusCode":"%s","statusCategory":"%s","statusMilestone":"%s",]]
  .. [["originCountryCode":"DE","destinationCountryCode":"FR","delivery":{"estimatedDeliveryDate":null,"service":null,]]
  .. [["signedBy":null},"trackingNumbers":[{"tn":"%s"}],"recipient":null},]]
  .. [["events":[{"eventId":"%s","trackingNumber":"%s","eventTrackingNumber":"%s","status":"%s","occurrenceDatetime":"%s",]]
  .. [["order":%d,"datetime":"%s.000Z","hasNoTime":false,"utcOffset":null,"location":"%s","sourceCode":"fr-post",]]
  .. [["courierCode":"fr-post","statusCode":"%s","statusCategory":"%s","statusMilestone":"%s"}],]]
  .. [["statistics":{"timestamps":{"infoReceivedDatetime":"2026-01-05T10:00:00","inTransitDatetime":null,]]
  .. [["deliveredDatetime":null}}}]]

share, shares = 0, 1

local ids, numbers, orders, count = {}, {}, {}, 0

local random, format = math.random, string.format

local function uuid()
  return format(
    "%08x-%04x-4%03x-%04x-%06x%06x",
    random(0, 0xffffffff), random(0, 0xffff), random(0, 0xfff), random(0x8000, 0xbfff), random(0, 0xffffff), random(0, 0xffffff)
  )
end

local function add_tracker(id, number, order)
  count = count + 1
  ids[count], numbers[count], orders[count] = id, number, order
  return count
end

local second, now, made = 0, "", 0

local function clock()
  made = made + 1
  local time = os.time()
  if time ~= second then
    second, now = time, os.date("!%Y-%m-%dT%H:%M:%S", time)
  end
  return now
end

local function choose_tracker()
  if count * shares < FIRST_TRACKERS or random() < NEW then
    return add_tracker(uuid(), format("S24DEMO%09d", random(0, 999999999)), 0)
  end
  return random(count)
end

local function item()
  local tracker = choose_tracker()
  local id, number, order = ids[tracker], numbers[tracker], orders[tracker] + 1
  orders[tracker] = order
  local time = clock()
  local step = STEPS[order] or STEPS[#STEPS]
  local status, code, category, milestone, place = step[1], step[2], step[3], step[4], step[5]
  return format(
    TEMPLATE,
    time, made % 1000000, uuid(), id, number, id, code, category, milestone, number,
    uuid(), number, number, status, time, order, time, place, code, category, milestone
  )
end

function init()
  math.randomseed(tonumber(os.getenv("SEED") or os.time()) + share)
  if known then
    local place = 0
    for line in io.lines(known) do
      if place % shares == share then
        local id, number, order = line:match("(%S+) (%S+) (%d+)")
        add_tracker(id, number, tonumber(order))
      end
      place = place + 1
    end
  end
end

function request()
  local items = {}
  for n = 1, updates do
    items[n] = item()
  end
  return wrk.format(nil, nil, nil, '{"trackings":[' .. table.concat(items, ",") .. "]}")
end

-- One line for the program that started this; times in microseconds.
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(format(
    '{"calls":%d,"micros":%d,"failed":%d,"p50":%d,"p99":%d,"max":%d}\n',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99), latency.max
  ))
end
