#!lua flags=allow-oom
-- lower_places: the provider holds too many tasks of a model: fewer of the account's places may be taken, by every worker.
--
-- First those behind the tasks in process are halved, then given up, then the others one by one, down to one. No more than were
-- taken without the create that was refused. All refusals of a minute together leave half: a storm ends, and says little of what the
-- provider holds. What is refused then is to wait. Places that were tried again too early go back as far as they were refused, and the
-- next try waits twice as long; claim_submit makes these tries. Creates that were claimed before the last change say nothing about it,
-- so that the same call twice changes nothing the second time, and needs no nonce. A time that lies ahead is of a clock that was
-- set back, and counts for nothing. The same rule stands in src/allowed.rs.
--
-- KEYS[1]  keys::account(account)
-- KEYS[2]  keys::slots(account, model)
-- ARGV[1]  model                                 wan2.7-image
-- ARGV[2]  tasks in process at once              5
-- ARGV[3]  places behind them                    5
-- ARGV[4]  when the refused create was claimed, in ms
-- ARGV[5]  ms in which all refusals together leave half of the places    60000
--
-- Returns  {time_us, places, word}   word: lowered; held: as low as may be for now; older: the create was claimed before the last change
local clock = redis.call('TIME')
local time_us = clock[1] .. string.format('%06d', clock[2])
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function int(number) return string.format('%.0f', number) end
local model, in_flight = ARGV[1], tonumber(ARGV[2])
local most = in_flight + tonumber(ARGV[3])
local fields = {}
for n, name in ipairs({'places', 'places_at', 'places_row', 'places_up', 'places_since', 'places_least'}) do fields[n] = name .. ':' .. model end
local before = redis.call('HMGET', KEYS[1], unpack(fields)) -- six
local function past(ms) return ms <= now_ms and ms or 0 end
local places = math.min(tonumber(before[1] or most), most)
if tonumber(ARGV[4]) < past(tonumber(before[2] or 0)) then return {time_us, places, 'older'} end
local used = redis.call('ZCARD', KEYS[2])

local row, up = tonumber(before[3] or 0), tonumber(before[4] or 0)
local since, least = past(tonumber(before[5] or 0)), tonumber(before[6] or 1)
local ahead = places - in_flight
local lower
if up > 0 then
  row = row + 1
  lower = math.max(math.min(used, places) - 1, places - up, 1)
else
  if now_ms - since >= tonumber(ARGV[5]) then since, least = now_ms, math.max(1, math.floor(places / 2)) end
  lower = ahead > 0 and in_flight + math.floor(ahead / 2) or places - 1
  lower = math.min(math.max(math.min(lower, used - 1), least), places)
end
redis.call('HDEL', KEYS[1], fields[4])
redis.call('HSET', KEYS[1], fields[1], int(lower), fields[2], int(now_ms), fields[3], int(row), fields[5], int(since), fields[6], int(least))
return {time_us, lower, lower < places and 'lowered' or 'held'}
