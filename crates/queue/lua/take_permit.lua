#!lua flags=allow-oom
-- take_permit: grant one request under a rate that all workers share, or say how long to wait.
--
-- GCRA. The key holds the time at which the allowance is full again. What is granted ahead is granted for a time, and must be
-- sent then: a request that can go out no sooner than after its lead spaces those after it from when it does.
--
-- Requests that are granted ahead go before those that are granted only what is free now. With ARGV[7] no more than that part of the
-- rate goes to them while it is used up; where a moment stays free for as long as a permit lasts, nobody else wants it.
--
-- KEYS[1]  keys::permits(account, call)
-- KEYS[2]  keys::account(account)
-- KEYS[3]  keys::permits(account, "query:ahead"), or KEYS[1] again where ARGV[7] is 0
-- ARGV[1]  us between permits                     52632
-- ARGV[2]  burst tolerance in us                  0
-- ARGV[3]  the call whose pause holds it back     query
-- ARGV[4]  ms in which a probe is answered        60000; 0 = breakers do not hold it back
-- ARGV[5]  us before which it cannot be sent      0
-- ARGV[6]  us which it may be granted ahead       0
-- ARGV[7]  us between two such requests           210528; 0 = as many as there are
--
-- Returns  {time_us, wait_ms, at_us}   0 = granted; -1 = granted as the probe of an open breaker; at_us: when it is to be sent
local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local time_us = string.format('%.0f', now_us)
local state = redis.call('HMGET', KEYS[2], 'pause:' .. ARGV[3], 'open:' .. ARGV[3])
local window_ms = tonumber(ARGV[4])
local is_open = window_ms > 0 and state[2]
-- No pause is for more than an hour: one that lasts longer was written before a clock was set back.
local paused_us = tonumber(state[1] or 0) * 1000
if paused_us > now_us + 3600000000 then paused_us = 0 end
local paused_until_us = math.max(paused_us, tonumber(is_open or 0) * 1000)
if paused_until_us > now_us then return {time_us, math.ceil((paused_until_us - now_us) / 1000), time_us} end
-- So is an allowance that is full again beyond a minute: held to that minute it would be that far away at each call.
local step_us, apart_us = tonumber(ARGV[1]), tonumber(ARGV[7])
local full_us = tonumber(redis.call('GET', KEYS[1]) or 0)
if full_us > now_us + 60000000 + step_us then full_us = 0 end
local ahead_us = apart_us > 0 and tonumber(redis.call('GET', KEYS[3]) or 0) or 0
if ahead_us > now_us + 60000000 + apart_us then ahead_us = 0 end
local idle_us = full_us + step_us -- nobody wants what is free by then
full_us = math.max(now_us, full_us)
local wait_us = full_us - tonumber(ARGV[2]) - tonumber(ARGV[6]) - now_us
wait_us = math.max(wait_us, math.min(idle_us, ahead_us) - now_us)
if wait_us > 0 then return {time_us, math.ceil(wait_us / 1000), time_us} end
local at_us = math.max(full_us, now_us + tonumber(ARGV[5]))
full_us = at_us + step_us
at_us = string.format('%.0f', at_us)
-- Kept until it shows that nobody else wants what is free.
redis.call('SET', KEYS[1], string.format('%.0f', full_us), 'PX', math.ceil((full_us + step_us - now_us) / 1000) + 1)
if apart_us > 0 then redis.call('SET', KEYS[3], string.format('%.0f', now_us + apart_us), 'PX', math.ceil(apart_us / 1000) + 1) end
if not is_open then return {time_us, 0, at_us} end
redis.call('HSET', KEYS[2], 'open:' .. ARGV[3], string.format('%.0f', math.floor(now_us / 1000) + window_ms), 'probe:' .. ARGV[3], 'permit')
return {time_us, -1, at_us}
