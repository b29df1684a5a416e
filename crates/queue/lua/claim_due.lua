#!lua flags=allow-oom
-- claim_due: hand jobs that are due to a worker: polls of one account, settlings, or copies.
--
-- Copies go by the time at which their links die, the earliest first. A link that dies before its copy could be made is passed
-- over for those that can be copied in time; only when these are fewer than asked for are such links tried, the latest first.
--
-- With permits, each job takes one of the account's query permits: a claimed poll is sent at once. The same nonce twice gives
-- the same jobs, as long as they are still where this call put them. Through an open breaker of the account's queries goes one
-- job, the probe, once its wait is over.
--
-- KEYS[1]  the index: keys::due_poll(account), keys::due_settle() or keys::ready_archive()
-- KEYS[2]  keys::leases()
-- KEYS[3]  keys::reply(nonce)
-- KEYS[4]  keys::permits(account, "query"), or KEYS[1] again where no permit is needed
-- KEYS[5]  keys::account(account), or KEYS[1] again
-- ARGV[1]  key prefix
-- ARGV[2]  the greatest number of jobs, at most 500
-- ARGV[3]  "due" (the score is a due time) or "dying" (the score is the time at which a link dies)
-- ARGV[4]  lease in ms
-- ARGV[5]  nonce
-- ARGV[6]  us between permits, 0 = none needed
-- ARGV[7]  burst tolerance in us
-- ARGV[8]  1 = send each job's outcome along
-- ARGV[9]  ms in which a probe is answered
-- ARGV[10]  for "dying": ms that a copy takes just now
--
-- Returns  {time_us, wait_ms, probe, {job, outcome, {field, value, ...}}, ...}   probe: 1 = the job goes through an open breaker
--          wait_ms: until the next one is due or permitted; -1 = none is known; 0 = there may be more now
local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now_us / 1000)
local time_us = string.format('%.0f', now_us)
local function int(number) return string.format('%.0f', number) end
local prefix, most = ARGV[1], math.min(tonumber(ARGV[2]), 500)
local by_time = ARGV[3] == 'due'

local function with_jobs(reply, ids)
  for _, id in ipairs(ids) do
    local outcome = ARGV[8] == '1' and redis.call('GET', prefix .. 'outcome:' .. id) or ''
    reply[#reply + 1] = {id, outcome, redis.call('HGETALL', prefix .. 'job:' .. id)}
  end
  return reply
end

-- Every read comes before the first write.
local before = redis.call('GET', KEYS[3])
if before then
  local ids = {}
  for id in string.gmatch(before, '%S+') do
    if redis.call('HGET', prefix .. 'job:' .. id, 'n') == ARGV[5] then ids[#ids + 1] = id end
  end
  local probe = tonumber(ARGV[6]) > 0 and ids[1] and redis.call('HGET', KEYS[5], 'probe:query') == ids[1]
  return with_jobs({time_us, 0, probe and 1 or 0}, ids)
end
local step_us, burst_us, full_us = tonumber(ARGV[6]), tonumber(ARGV[7]), now_us
local is_open = false
if step_us > 0 then
  local state = redis.call('HMGET', KEYS[5], 'pause:query', 'open:query')
  -- Beyond an hour, or the permit's minute: written before a clock was set back (take_permit.lua).
  local paused_ms = tonumber(state[1] or 0)
  if paused_ms > now_ms + 3600000 then paused_ms = 0 end
  local paused_until = math.max(paused_ms, tonumber(state[2] or 0))
  if paused_until > now_ms then return {time_us, paused_until - now_ms, 0} end
  full_us = math.max(now_us, tonumber(redis.call('GET', KEYS[4]) or 0))
  if full_us > now_us + 60000000 + step_us then full_us = now_us end
  local granted = math.floor((now_us + burst_us - full_us) / step_us) + 1
  if granted < 1 then return {time_us, math.ceil((full_us - burst_us - now_us) / 1000), 0} end
  is_open = state[2] and true or false
  most = is_open and 1 or math.min(most, granted)
end
local found
if by_time then
  found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now_ms), 'LIMIT', 0, most)
else
  local too_late = int(now_ms + tonumber(ARGV[10]))
  found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. too_late, '+inf', 'LIMIT', 0, most)
  if #found < most then
    local hopeless = redis.call('ZREVRANGEBYSCORE', KEYS[1], too_late, '-inf', 'LIMIT', 0, most - #found)
    for _, id in ipairs(hopeless) do found[#found + 1] = id end
  end
end
local wait_ms = -1
if #found == most then
  wait_ms = 0
elseif by_time then
  local next_due = redis.call('ZRANGE', KEYS[1], #found, #found, 'WITHSCORES')[2]
  if next_due then wait_ms = math.max(1, tonumber(next_due) - now_ms) end
end
local ids, records, gone = {}, {}, {}
for _, id in ipairs(found) do
  local record = redis.call('HMGET', prefix .. 'job:' .. id, 'v', 'f', 'c', 'du')
  record[5] = by_time and redis.call('ZSCORE', KEYS[1], id)
  if record[1] and record[3] ~= '1' then
    ids[#ids + 1], records[#records + 1] = id, record
  else
    gone[#gone + 1] = id -- an entry without its job: what the record says counts
  end
end

for _, id in ipairs(gone) do redis.call('ZREM', KEYS[1], id) end
for i, id in ipairs(ids) do
  -- Never lower than the time, so that a Redis restored from an older copy hands out no fence and no version twice.
  local fence = int(math.max(tonumber(records[i][2] or 0) + 1, now_ms))
  local version = int(math.max(tonumber(records[i][1]) + 1, now_ms))
  redis.call('ZREM', KEYS[1], id)
  redis.call('HSET', prefix .. 'job:' .. id, 'v', version, 'f', fence, 'c', '1', 'n', ARGV[5])
  -- The index knows better when it is due: the provider's list may have moved that.
  local indexed = tonumber(records[i][5] or 0)
  if indexed > 0 and indexed ~= tonumber(records[i][4] or 0) then
    redis.call('HSET', prefix .. 'job:' .. id, 'du', int(indexed))
  end
  redis.call('ZADD', KEYS[2], int(now_ms + tonumber(ARGV[4])), id .. ':' .. fence)
end
if #ids > 0 then
  if step_us > 0 then
    full_us = full_us + step_us * #ids
    -- Kept until it shows that nobody else wants what is free (take_permit.lua).
    redis.call('SET', KEYS[4], int(full_us), 'PX', math.ceil((full_us + step_us - now_us) / 1000) + 1)
  end
  redis.call('SET', KEYS[3], table.concat(ids, ' '), 'PX', 600000)
  if is_open then
    redis.call('HSET', KEYS[5], 'open:query', int(now_ms + tonumber(ARGV[9])), 'probe:query', ids[1])
  end
end
return with_jobs({time_us, wait_ms, is_open and #ids > 0 and 1 or 0}, ids)
