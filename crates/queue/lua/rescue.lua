#!lua flags=allow-oom
-- rescue: take over jobs whose lease has run out.
--
-- The fence rises, so that the vanished worker's writes are refused from now on, and the caller holds a lease of its own until
-- it has committed what follows; if it vanishes as well, the next rescuer finds that lease.
--
-- KEYS[1]  keys::leases()
-- KEYS[2]  keys::reply(nonce)
-- ARGV[1]  key prefix
-- ARGV[2]  the greatest number of jobs, at most 100
-- ARGV[3]  lease in ms
-- ARGV[4]  nonce
--
-- Returns  {time_us, more, {job, {field, value, ...}, ms since the lease ran out}, ...}   more: 1 if others wait
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local time_us = clock[1] .. string.format('%06d', clock[2])
local function int(number) return string.format('%.0f', number) end
local prefix, most = ARGV[1], math.min(tonumber(ARGV[2]), 100)

-- Every read comes before the first write.
local before = redis.call('GET', KEYS[2])
if before then
  local reply = {time_us, 1}
  for id in string.gmatch(before, '%S+') do
    local record = redis.call('HGETALL', prefix .. 'job:' .. id)
    if redis.call('HGET', prefix .. 'job:' .. id, 'n') == ARGV[4] then reply[#reply + 1] = {id, record, 0} end
  end
  return reply
end
local expired = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now_ms), 'WITHSCORES', 'LIMIT', 0, most)
local taken = {}
for i = 1, #expired, 2 do
  local id, fence = string.match(expired[i], '^(.-):(%d+)$')
  local record = id and redis.call('HMGET', prefix .. 'job:' .. id, 'v', 'f', 'c') or {}
  if record[1] and record[2] == fence and record[3] == '1' then
    taken[#taken + 1] = {id = id, version = record[1], fence = fence, late = now_ms - tonumber(expired[i + 1])}
  end
end

local reply, ids = {time_us, #expired == most * 2 and 1 or 0}, {}
for i = 1, #expired, 2 do redis.call('ZREM', KEYS[1], expired[i]) end
for _, job in ipairs(taken) do
  -- Never lower than the time, so that a Redis restored from an older copy hands out no fence and no version twice.
  local key, fence = prefix .. 'job:' .. job.id, int(math.max(tonumber(job.fence) + 1, now_ms))
  redis.call('HSET', key, 'v', int(math.max(tonumber(job.version) + 1, now_ms)), 'f', fence, 'n', ARGV[4])
  redis.call('ZADD', KEYS[1], int(now_ms + tonumber(ARGV[3])), job.id .. ':' .. fence)
  ids[#ids + 1] = job.id
  reply[#reply + 1] = {job.id, redis.call('HGETALL', key), int(job.late)}
end
if #ids > 0 then redis.call('SET', KEYS[2], table.concat(ids, ' '), 'PX', 600000) end
return reply
