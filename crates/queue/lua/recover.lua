#!lua flags=allow-oom
-- recover: take note that Redis went back in time; called before a worker writes down again what it knows, while it does, and after.
--
-- Each worker that calls it raises the counter of claims to what it has seen. The first one gives Redis another incarnation; the
-- others are told that one. Until `held` nothing is claimed for submit, so that every worker that lives has called it by then; each call puts
-- that off, so that whoever is still writing is waited for. The
-- same nonce twice gives the first answer and adds nothing twice.
--
-- KEYS[1]  keys::claims()
-- KEYS[2]  keys::incarnation()
-- KEYS[3]  keys::restored()
-- KEYS[4]  keys::reply(nonce)
-- ARGV[1]  the highest counter that this worker has seen
-- ARGV[2]  the incarnation that it knows, empty if none
-- ARGV[3]  nonce; also the new incarnation's name
-- ARGV[4]  ms in which nothing is claimed for submit
-- ARGV[5]  tasks that were written down again
-- ARGV[6]  those of them that their jobs took
-- ARGV[7]  those that are one too many
--
-- Returns  {time_us, counter, incarnation, held until ms, first}   first: 1 if this call was the first to take note
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local time_us = clock[1] .. string.format('%06d', clock[2])
local function int(number) return string.format('%.0f', number) end

-- Every read comes before the first write.
local known = redis.call('HMGET', KEYS[2], 'word', 'held', 'until')
local counter = tonumber(redis.call('GET', KEYS[1]) or 0)
local before = redis.call('GET', KEYS[4])
if before then return {time_us, int(counter), known[1] or '', known[2] or '0', tonumber(before)} end
local mark = tonumber(ARGV[1])
-- A higher counter while all this goes on is another worker's view of the same event.
local word, held = known[1], known[2] or '0'
local first = not word or (counter < mark and tonumber(known[3] or 0) <= now_ms)

if counter < mark then
  counter = mark
  redis.call('SET', KEYS[1], int(counter))
end
if first then
  word, held = ARGV[3], int(now_ms + tonumber(ARGV[4]))
  redis.call('HSET', KEYS[2], 'word', word, 'since', int(now_ms), 'held', held, 'until', held)
  redis.call('DEL', KEYS[3])
  redis.call('HSET', KEYS[3], 'at', int(now_ms))
else
  held = int(math.max(tonumber(held), now_ms + tonumber(ARGV[4])))
  redis.call('HSET', KEYS[2], 'held', held)
end
redis.call('HINCRBY', KEYS[3], 'written', ARGV[5])
redis.call('HINCRBY', KEYS[3], 'taken', ARGV[6])
redis.call('HINCRBY', KEYS[3], 'extra', ARGV[7])
redis.call('SET', KEYS[4], first and '1' or '0', 'PX', 600000)
return {time_us, int(counter), word, held, first and 1 or 0}
