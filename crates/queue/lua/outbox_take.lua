#!lua flags=allow-oom
-- outbox_take: lease entries of the outbox that are due, so that nobody else delivers them meanwhile.
--
-- An entry whose worker vanished is due again when its lease has run out. The same nonce twice is the same call: what it leased is answered
-- again.
--
-- KEYS[1]  keys::outbox()
-- KEYS[2]  keys::outbox_entries()
-- KEYS[3]  keys::outbox_leases()
-- KEYS[4]  keys::reply(nonce)
-- ARGV[1]  the greatest number of entries, at most 100
-- ARGV[2]  lease in ms
-- ARGV[3]  nonce
--
-- Returns  {time_us, ms until the next is due or -1, {entry, json}, ...}
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local time_us = clock[1] .. string.format('%06d', clock[2])
local function int(number) return string.format('%.0f', number) end

-- Every read comes before the first write.
local before = redis.call('GET', KEYS[4])
if before then
  local reply = {time_us, 0}
  for entry in string.gmatch(before, '%S+') do
    if redis.call('HGET', KEYS[3], entry) == ARGV[3] then
      reply[#reply + 1] = {entry, redis.call('HGET', KEYS[2], entry) or ''}
    end
  end
  return reply
end
local most = math.min(tonumber(ARGV[1]), 100)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now_ms), 'LIMIT', 0, most)
local later = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. int(now_ms), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local next_ms = -1
if #due == most then next_ms = 0 elseif later[2] then next_ms = tonumber(later[2]) - now_ms end
local reply = {time_us, int(next_ms)}
for _, entry in ipairs(due) do reply[#reply + 1] = {entry, redis.call('HGET', KEYS[2], entry) or ''} end

for _, entry in ipairs(due) do
  redis.call('ZADD', KEYS[1], int(now_ms + tonumber(ARGV[2])), entry)
  redis.call('HSET', KEYS[3], entry, ARGV[3])
end
if #due > 0 then redis.call('SET', KEYS[4], table.concat(due, ' '), 'PX', 600000) end
return reply
