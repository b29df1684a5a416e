-- schedule_claim: take one tick of a schedule, for one scheduler of any number.
--
-- A tick that was begun and not ended comes first: its scheduler is gone, or it failed and is to be tried again. It is done under the
-- same name, so that its jobs have the same ids. A new tick is taken only if nobody has ended one since the caller looked.
--
-- KEYS[1]  keys::schedule(name)
-- KEYS[2]  keys::reply(nonce)
-- ARGV[1]  nonce
-- ARGV[2]  the tick, ms
-- ARGV[3]  the last tick that the caller saw as ended, ms, or nothing
-- ARGV[4]  who takes it
-- ARGV[5]  lease in ms
-- ARGV[6]  1 if a person asked: a pause, and the wait before another try, do not count
--
-- Returns  {time_us, word, tick ms, fence, tries}   word: claimed; else paused, taken (by another, under a lease), waits (for another
--                                                   try), stale (the caller must look again)
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local time_us = clock[1] .. string.format('%06d', clock[2])
local by_hand = ARGV[6] == '1'

local answered = redis.call('GET', KEYS[2])
if answered then
  local answer = cjson.decode(answered)
  answer[1] = time_us
  return answer
end
local row = redis.call('HMGET', KEYS[1], 'tick', 'lease', 'retry', 'last', 'fence', 'tries', 'paused')
local tick, lease, retry, last = row[1], tonumber(row[2] or 0), tonumber(row[3] or 0), row[4] or ''
if row[7] and not by_hand then return {time_us, 'paused', '', 0, 0} end
if tick and lease > now_ms then return {time_us, 'taken', tick, 0, 0} end
if tick and retry > now_ms and not by_hand then return {time_us, 'waits', tick, 0, 0} end
if not tick and last ~= ARGV[3] then return {time_us, 'stale', '', 0, 0} end
tick = tick or ARGV[2]
-- No lower than the time, so that a Redis restored from an older copy hands out none twice.
local fence = string.format('%.0f', math.max(now_ms, tonumber(row[5] or 0) + 1))
local tries = tonumber(row[6] or 0)
redis.call('HSET', KEYS[1], 'tick', tick, 'lease', string.format('%.0f', now_ms + tonumber(ARGV[5])), 'owner', ARGV[4], 'fence', fence)
redis.call('HDEL', KEYS[1], 'retry')
redis.call('SET', KEYS[2], cjson.encode({'', 'claimed', tick, fence, tries}), 'PX', 600000)
return {time_us, 'claimed', tick, fence, tries}
