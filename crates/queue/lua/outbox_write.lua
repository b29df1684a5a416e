#!lua flags=allow-oom
-- outbox_write: write down what became of an entry of the outbox, and end its lease.
--
-- Only whoever holds the lease writes. The nonce of the lease names the call as well: a repeat finds the lease gone, and changes nothing.
-- What is to be said of a batch is left out where the batch was removed meanwhile, also where there is another of its name by now.
--
-- KEYS[1]  keys::outbox()
-- KEYS[2]  keys::outbox_entries()
-- KEYS[3]  keys::outbox_leases()
-- KEYS[4]  keys::batch(batch)
-- KEYS[5]  keys::deliveries(batch)
-- KEYS[6]  keys::webhooks()
-- ARGV[1]  entry
-- ARGV[2]  the nonce that it was taken with
-- ARGV[3]  plan, as JSON:
--            later  ms as a string: the entry stays, and is due after so long; without it the entry is over
--            entry  the entry's JSON from now on, where it stays
--            next   {entry, json, ...}    entries that take its place, due now
--            created  when the batch began, in ms as a string
--            ends   1: an end of the batch has been delivered to all that follows from it
--            say    {field, value, ...}   of the batch's deliveries
--            forget {field, ...}          of these
--            count  {field, by, ...}      of the webhooks
--            last   {field, value, ...}   of these
--
-- Returns  {time_us, written}   written: 1, or 0 if the entry is somebody else's by now, or over
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local time_us = clock[1] .. string.format('%06d', clock[2])
local function int(number) return string.format('%.0f', number) end
local entry, plan = ARGV[1], cjson.decode(ARGV[3])

-- Every read comes before the first write.
if redis.call('HGET', KEYS[3], entry) ~= ARGV[2] then return {time_us, 0} end
local batch = redis.call('HMGET', KEYS[4], 'created_at', 'undelivered')

redis.call('HDEL', KEYS[3], entry)
if plan.later then
  redis.call('ZADD', KEYS[1], int(now_ms + tonumber(plan.later)), entry)
  redis.call('HSET', KEYS[2], entry, plan.entry)
else
  redis.call('ZREM', KEYS[1], entry)
  redis.call('HDEL', KEYS[2], entry)
end
local follows = plan.next or {}
for i = 1, #follows, 2 do
  redis.call('HSET', KEYS[2], follows[i], follows[i + 1])
  redis.call('ZADD', KEYS[1], int(now_ms), follows[i])
end
if batch[1] and batch[1] == plan.created then
  if plan.ends and tonumber(batch[2] or 0) > 0 then redis.call('HINCRBY', KEYS[4], 'undelivered', -1) end
  local say = plan.say or {}
  for i = 1, #say, 2 do redis.call('HSET', KEYS[5], say[i], say[i + 1]) end
  for _, field in ipairs(plan.forget or {}) do redis.call('HDEL', KEYS[5], field) end
end
local count, last = plan.count or {}, plan.last or {}
for i = 1, #count, 2 do redis.call('HINCRBY', KEYS[6], count[i], count[i + 1]) end
for i = 1, #last, 2 do redis.call('HSET', KEYS[6], last[i], last[i + 1]) end
return {time_us, 1}
