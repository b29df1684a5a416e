-- Nothing more will be enqueued into a batch, so that it can end. In two halves, since every read of a script comes before its first write.
-- A batch that has ended already does not end again.
--
-- Written into each script where it says so (src/scripts.rs); needs end_batch.

-- Reads only. Nothing if there is no such batch.
local function before_seal(batch, final, member)
  local at = redis.call('HMGET', batch, 'left', 'created_at')
  if not at[2] then return nil end
  return {left = tonumber(at[1] or 0), has_ended = redis.call('ZSCORE', final, member), fields = redis.call('HGETALL', batch)}
end

-- Writes only.
local function seal_batch(before, batch, final, outbox, entries, member, now_ms)
  redis.call('HSET', batch, 'sealed', '1')
  if before.left <= 0 and not before.has_ended then
    end_batch(batch, final, outbox, entries, member, before.fields, now_ms)
  end
end
