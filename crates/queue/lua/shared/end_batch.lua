-- The last job of a sealed batch is over: the batch ends (once more), and its end is to be delivered. `ends`: how often it had ended before.
--
-- Written into each script where it says so (src/scripts.rs). Writes only.
local function end_batch(batch, final, outbox, entries, member, ends, now_ms)
  local entry = member .. ':' .. string.format('%.0f', tonumber(ends or 0) + 1)
  redis.call('ZADD', final, now_ms, member)
  redis.call('HSET', batch, 'ended_at', now_ms)
  redis.call('HINCRBY', batch, 'ends', 1)
  redis.call('HINCRBY', batch, 'undelivered', 1)
  redis.call('HSET', entries, entry, '{"at":' .. now_ms .. '}')
  redis.call('ZADD', outbox, now_ms, entry)
end
