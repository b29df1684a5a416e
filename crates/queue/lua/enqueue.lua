-- enqueue: accept up to 250 jobs of one batch, each only if it is not there yet.
--
-- Idempotent by job id: repeating a call, or the same file a week later, adds nothing. Refused by Redis itself when it is out
-- of memory, before anything is written: this script has no allow-oom flag.
--
-- KEYS[1]  keys::batch(batch)
-- KEYS[2]  keys::members(batch)
-- KEYS[3]  keys::batches()
-- KEYS[4]  keys::counts()
-- KEYS[5]  keys::seq()
-- KEYS[6]  keys::delayed()
-- KEYS[7]  keys::ended()
-- KEYS[8]  keys::tombstones()
-- KEYS[9]  keys::events()
-- KEYS[10] keys::lanes(batch)
-- KEYS[11] keys::items(collection) of jobs that refresh items
-- KEYS[12] keys::schedule(name), where the jobs are those of a tick
-- ARGV[1]  key prefix
-- ARGV[2]  batch, or -
-- ARGV[3]  digest of the source that jobs come from, or nothing
-- ARGV[4]  lines of that source: with its first new job the batch keeps a range of places for all of them (`base:<digest>`), and the
--          same range when it comes again, so that the order is that of the lines whatever comes when
-- ARGV[5]  the fence of that tick, or nothing
-- ARGV[6..] for each job: id, spec, digest, model, place (an account, @ and a region, or any), images, priority, due ms or 0,
--          shape, line in the source or 0, item of the collection or nothing, the item's last job as the caller saw it or nothing
--
-- Returns  {time_us, answers}   answers: a letter for each job: n new, s same, c changed (another spec under the same id),
--                               t the same id was there before and retention removed it
--                               b its item is busy: another job is the last one by now, or that one is not over
--                               or "tick lost": nothing was enqueued. The tick has ended, and its batch with it, or is another
--                               scheduler's: who slept meanwhile must not put jobs behind what was said of it
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function int(number) return string.format('%.0f', number) end
local prefix, batch = ARGV[1], ARGV[2]
local source, lines = ARGV[3], tonumber(ARGV[4])
local PRIORITY_SPAN = 4398046511104 -- 2^42, as in commit
-- include begin_of

-- An item has one job at a time, whoever enqueues: what was planned when another job was its last one is not enqueued.
local OVER = {succeeded = true, failed = true, canceled = true, expired = true}
local function is_busy(item, saw)
  if item == '' then return false end
  local last = redis.call('HGET', KEYS[11], item) or ''
  if last ~= saw then return true end
  local state = last ~= '' and redis.call('HGET', prefix .. 'job:' .. last, 's')
  return state and not OVER[state]
end

