#!lua flags=allow-oom
-- take_permit: grant one request under a rate that all workers share, or say how long to wait.
--
-- GCRA. The key holds the time at which the allowance is full again.
--
-- KEYS[1]  keys::permits(account, call)
-- KEYS[2]  keys::account(account)
-- ARGV[1]  us between permits                     52632
-- ARGV[2]  burst tolerance in us                  0
-- ARGV[3]  the call whose pause holds it back     query
-- ARGV[4]  ms in which a probe is answered        60000; 0 = breakers do not hold it back
--
-- Returns  {time_us, wait_ms}   0 = granted; -1 = granted as the probe of an open breaker
local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local time_us = string.format('%.0f', now_us)
local state = redis.call('HMGET', KEYS[2], 'pause:' .. ARGV[3], 'open:' .. ARGV[3])
local window_ms = tonumber(ARGV[4])
local is_open = window_ms > 0 and state[2]
local paused_until_us = math.max(tonumber(state[1] or 0), tonumber(is_open or 0)) * 1000
if paused_until_us > now_us then return {time_us, math.ceil((paused_until_us - now_us) / 1000)} end
-- A time beyond a minute is a clock that jumped.
local full_us = math.min(math.max(now_us, tonumber(redis.call('GET', KEYS[1]) or 0)), now_us + 60000000 + tonumber(ARGV[1]))
local wait_us = full_us - tonumber(ARGV[2]) - now_us
if wait_us > 0 then return {time_us, math.ceil(wait_us / 1000)} end
full_us = full_us + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', full_us), 'PX', math.ceil((full_us - now_us) / 1000) + 1)
if not is_open then return {time_us, 0} end
redis.call('HSET', KEYS[2], 'open:' .. ARGV[3], string.format('%.0f', math.floor(now_us / 1000) + window_ms), 'probe:' .. ARGV[3], 'permit')
return {time_us, -1}
