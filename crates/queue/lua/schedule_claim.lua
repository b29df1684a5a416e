-- schedule_claim: take one tick of a schedule, for one scheduler of any number.
--
-- A tick that was begun and not ended comes first: its scheduler is gone, or it failed and is to be tried again. It is done under the
-- same name and for the same batch, so that its jobs have the same ids. One whose scheduler is gone counts as a try that failed: the first
-- time it is taken over at once, then after longer and longer waits, since it may be what brings schedulers down. A new tick is taken only
-- if nobody has ended one since the caller looked.
--
-- A pause holds no tick back that a person began and left: it is taken to be ended, and brings nothing more.
--
-- KEYS[1]  keys::schedule(name)
-- KEYS[2]  keys::reply(nonce)
-- ARGV[1]  nonce
-- ARGV[2]  the tick, ms
-- ARGV[3]  the last tick that the caller saw as ended, ms, or nothing
-- ARGV[4]  who takes it
-- ARGV[5]  lease in ms
-- ARGV[6]  1 if a person asked: a pause, and the wait before another try, do not count
-- ARGV[7]  the batch of a new tick's jobs, or nothing
-- ARGV[8]  the wait before the second takeover of a tick, ms
-- ARGV[9]  how many times longer each further wait is
-- ARGV[10] the longest wait, ms
-- ARGV[11] 1 if the caller saw a tick that is begun: only such a one is taken, and no new one in its place
--
-- Returns  {time_us, "claimed", tick ms, fence, tries, batch, by_hand}   by_hand: 1 if a person asked for the tick that is taken
--        | {time_us, word}   word: paused, taken (by another, under a lease), waits (for another try), stale (the caller must look again)
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
local row = redis.call('HMGET', KEYS[1], 'tick', 'lease', 'retry', 'last', 'fence', 'tries', 'paused', 'owner', 'batch', 'hand')
local tick, lease, retry, last = row[1], tonumber(row[2] or 0), tonumber(row[3] or 0), row[4] or ''
if row[7] and not by_hand and not (tick and row[10] == '1') then return {time_us, 'paused'} end
if tick and lease > now_ms then return {time_us, 'taken'} end
if tick and retry > now_ms and not by_hand then return {time_us, 'waits'} end
if not tick and (last ~= ARGV[3] or ARGV[11] == '1') then return {time_us, 'stale'} end
local tries = tonumber(row[6] or 0)
local is_left = tick and row[8]
local wait_ms = is_left and tries > 0 and math.min(tonumber(ARGV[8]) * tonumber(ARGV[9]) ^ (tries - 1), tonumber(ARGV[10])) or 0
if lease + wait_ms > now_ms and not by_hand then return {time_us, 'waits'} end
if is_left then tries = tries + 1 end
local batch, hand = row[9] or '', row[10] or ''
if not tick then tick, batch, hand = ARGV[2], ARGV[7], by_hand and '1' or '' end
-- No lower than the time, so that a Redis restored from an older copy hands out none twice.
local fence = string.format('%.0f', math.max(now_ms, tonumber(row[5] or 0) + 1))
redis.call('HSET', KEYS[1], 'tick', tick, 'lease', string.format('%.0f', now_ms + tonumber(ARGV[5])), 'owner', ARGV[4], 'fence', fence,
  'tries', string.format('%.0f', tries), 'batch', batch, 'hand', hand)
redis.call('HDEL', KEYS[1], 'retry')
redis.call('SET', KEYS[2], cjson.encode({'', 'claimed', tick, fence, tries, batch, hand}), 'PX', 600000)
return {time_us, 'claimed', tick, fence, tries, batch, hand}
