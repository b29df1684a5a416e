#!lua flags=allow-oom
-- pause_account: hold back one of an account's calls, for every worker.
--
-- A pause is only ever prolonged: two reasons to wait are over when the later one is. No pause is for more than an hour; one that lasts
-- longer was written before a clock was set back, and counts for nothing.
--
-- KEYS[1]  keys::account(account)
-- ARGV[1]  the call: create:<model> or query
-- ARGV[2]  ms from now, at most an hour
-- ARGV[3]  why, for people
--
-- Returns  {time_us, until_ms}
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local HOUR_MS = 3600000
local until_ms = now_ms + math.min(tonumber(ARGV[2]), HOUR_MS)
local before = tonumber(redis.call('HGET', KEYS[1], 'pause:' .. ARGV[1]) or 0)
if until_ms > before or before > now_ms + HOUR_MS then
  redis.call('HSET', KEYS[1], 'pause:' .. ARGV[1], string.format('%.0f', until_ms), 'why:' .. ARGV[1], ARGV[3])
else
  until_ms = before
end
return {clock[1] .. string.format('%06d', clock[2]), string.format('%.0f', until_ms)}
