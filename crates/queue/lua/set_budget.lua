#!lua flags=allow-oom
-- set_budget: give a batch a budget of its own, or take it away. Jobs that wait for it are brought back by bring_back.lua.
--
-- Repeating it is harmless: it says what holds from now on.
--
-- KEYS[1]  keys::batch(batch)
-- ARGV[1]  the budget in millionths; none = it has none, whatever the settings say; empty = that of the settings holds
-- ARGV[2]  1 = only if there is such a batch
--
-- Returns  {time_us, 1 if it was set, else 0}
local clock = redis.call('TIME')
local time_us = clock[1] .. string.format('%06d', clock[2])
if ARGV[2] == '1' and redis.call('HEXISTS', KEYS[1], 'created_at') == 0 then return {time_us, 0} end
if ARGV[1] == '' then
  redis.call('HDEL', KEYS[1], 'budget')
else
  redis.call('HSET', KEYS[1], 'budget', ARGV[1])
end
return {time_us, 1}
