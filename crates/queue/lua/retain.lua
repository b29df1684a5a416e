#!lua flags=allow-oom
-- retain: remove some jobs of a batch that has ended, oldest place first, and the batch itself with its last job.
--
-- Whole batches go, in chunks, so that no list ever points at a job that is gone. A compact tombstone stays for each job, so
-- that a file enqueued again is not paid for again, unless that is what its user wants. A batch that has work again is left alone.
--
-- KEYS[1]  keys::batch(batch)
-- KEYS[2]  keys::members(batch)
-- KEYS[3]  keys::batches()
-- KEYS[4]  keys::counts()
-- KEYS[5]  keys::ended()
-- KEYS[6]  keys::tombstones()
-- KEYS[7]  keys::lanes(batch)
-- KEYS[8]  keys::paused()
-- KEYS[9]  keys::deliveries(batch)
-- KEYS[10] keys::outbox()
-- KEYS[11] keys::outbox_entries()
-- KEYS[12] keys::outbox_leases()
-- ARGV[1]  key prefix
-- ARGV[2]  batch, or - with the single job as ARGV[4]
-- ARGV[3]  the greatest number of jobs, at most 500
-- ARGV[4]  a job's id, for a job without a batch; else empty
-- ARGV[5]  1: no tombstones, so that the same jobs can be enqueued and paid for again
-- ARGV[6]  1: also a batch whose end is not told yet: nothing is told of it then
--
-- Returns  {time_us, removed, done}   done: 1 when nothing of it is left, 2 when its end is to be delivered first
local clock = redis.call('TIME')
local time_us = clock[1] .. string.format('%06d', clock[2])
local now_ms = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
local prefix, batch, single, forget = ARGV[1], ARGV[2], ARGV[4], ARGV[5] == '1'
local final = {succeeded = true, failed = true, canceled = true, expired = true}

-- Every read comes before the first write.
local ids, left
if single ~= '' then
  ids, left = {single}, 0
else
  left = tonumber(redis.call('HGET', KEYS[1], 'left') or 0)
  if left > 0 then
    redis.call('ZREM', KEYS[5], 'batch:' .. batch)
    return {time_us, 0, 1}
  end
  if tonumber(redis.call('HGET', KEYS[1], 'undelivered') or 0) > 0 and ARGV[6] ~= '1' then return {time_us, 0, 2} end
  ids = redis.call('ZRANGE', KEYS[2], 0, math.min(tonumber(ARGV[3]), 500) - 1)
end
local remaining = redis.call('ZCARD', KEYS[2]) - #ids
local told = redis.call('HMGET', KEYS[1], 'created_at', 'ends', 'undelivered')
local states = {}
for i, id in ipairs(ids) do states[i] = redis.call('HGET', prefix .. 'job:' .. id, 's') or '' end

local removed = 0
for i, id in ipairs(ids) do
  if final[states[i]] or states[i] == '' then
    redis.call('DEL', prefix .. 'job:' .. id, prefix .. 'spec:' .. id, prefix .. 'tries:' .. id, prefix .. 'outcome:' .. id)
    redis.call('ZREM', KEYS[2], id)
    if not forget then redis.call('ZADD', KEYS[6], now_ms, id) end
    if states[i] ~= '' then
      redis.call('HINCRBY', KEYS[4], states[i], -1)
      redis.call('HINCRBY', KEYS[1], states[i], -1)
      redis.call('HINCRBY', KEYS[1], 'total', -1)
    end
    removed = removed + 1
  end
end
if single ~= '' then
  redis.call('ZREM', KEYS[5], 'job:' .. single)
  return {time_us, removed, 1}
end
if remaining <= 0 then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[7], KEYS[9])
  redis.call('HDEL', KEYS[8], 'batch:' .. batch)
  redis.call('ZREM', KEYS[3], batch)
  redis.call('ZREM', KEYS[5], 'batch:' .. batch)
  -- Ends that were not told: at most so many, and the last ones.
  local ends = tonumber(told[2] or 0)
  for number = ends, math.max(1, ends - math.min(tonumber(told[3] or 0), 100) + 1), -1 do
    local entry = 'batch:' .. batch .. ':' .. (told[1] or '0') .. ':' .. string.format('%.0f', number)
    redis.call('ZREM', KEYS[10], entry)
    redis.call('HDEL', KEYS[11], entry)
    redis.call('HDEL', KEYS[12], entry)
  end
  return {time_us, removed, 1}
end
return {time_us, removed, 0}
