#!lua flags=allow-oom
-- bring_back: give lanes their turns again whose batch has room in its budget by now.
--
-- claim_submit takes a lane out of its turns when its batch has no room for the lane's next job, and notes the batch here. Money comes
-- back in many ways: a task that failed, or brought fewer images; a price that fell; a budget that was raised, in the batch or in
-- the settings. So nobody tells: this looks at what stands there, again and again, by any worker, and no call that fails or is lost
-- loses anything. Whether a job is claimed is decided by the claim alone: a lane that comes back too early is taken out again.
--
-- Each call looks at those batches that were looked at longest ago. A batch that is paused by hand is only forgotten here: its lanes come
-- back with the end of the pause (pause_batch). Repeating the call is harmless.
--
-- KEYS[1]  keys::waiting_batches()
-- KEYS[2]  keys::events()
-- ARGV[1]  key prefix
-- ARGV[2]  the greatest number of batches, at most 100
-- ARGV[3]  the budget of a batch that has none of its own, -1 = none
-- ARGV[4]  what an image costs, as JSON     {"wan2.7-image-pro":"75000","wan2.7-image":"30000"}
--
-- Returns  {time_us, lanes that came back, batches that wait on}
local clock = redis.call('TIME')
local time_us = clock[1] .. string.format('%06d', clock[2])
local function int(number) return string.format('%.0f', number) end
local now_ms = int(clock[1] * 1000 + math.floor(clock[2] / 1000))
local prefix, most = ARGV[1], math.min(tonumber(ARGV[2]), 100)
local PRIORITY_SPAN = 4398046511104 -- 2^42, as in commit
-- include begin_of

-- Every read comes before the first write. A lane's score in `lanes`: 0 = it has its turn, else the virtual time that it had come to, and 1.
local names = redis.call('ZRANGE', KEYS[1], 0, most - 1)
if #names == 0 then return {time_us, 0, 0} end
local prices = cjson.decode(ARGV[4])
local LANES = 500 -- of all batches of one call
local batches, looked_at = {}, 0
for _, name in ipairs(names) do
  local fields = redis.call('HMGET', prefix .. 'batch:' .. name, 'budget', 'cost', 'reserved_cost', 'paused', 'extra_cost')
  local batch = {name = name, back = {}, waits = false}
  if fields[4] ~= '1' then
    local budget = tonumber(fields[1] or ARGV[3]) or -1 -- what is no number is `none`
    local spent = tonumber(fields[2] or 0) + tonumber(fields[3] or 0) + tonumber(fields[5] or 0)
    local lanes = redis.call('ZRANGEBYSCORE', prefix .. 'lanes:' .. name, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, LANES)
    for at = 1, #lanes, 2 do
      looked_at = looked_at + 1
      local model, place, priority = string.match(lanes[at], '^([^:]*):([^:]*):([^:]*)$')
      local lane = {name = lanes[at], turns = prefix .. 'turns:' .. model .. ':' .. place, member = priority .. ':' .. name}
      local id = redis.call('ZRANGE', prefix .. 'ready:' .. model .. ':' .. place .. ':' .. lane.member, 0, 0)[1]
      local images = id and tonumber(redis.call('HGET', prefix .. 'job:' .. id, 'x') or 1)
      if not id or budget < 0 or spent + images * tonumber(prices[model] or 0) <= budget then
        local own = tonumber(lanes[at + 1]) - 1
        lane.score = id and math.max(own, tonumber(begin_of(lane.turns, prefix .. 'vtime:' .. model, place, priority)))
        batch.back[#batch.back + 1] = lane
      else
        batch.waits = true
      end
    end
    if #lanes == LANES * 2 then batch.waits = true end
  end
  batches[#batches + 1] = batch
  if looked_at >= LANES then break end
end

local back, waiting = 0, 0
for _, batch in ipairs(batches) do
  for _, lane in ipairs(batch.back) do
    redis.call('ZADD', prefix .. 'lanes:' .. batch.name, '0', lane.name)
    if lane.score then
      redis.call('ZADD', lane.turns, 'NX', int(lane.score), lane.member)
      back = back + 1
    end
  end
  if batch.waits then
    redis.call('ZADD', KEYS[1], now_ms, batch.name)
    waiting = waiting + 1
  else
    redis.call('ZREM', KEYS[1], batch.name)
    redis.call('HDEL', prefix .. 'batch:' .. batch.name, 'waits_since')
  end
end
if back > 0 then redis.call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', 'resumed', 'budget') end
return {time_us, back, waiting}
