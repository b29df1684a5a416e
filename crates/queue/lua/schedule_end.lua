#!lua flags=allow-oom
-- schedule_end: write down what came of a tick, and give it back: as over, or to be tried again.
--
-- With a tick that is over its batch is sealed, in the same step: nobody else knows of it any more, and whoever does not do the tick may
-- not seal the batch of who does.
--
-- The history has one line for each tick: what another try brings replaces the line of the one before.
--
-- KEYS[1]  keys::schedule(name)
-- KEYS[2]  keys::schedule_runs(name)
-- KEYS[3]  keys::batch(batch), where one is sealed
-- KEYS[4]  keys::ended()
-- KEYS[5]  keys::outbox()
-- KEYS[6]  keys::outbox_entries()
-- ARGV[1]  nonce
-- ARGV[2]  fence
-- ARGV[3]  the line, JSON
-- ARGV[4]  ms until another try, or nothing: it is over
-- ARGV[5]  lines that are kept
-- ARGV[6]  1 if the ticks before it are settled by it: not by a run by hand that failed
-- ARGV[7]  the batch that is sealed, or nothing
--
-- Returns  {time_us, written}   written: 0 if the tick is somebody else's now
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local time_us = clock[1] .. string.format('%06d', clock[2])
-- include end_batch
-- include seal_batch

local row = redis.call('HMGET', KEYS[1], 'tick', 'fence', 'last', 'noted', 'nonce')
if row[5] == ARGV[1] then return {time_us, 1} end
local tick = row[1]
if not tick or row[2] ~= ARGV[2] then return {time_us, 0} end
local has_line = row[4] == tick and redis.call('LLEN', KEYS[2]) > 0
local member = 'batch:' .. ARGV[7]
local before = ARGV[7] ~= '' and before_seal(KEYS[3], KEYS[4], member)

if before then seal_batch(before, KEYS[3], KEYS[4], KEYS[5], KEYS[6], member, string.format('%.0f', now_ms)) end
if has_line then redis.call('LSET', KEYS[2], 0, ARGV[3]) else redis.call('LPUSH', KEYS[2], ARGV[3]) end
redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[5]) - 1)
redis.call('HSET', KEYS[1], 'noted', tick, 'nonce', ARGV[1])
redis.call('HDEL', KEYS[1], 'lease', 'owner')
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'retry', string.format('%.0f', now_ms + tonumber(ARGV[4])))
  redis.call('HINCRBY', KEYS[1], 'tries', 1)
else
  redis.call('HDEL', KEYS[1], 'tick', 'retry', 'tries', 'batch', 'hand')
  if ARGV[6] == '1' and tonumber(tick) > tonumber(row[3] or 0) then redis.call('HSET', KEYS[1], 'last', tick) end
end
return {time_us, 1}
