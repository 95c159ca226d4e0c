-- Sends what `updates.lua` makes at a steady rate, however fast the answers come, and tells how long each call took from the moment
-- at which it was due: while the other side stands still the calls that become due meanwhile wait, and their waiting counts.
--
-- wrk does not say which connection an answer belongs to, so each has a thread of its own, which may then sleep until the next
-- call is due. `RATE` is calls a second in all, `SECONDS` how long, `THREADS` how many there are; the first call is due `LEAD` seconds
-- from now, since threads and connections have to be made.

dofile(os.getenv("UPDATES_SCRIPT"))

local ffi = require("ffi")
ffi.cdef([[
  typedef struct { long seconds, nanoseconds; } moment;
  int clock_gettime(int clock, moment *now);
  int clock_nanosleep(int clock, int flags, const moment *until, moment *rest);
]])

local MONOTONIC, ABSOLUTE = 1, 1
local moment = ffi.new("moment")

local function now()
  ffi.C.clock_gettime(MONOTONIC, moment)
  return tonumber(moment.seconds) * 1e6 + tonumber(moment.nanoseconds) / 1e3
end

local function sleep_until(micros)
  moment.seconds = math.floor(micros / 1e6)
  moment.nanoseconds = math.floor(micros % 1e6 * 1e3)
  ffi.C.clock_nanosleep(MONOTONIC, ABSOLUTE, moment, nil)
end

local count, rate, seconds = tonumber(os.getenv("THREADS")), tonumber(os.getenv("RATE")), tonumber(os.getenv("SECONDS"))
local threads, first = {}, now() + tonumber(os.getenv("LEAD")) * 1e6

function setup(thread)
  thread:set("place", #threads)
  thread:set("due", first + #threads / rate * 1e6)
  thread:set("finish", first + seconds * 1e6)
  threads[#threads + 1] = thread
end

local prepare, build = init, request
local step = count / rate * 1e6
local BREAK = 25e4 + step -- so long wrk takes to end when it is interrupted, with a thread that sleeps until its next call; what is due
-- then is not sent, and does not count
local trial, waiting = false, false
took, failed, timely = {}, 0, 0 -- read by `done`

function init()
  share, shares = place, count
  prepare()
  trial = place == 0 -- wrk makes one request before it starts, to look at it
end

function request()
  local made = build()
  if trial then
    trial = false
    return made
  end
  if waiting then -- the connection broke
    failed = failed + 1
    due = due + step
  end
  if due > now() then
    sleep_until(due)
  end
  waiting = true
  return made
end

function response(status)
  local moment_ = now()
  waiting = false
  took[#took + 1] = math.floor(moment_ - due)
  timely = timely + (moment_ < finish and 1 or 0)
  failed = failed + ((status < 200 or status > 299) and 1 or 0)
  due = due + step
  if due >= finish then
    wrk.thread:stop()
  end
end

-- One line for the program that started this; times in microseconds. Calls that were due and had no answer have `waited` so long.
function done()
  local ended = now()
  local last = math.min(ended - BREAK, threads[1]:get("finish"))
  local answered, waited, failures, in_time = {}, {}, 0, 0
  for _, thread in ipairs(threads) do
    for _, micros in ipairs(thread:get("took")) do
      answered[#answered + 1] = micros
    end
    failures, in_time = failures + thread:get("failed"), in_time + thread:get("timely")
    for open = thread:get("due"), last - 1, step do
      waited[#waited + 1] = math.floor(ended - open)
    end
  end
  io.write(string.format(
    '{"took":[%s],"waited":[%s],"failed":%d,"timely":%d,"micros":%d}\n',
    table.concat(answered, ","), table.concat(waited, ","), failures, in_time, last - first
  ))
end
