#!lua flags=allow-oom
-- seal: say that nothing more will be enqueued into a batch, so that it can end.
--
-- KEYS[1]  keys::batch(batch)
-- KEYS[2]  keys::ended()
-- ARGV[1]  batch
--
-- Returns  {time_us, left}   left: jobs that are not final; -1 if there is no such batch
local clock = redis.call('TIME')
local time_us = clock[1] .. string.format('%06d', clock[2])
local batch = redis.call('HMGET', KEYS[1], 'left', 'created_at', 'ended_at')
if not batch[2] then return {time_us, -1} end
redis.call('HSET', KEYS[1], 'sealed', '1')
if tonumber(batch[1] or 0) <= 0 then
  local now_ms = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
  redis.call('ZADD', KEYS[2], 'NX', now_ms, 'batch:' .. ARGV[1])
  redis.call('HSETNX', KEYS[1], 'ended_at', now_ms)
end
return {time_us, tonumber(batch[1] or 0)}
