#!lua flags=allow-oom
-- seal: say that nothing more will be enqueued into a batch, so that it can end.
--
-- A batch that has ended already does not end again: repeating the call is harmless.
--
-- KEYS[1]  keys::batch(batch)
-- KEYS[2]  keys::ended()
-- KEYS[3]  keys::outbox()
-- KEYS[4]  keys::outbox_entries()
-- ARGV[1]  batch
--
-- Returns  {time_us, left}   left: jobs that are not final; -1 if there is no such batch
local clock = redis.call('TIME')
local time_us = clock[1] .. string.format('%06d', clock[2])
-- include end_batch

-- Every read comes before the first write.
local batch = redis.call('HMGET', KEYS[1], 'left', 'created_at')
local member = 'batch:' .. ARGV[1]
local ended = redis.call('ZSCORE', KEYS[2], member)
if not batch[2] then return {time_us, -1} end
local fields = redis.call('HGETALL', KEYS[1])

redis.call('HSET', KEYS[1], 'sealed', '1')
if tonumber(batch[1] or 0) <= 0 and not ended then
  local now_ms = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
  end_batch(KEYS[1], KEYS[2], KEYS[3], KEYS[4], member, fields, now_ms)
end
return {time_us, tonumber(batch[1] or 0)}
