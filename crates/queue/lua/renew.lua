#!lua flags=allow-oom
-- renew: prolong leases, and say which are lost.
--
-- A member carries its fence: a worker that lost a job cannot keep its successor's lease alive.
--
-- KEYS[1]  keys::leases()
-- ARGV[1]  lease in ms
-- ARGV[2..] lease members, <job>:<fence>, at most 500
--
-- Returns  {time_us, lost member, ...}
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local reply = {clock[1] .. string.format('%06d', clock[2])}
local until_ms = string.format('%.0f', now_ms + tonumber(ARGV[1]))
local kept = {}
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then kept[#kept + 1] = ARGV[i] else reply[#reply + 1] = ARGV[i] end
end
for _, member in ipairs(kept) do redis.call('ZADD', KEYS[1], 'XX', until_ms, member) end
return reply
