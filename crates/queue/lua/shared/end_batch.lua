-- The last job of a sealed batch is over: the batch ends (once more), and its end is to be told as it is now.
--
-- `fields`: the batch's hash as it is once this call is over, as {field, value, ...}. What was said of a batch of the same name that was
-- removed meanwhile is another's: the time at which the batch began is a part of the entry's name.
--
-- Written into each script where it says so (src/scripts.rs). Writes only.
local function end_batch(batch, final, outbox, entries, member, fields, now_ms)
  local counts = {}
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 5) ~= 'base:' then counts[fields[i]] = fields[i + 1] end
  end
  local number = string.format('%.0f', tonumber(counts.ends or 0) + 1)
  local entry = member .. ':' .. (counts.created_at or '0') .. ':' .. number
  redis.call('ZADD', final, now_ms, member)
  redis.call('HSET', batch, 'ended_at', now_ms)
  redis.call('HINCRBY', batch, 'ends', 1)
  redis.call('HINCRBY', batch, 'undelivered', 1)
  redis.call('HSET', entries, entry, '{"at":' .. now_ms .. ',"batch":' .. cjson.encode(counts) .. '}')
  redis.call('ZADD', outbox, now_ms, entry)
end
