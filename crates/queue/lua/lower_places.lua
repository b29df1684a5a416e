#!lua flags=allow-oom
-- lower_places: the provider holds too many tasks of a model: fewer of the account's places may be taken, by every worker.
--
-- First those behind the tasks in process are halved, then given up, then the others one by one, down to one. No more than were
-- taken without the create that was refused. A place that was tried again too early goes back, and the next try waits twice as
-- long; claim_submit makes these tries. Creates that were claimed before the last change say nothing about it, so that the same
-- call twice changes nothing the second time, and needs no nonce. The same rule stands in src/allowed.rs.
--
-- KEYS[1]  keys::account(account)
-- KEYS[2]  keys::slots(account, model)
-- ARGV[1]  model                                 wan2.7-image
-- ARGV[2]  tasks in process at once              5
-- ARGV[3]  places behind them                    5
-- ARGV[4]  when the refused create was claimed, in ms
--
-- Returns  {time_us, places, lowered}   lowered: 1 or 0
local clock = redis.call('TIME')
local time_us = clock[1] .. string.format('%06d', clock[2])
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function int(number) return string.format('%.0f', number) end
local model, in_flight = ARGV[1], tonumber(ARGV[2])
local most = in_flight + tonumber(ARGV[3])
local before = redis.call('HMGET', KEYS[1], 'places:' .. model, 'places_at:' .. model, 'places_row:' .. model, 'places_up:' .. model)
local places = math.min(tonumber(before[1] or most), most)
if tonumber(ARGV[4]) < tonumber(before[2] or 0) then return {time_us, places, 0} end
local used = redis.call('ZCARD', KEYS[2])

local row = tonumber(before[3] or 0)
local ahead = places - in_flight
local lower
if before[4] then
  row = row + 1
  lower = places - 1
elseif ahead > 0 then
  lower = in_flight + math.floor(ahead / 2)
else
  lower = places - 1
end
lower = math.max(1, math.min(lower, used - 1))
redis.call('HDEL', KEYS[1], 'places_up:' .. model)
redis.call('HSET', KEYS[1], 'places:' .. model, int(lower), 'places_at:' .. model, int(now_ms), 'places_row:' .. model, int(row))
return {time_us, lower, lower < places and 1 or 0}
