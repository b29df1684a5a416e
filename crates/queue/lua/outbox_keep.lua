#!lua flags=allow-oom
-- outbox_keep: prolong the lease of an entry of the outbox, if it is still the caller's.
--
-- KEYS[1]  keys::outbox()
-- KEYS[2]  keys::outbox_leases()
-- ARGV[1]  entry
-- ARGV[2]  the nonce that it was taken with
-- ARGV[3]  lease in ms
--
-- Returns  {time_us, kept}   kept: 1, or 0 if it is somebody else's by now, or delivered
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local time_us = clock[1] .. string.format('%06d', clock[2])
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return {time_us, 0} end
redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', now_ms + tonumber(ARGV[3])), ARGV[1])
return {time_us, 1}
