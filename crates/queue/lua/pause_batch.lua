#!lua flags=allow-oom
-- pause_batch: stop a batch's jobs from being claimed for submit, or let them be claimed again.
--
-- Works on the batch's lanes, of which there are few (models, places and priorities), whatever number of jobs stands in them. A pause
-- takes the lanes out of their `turns`, so that no claim looks at them; a lane that is joined meanwhile stays out, because whoever
-- joins one looks at the batch's `paused`. Each lane keeps the virtual time that it had come to: it comes back at that or where a
-- new one would begin, whichever is later, so that a pause is worth no turn. Repeating the call is harmless: the first pause stands, with
-- its reason.
--
-- A command may hold a batch for as long as it runs. A person's pause takes the place of such a hold, and stays when it is let go.
--
-- KEYS[1]  keys::batch(batch)
-- KEYS[2]  keys::lanes(batch)
-- KEYS[3]  keys::paused()
-- KEYS[4]  keys::events()
-- ARGV[1]  key prefix
-- ARGV[2]  batch
-- ARGV[3]  pause, resume, hold, or let_go
-- ARGV[4]  who and why, as JSON; the script adds since when
-- ARGV[5]  the greatest number of lanes, at most 500
--
-- Returns  {time_us, word, more}   word: missing (there is no such batch), done, same (it was so already); more: 1 = call again
local clock = redis.call('TIME')
local time_us = clock[1] .. string.format('%06d', clock[2])
local function int(number) return string.format('%.0f', number) end
local prefix, batch, word, most = ARGV[1], ARGV[2], ARGV[3], math.min(tonumber(ARGV[5]), 500)
local pauses = word == 'pause' or word == 'hold'
local PRIORITY_SPAN = 4398046511104 -- 2^42, as in commit
-- include begin_of

-- Every read comes before the first write. A lane's score in `lanes`: 0 = not paused, else the virtual time that it had come to, and 1.
local known = redis.call('HMGET', KEYS[1], 'created_at', 'paused')
if not known[1] then return {time_us, 'missing', 0} end
local was_paused = known[2] == '1'
local readable, before = pcall(cjson.decode, redis.call('HGET', KEYS[3], 'batch:' .. batch) or '')
local is_held = was_paused and readable and type(before) == 'table' and before.held == true
if word == 'let_go' and was_paused and not is_held then return {time_us, 'same', 0} end
local is_new = pauses and (not was_paused or (is_held and word == 'pause'))
local found = redis.call('ZRANGEBYSCORE', KEYS[2], pauses and '0' or '(0', pauses and '0' or '+inf', 'WITHSCORES', 'LIMIT', 0, most)
local lanes = {}
for at = 1, #found, 2 do
  local model, place, priority = string.match(found[at], '^([^:]*):([^:]*):([^:]*)$')
  local lane = {name = found[at], turns = prefix .. 'turns:' .. model .. ':' .. place, member = priority .. ':' .. batch}
  if pauses then
    lane.score = tonumber(redis.call('ZSCORE', lane.turns, lane.member) or 0)
  else
    lane.score = math.max(tonumber(found[at + 1]) - 1, tonumber(begin_of(lane.turns, prefix .. 'vtime:' .. model, place, priority)))
    lane.waits = redis.call('EXISTS', prefix .. 'ready:' .. model .. ':' .. place .. ':' .. lane.member) == 1
  end
  lanes[#lanes + 1] = lane
end
-- A lane that waits for the batch's budget has no turn either, but for one that was joined meanwhile: the next claim would take it away.
local joined = pauses and redis.call('ZRANGEBYSCORE', KEYS[2], '(0', '+inf', 'LIMIT', 0, most) or {}

if is_new then
  local note = cjson.decode(ARGV[4])
  if word == 'hold' then note.held = true end
  note.since_ms = int(clock[1] * 1000 + math.floor(clock[2] / 1000))
  redis.call('HSET', KEYS[1], 'paused', '1')
  redis.call('HSET', KEYS[3], 'batch:' .. batch, cjson.encode(note))
elseif was_paused and not pauses then
  redis.call('HDEL', KEYS[1], 'paused')
  redis.call('HDEL', KEYS[3], 'batch:' .. batch)
end
for _, name in ipairs(joined) do
  local model, place, priority = string.match(name, '^([^:]*):([^:]*):([^:]*)$')
  redis.call('ZREM', prefix .. 'turns:' .. model .. ':' .. place, priority .. ':' .. batch)
end
for _, lane in ipairs(lanes) do
  if pauses then
    redis.call('ZREM', lane.turns, lane.member)
    redis.call('ZADD', KEYS[2], int(lane.score + 1), lane.name)
  else
    redis.call('ZADD', KEYS[2], '0', lane.name)
    if lane.waits then redis.call('ZADD', lane.turns, 'NX', int(lane.score), lane.member) end
  end
end
if not pauses and #lanes > 0 then redis.call('XADD', KEYS[4], 'MAXLEN', '~', 10000, '*', 'resumed', 'batch:' .. batch) end
return {time_us, (is_new or was_paused ~= pauses) and 'done' or 'same', #lanes == most and 1 or 0}