-- Every read comes before the first write.
local time_us = clock[1] .. string.format('%06d', clock[2])
local tick = ARGV[5] ~= '' and redis.call('HMGET', KEYS[12], 'tick', 'fence')
if tick and (not tick[1] or tick[2] ~= ARGV[5]) then return {time_us, 'tick lost'} end
local paused = redis.call('HGET', KEYS[1], 'paused') == '1'
local base = source ~= '' and redis.call('HGET', KEYS[1], 'base:' .. source)
local answers, fresh, seen, lanes = {}, {}, {}, {}
for i = 6, #ARGV, 12 do
  local id, digest = ARGV[i], ARGV[i + 2]
  local known = seen[id] or redis.call('HGET', prefix .. 'job:' .. id, 'd')
  if known then
    answers[#answers + 1] = known == digest and 's' or 'c'
  elseif redis.call('ZSCORE', KEYS[8], id) then
    answers[#answers + 1] = 't'
  elseif is_busy(ARGV[i + 10], ARGV[i + 11]) then
    answers[#answers + 1] = 'b'
  else
    answers[#answers + 1] = 'n'
    seen[id] = digest
    fresh[#fresh + 1] = i
    local place = ARGV[i + 3] .. ':' .. ARGV[i + 4]
    local lane = ARGV[i + 6] .. ':' .. batch
    local ready = prefix .. 'ready:' .. place .. ':' .. lane
    if tonumber(ARGV[i + 7]) <= now_ms and not lanes[ready] then
      local turns = prefix .. 'turns:' .. place
      local score = begin_of(turns, prefix .. 'vtime:' .. ARGV[i + 3], ARGV[i + 4], ARGV[i + 6])
      lanes[ready] = {turns = turns, lane = lane, name = place .. ':' .. ARGV[i + 6], score = score}
    end
  end
end
if #fresh == 0 then return {time_us, table.concat(answers)} end

local unplaced = 0
for _, i in ipairs(fresh) do
  if ARGV[i + 9] == '0' then unplaced = unplaced + 1 end
end
if unplaced < #fresh and not base then
  base = int(redis.call('INCRBY', KEYS[5], lines) - lines)
  redis.call('HSET', KEYS[1], 'base:' .. source, base)
end
local seq = unplaced > 0 and redis.call('INCRBY', KEYS[5], unplaced) - unplaced
local images = 0
for _, i in ipairs(fresh) do
  local id, model, pinned_to, priority, due = ARGV[i], ARGV[i + 3], ARGV[i + 4], ARGV[i + 6], tonumber(ARGV[i + 7])
  local line, place = tonumber(ARGV[i + 9]), nil
  if line > 0 then
    place = int(tonumber(base) + line)
  else
    seq = seq + 1
    place = int(seq)
  end
  redis.call('SET', prefix .. 'spec:' .. id, ARGV[i + 1])
  local fields = {'s', 'queued', 'v', '1', 'm', model, 'x', ARGV[i + 5], 'p', priority, 'q', place, 'e', int(now_ms), 'd', ARGV[i + 2], 'sz', ARGV[i + 8]}
  if batch ~= '-' then fields[#fields + 1] = 'b' fields[#fields + 1] = batch end
  if string.sub(pinned_to, 1, 1) == '@' then
    fields[#fields + 1] = 'g' fields[#fields + 1] = string.sub(pinned_to, 2)
  elseif pinned_to ~= 'any' then
    fields[#fields + 1] = 'a' fields[#fields + 1] = pinned_to
  end
  if due > now_ms then fields[#fields + 1] = 'du' fields[#fields + 1] = int(due) end
  redis.call('HSET', prefix .. 'job:' .. id, unpack(fields)) -- at most 24 values
  redis.call('ZADD', KEYS[2], place, id)
  if due > now_ms then
    redis.call('ZADD', KEYS[6], int(due), id)
  else
    redis.call('ZADD', prefix .. 'ready:' .. model .. ':' .. pinned_to .. ':' .. priority .. ':' .. batch, place, id)
  end
  if ARGV[i + 10] ~= '' then redis.call('HSET', KEYS[11], ARGV[i + 10], id) end
  images = images + tonumber(ARGV[i + 5])
end
for _, turn in pairs(lanes) do
  redis.call('ZADD', KEYS[10], 'NX', paused and '1' or '0', turn.name)
  if not paused then redis.call('ZADD', turn.turns, 'NX', turn.score, turn.lane) end
end
redis.call('HSETNX', KEYS[1], 'created_at', int(now_ms))
redis.call('HSET', KEYS[1], 'sealed', '0')
redis.call('HINCRBY', KEYS[1], 'total', #fresh)
redis.call('HINCRBY', KEYS[1], 'left', #fresh)
redis.call('HINCRBY', KEYS[1], 'queued', #fresh)
redis.call('HINCRBY', KEYS[1], 'expected', images)
redis.call('HINCRBY', KEYS[4], 'queued', #fresh)
redis.call('ZADD', KEYS[3], 'NX', int(now_ms), batch)
redis.call('ZREM', KEYS[7], 'batch:' .. batch)
redis.call('XADD', KEYS[9], 'MAXLEN', '~', 10000, '*', 'batch', batch, 'queued', #fresh)
return {time_us, table.concat(answers)}
