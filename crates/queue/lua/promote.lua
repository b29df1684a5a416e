#!lua flags=allow-oom
-- promote: move what has become due from the waiting sets to where claims look, in a bounded chunk.
--
-- Repeating it is harmless: it moves what the records say, and what is moved is no longer in the waiting set.
--
-- KEYS[1]  keys::delayed()
-- KEYS[2]  keys::wait_archive()
-- KEYS[3]  keys::ready_archive()
-- ARGV[1]  key prefix
-- ARGV[2]  the greatest number of each, at most 500
--
-- Returns  {time_us, moved, wait_ms}   wait_ms until the next is due, -1 = none is known, 0 = there may be more now
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function int(number) return string.format('%.0f', number) end
local prefix, most = ARGV[1], math.min(tonumber(ARGV[2]), 500)
local PRIORITY_SPAN = 4398046511104 -- 2^42, as in commit
-- include begin_of

-- Every read comes before the first write.
local queued = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now_ms), 'LIMIT', 0, most)
local copies = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', int(now_ms), 'LIMIT', 0, most)
local wait_ms = -1
if #queued == most or #copies == most then
  wait_ms = 0
else
  local next_queued = redis.call('ZRANGE', KEYS[1], #queued, #queued, 'WITHSCORES')[2]
  local next_copy = redis.call('ZRANGE', KEYS[2], #copies, #copies, 'WITHSCORES')[2]
  local next_due = math.min(tonumber(next_queued or math.huge), tonumber(next_copy or math.huge))
  if next_due ~= math.huge then wait_ms = math.max(1, next_due - now_ms) end
end
local joins, lanes = {}, {}
for _, id in ipairs(queued) do
  local record = redis.call('HMGET', prefix .. 'job:' .. id, 's', 'm', 'a', 'b', 'p', 'q', 'g')
  if record[1] == 'queued' then
    local pinned_to = record[3] or (record[7] and '@' .. record[7]) or 'any'
    local lane = (record[5] or '5') .. ':' .. (record[4] or '-')
    local place = record[2] .. ':' .. pinned_to
    local ready = prefix .. 'ready:' .. place .. ':' .. lane
    joins[#joins + 1] = {ready, record[6] or '0', id}
    if not lanes[ready] then
      local turns = prefix .. 'turns:' .. place
      local score = begin_of(turns, prefix .. 'vtime:' .. record[2], pinned_to, record[5] or '5')
      local paused = redis.call('HGET', prefix .. 'batch:' .. (record[4] or '-'), 'paused') == '1'
      local lanes_key, name = prefix .. 'lanes:' .. (record[4] or '-'), place .. ':' .. (record[5] or '5')
      lanes[ready] = {turns = turns, lane = lane, lanes_key = lanes_key, name = name, score = score, paused = paused}
    end
  end
end
local ready_copies = {}
for _, id in ipairs(copies) do
  local record = redis.call('HMGET', prefix .. 'job:' .. id, 's', 'dl')
  if record[1] == 'archiving' then ready_copies[#ready_copies + 1] = {record[2] or '0', id} end
end

for _, id in ipairs(queued) do redis.call('ZREM', KEYS[1], id) end
for _, id in ipairs(copies) do redis.call('ZREM', KEYS[2], id) end
for _, join in ipairs(joins) do redis.call('ZADD', join[1], join[2], join[3]) end
for _, turn in pairs(lanes) do
  redis.call('ZADD', turn.lanes_key, 'NX', turn.paused and '1' or '0', turn.name)
  if not turn.paused then redis.call('ZADD', turn.turns, 'NX', turn.score, turn.lane) end
end
for _, copy in ipairs(ready_copies) do redis.call('ZADD', KEYS[3], copy[1], copy[2]) end
return {clock[1] .. string.format('%06d', clock[2]), #joins + #ready_copies, wait_ms}
