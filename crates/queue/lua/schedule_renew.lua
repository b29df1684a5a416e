#!lua flags=allow-oom
-- schedule_renew: prolong the lease on a tick that is being done.
--
-- The same call twice changes nothing the second time, and needs no nonce.
--
-- KEYS[1]  keys::schedule(name)
-- ARGV[1]  fence
-- ARGV[2]  lease in ms
--
-- Returns  {time_us, kept}   kept: 0 if the tick is somebody else's now
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local time_us = clock[1] .. string.format('%06d', clock[2])
local row = redis.call('HMGET', KEYS[1], 'tick', 'fence')
if not row[1] or row[2] ~= ARGV[1] then return {time_us, 0} end
redis.call('HSET', KEYS[1], 'lease', string.format('%.0f', now_ms + tonumber(ARGV[2])))
return {time_us, 1}
