#!lua flags=allow-oom
-- breaker: open, close or release the breaker of one of an account's calls, for every worker.
--
-- While it is open nothing of the call goes out but one probe at a time (claim_submit, claim_due, take_permit), each after a
-- wait. Only the answer to the probe moves an open breaker: what was under way when it opened is the same trouble, and must
-- neither make the wait longer nor end it. So the same call twice changes nothing the second time, and needs no nonce.
--
-- KEYS[1]  keys::account(account)
-- ARGV[1]  the call                        create, create:<model> or query
-- ARGV[2]  open, close or release          release: the probe said nothing, another may go out at once
-- ARGV[3]  the probe that was answered     <job>:<attempt>; * = whichever is out; empty = none
-- ARGV[4]  the waits in ms, by spaces      60000 120000 240000 480000 600000
-- ARGV[5]  the shortest wait in ms         0
-- ARGV[6]  the code, for people
-- ARGV[7]  why, for people
--
-- Returns  {time_us, became, until_ms}   became: opened, reopened, closed, released, or empty: nothing changed
local clock = redis.call('TIME')
local time_us = clock[1] .. string.format('%06d', clock[2])
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local call = ARGV[1]
local before = redis.call('HMGET', KEYS[1], 'open:' .. call, 'probe:' .. call, 'row:' .. call)
local is_open, probe = before[1], before[2]
local is_probes = is_open and probe and (ARGV[3] == '*' or ARGV[3] == probe)

if ARGV[2] == 'open' then
  if is_open and not is_probes then return {time_us, '', before[1]} end
  local row = is_open and tonumber(before[3] or 0) + 1 or 0
  local waits = {}
  for wait in string.gmatch(ARGV[4], '%S+') do waits[#waits + 1] = tonumber(wait) end
  local wait = math.max(waits[math.min(row + 1, #waits)] or 0, tonumber(ARGV[5]))
  local until_ms = string.format('%.0f', now_ms + wait)
  redis.call('HDEL', KEYS[1], 'probe:' .. call)
  redis.call('HSET', KEYS[1], 'open:' .. call, until_ms, 'row:' .. call, string.format('%.0f', row),
    'code:' .. call, ARGV[6], 'reason:' .. call, ARGV[7])
  if is_open then return {time_us, 'reopened', until_ms} end
  redis.call('HSET', KEYS[1], 'since:' .. call, string.format('%.0f', now_ms))
  redis.call('HINCRBY', KEYS[1], 'opened:' .. call, 1)
  return {time_us, 'opened', until_ms}
end
if not is_probes then return {time_us, '', before[1] or '0'} end
redis.call('HDEL', KEYS[1], 'probe:' .. call)
if ARGV[2] == 'release' then
  redis.call('HSET', KEYS[1], 'open:' .. call, string.format('%.0f', now_ms))
  return {time_us, 'released', string.format('%.0f', now_ms)}
end
redis.call('HDEL', KEYS[1], 'open:' .. call, 'row:' .. call, 'since:' .. call, 'code:' .. call, 'reason:' .. call)
return {time_us, 'closed', '0'}
