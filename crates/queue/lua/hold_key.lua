#!lua flags=allow-oom
-- hold_key: say that an API key works for this namespace, or learn that it works for another one.
--
-- Limits, and which tasks are ours, are known in one namespace only: a key that worked for two of them would be used twice as
-- fast as it may be, and each would take the other's tasks for its own. Holding it again prolongs it.
--
-- KEYS[1]  keys::api_key(digest)
-- ARGV[1]  namespace
-- ARGV[2]  ms for which it is held
--
-- Returns  {time_us, namespace that holds it}
local clock = redis.call('TIME')
local time_us = clock[1] .. string.format('%06d', clock[2])
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {time_us, holder} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {time_us, ARGV[1]}
