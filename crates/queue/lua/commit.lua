#!lua flags=allow-oom
-- commit: replace a job's record, and move it between the indexes.
--
-- The caller computed the new record from the version that it read; a record that has changed since is returned instead, so
-- that the caller applies its event again. The same nonce twice is the same commit: it is answered, not repeated.
--
-- KEYS[1]   keys::job(id)
-- KEYS[2]   keys::events()
-- KEYS[3..] the index keys that the plan names by their place in KEYS
-- ARGV[1]   the job's id
-- ARGV[2]   the version that was read
-- ARGV[3]   nonce
-- ARGV[4]   the state's name after the commit, for the event
-- ARGV[5]   plan, as JSON; every number that is a score or a value is a string:
--             set    {field, value, ...}            del   {field, ...}
--             zadd   {{key, score, member}, ...}    zrem  {{key, member}, ...}
--             incr   {{key, field, by}, ...}
--             join   {{lane key, turns key, batch key, virtual time key, lane, place, seq, lanes key, lane's name there}, ...}   enter a lane
--             leave  {lane key, ...}        leave a lane; the next claim that finds it empty takes its turn away
--             note   {key, line, folds}             append to the history; folds = 1: count it into the last line if that says
--                                                   the same, so that a refusal that comes back does not flush the history
--             blob   {key, value}                   replace the outcome
--             spec   {spec key, json, outcome key}  replace the spec, and drop the outcome of the old one
--             task   {tasks key, tasks_at key, task, owner, ms, how, taken key}
--                    how: "found" in the provider's list: refused if another job owns it;
--                    "answered" by a create: its owner whoever found it before, and that one stands in `taken` to be told
--             extra  {extras key, task, json}       a task that exists and that the job cannot take
--             ended  {batch key, final key, member, "job"}   a job without a batch became final
--                    {batch key, final key, member, "batch", outbox key, entries key}   a job of a batch did: end the batch if it was the
--                    last, and leave its end to be delivered
--             undone {final key, member}            the job is final no more
--             item   {items key, item}              refused if the item's last job is another by now: the item would have two
--
-- Returns   {"ok", time_us, version} | {"missing", time_us} | {"owned", time_us, owner} | {"superseded", time_us, job}
--           | {"conflict", time_us, field, value, ...}
local job_key, plan = KEYS[1], cjson.decode(ARGV[5])
local clock = redis.call('TIME')
local now_us = clock[1] .. string.format('%06d', clock[2])
local function int(number) return string.format('%.0f', number) end
local now_ms = int(clock[1] * 1000 + math.floor(clock[2] / 1000))
local PRIORITY_SPAN = 4398046511104 -- 2^42: a priority class's share of a score
-- include begin_of
-- include end_batch

-- Every read comes before the first write.
local record = redis.call('HMGET', job_key, 'v', 'n')
if not record[1] then return {'missing', now_us} end
if record[2] == ARGV[3] then return {'ok', now_us, record[1]} end
if record[1] ~= ARGV[2] then
  local reply = {'conflict', now_us}
  for _, item in ipairs(redis.call('HGETALL', job_key)) do reply[#reply + 1] = item end
  return reply
end
for _, join in ipairs(plan.join or {}) do
  join.paused = redis.call('HGET', KEYS[join[3]], 'paused')
  join.score = begin_of(KEYS[join[2]], KEYS[join[4]], join[6], string.sub(join[5], 1, 1))
end
local note, repeated = plan.note and plan.note[2], false
if plan.note and plan.note[3] == '1' then
  local last = redis.call('LINDEX', KEYS[plan.note[1]], -1)
  local readable, old = pcall(cjson.decode, last or '')
  local new = cjson.decode(note)
  if last and readable and old.what == new.what and old.code == new.code and old.account == new.account then
    new.times, new.since = (old.times or 1) + 1, old.since or old.at
    note, repeated = cjson.encode(new), true
  end
end
local task = plan.task
local owner = task and redis.call('HGET', KEYS[task[1]], task[3])
local anothers = owner and string.match(owner, '^[^:]*') ~= ARGV[1]
if anothers and task[6] == 'found' then return {'owned', now_us, owner} end
local last = plan.item and redis.call('HGET', KEYS[plan.item[1]], plan.item[2])
if last and last ~= ARGV[1] then return {'superseded', now_us, last} end
local batch = plan.ended and redis.call('HMGET', KEYS[plan.ended[1]], 'left', 'sealed')

-- The last job of its batch: the batch as it will be, for who is told of its end.
local ending
if batch and plan.ended[4] == 'batch' and tonumber(batch[1] or 0) <= 1 and batch[2] == '1' then
  ending = redis.call('HGETALL', KEYS[plan.ended[1]])
  local at = {}
  for i = 1, #ending, 2 do at[ending[i]] = i + 1 end
  for _, item in ipairs(plan.incr or {}) do
    if item[1] == plan.ended[1] then
      if not at[item[2]] then
        ending[#ending + 1] = item[2]
        ending[#ending + 1] = '0'
        at[item[2]] = #ending
      end
      ending[at[item[2]]] = int(tonumber(ending[at[item[2]]]) + tonumber(item[3]))
    end
  end
end

local version = string.format('%.0f', tonumber(record[1]) + 1)
redis.call('HSET', job_key, 'v', version, 'n', ARGV[3])
for i = 1, #(plan.set or {}), 2 do redis.call('HSET', job_key, plan.set[i], plan.set[i + 1]) end
for _, field in ipairs(plan.del or {}) do redis.call('HDEL', job_key, field) end
for _, item in ipairs(plan.zrem or {}) do redis.call('ZREM', KEYS[item[1]], item[2]) end
for _, item in ipairs(plan.zadd or {}) do redis.call('ZADD', KEYS[item[1]], item[2], item[3]) end
for _, item in ipairs(plan.incr or {}) do redis.call('HINCRBY', KEYS[item[1]], item[2], item[3]) end
for _, lane in ipairs(plan.leave or {}) do redis.call('ZREM', KEYS[lane], ARGV[1]) end
for _, join in ipairs(plan.join or {}) do
  redis.call('ZADD', KEYS[join[1]], join[7], ARGV[1])
  redis.call('ZADD', KEYS[join[8]], 'NX', join.paused == '1' and '1' or '0', join[9])
  if join.paused ~= '1' then redis.call('ZADD', KEYS[join[2]], 'NX', join.score, join[5]) end
end
if repeated then
  redis.call('LSET', KEYS[plan.note[1]], -1, note)
elseif note then
  redis.call('RPUSH', KEYS[plan.note[1]], note)
  redis.call('LTRIM', KEYS[plan.note[1]], -100, -1)
end
if plan.spec then
  redis.call('SET', KEYS[plan.spec[1]], plan.spec[2])
  redis.call('DEL', KEYS[plan.spec[3]])
end
if plan.blob then redis.call('SET', KEYS[plan.blob[1]], plan.blob[2]) end
if task and (anothers or not owner) then
  redis.call('HSET', KEYS[task[1]], task[3], task[4])
  redis.call('ZADD', KEYS[task[2]], task[5], task[3])
end
if anothers then redis.call('HSET', KEYS[task[7]], task[3], owner) end
if plan.extra then redis.call('HSETNX', KEYS[plan.extra[1]], plan.extra[2], plan.extra[3]) end
if batch then
  redis.call('HINCRBY', KEYS[plan.ended[1]], 'left', -1)
  if plan.ended[4] == 'job' then
    redis.call('ZADD', KEYS[plan.ended[2]], now_ms, plan.ended[3])
    redis.call('HSET', KEYS[plan.ended[1]], 'ended_at', now_ms)
  elseif ending then
    local outbox, entries = KEYS[plan.ended[5]], KEYS[plan.ended[6]]
    end_batch(KEYS[plan.ended[1]], KEYS[plan.ended[2]], outbox, entries, plan.ended[3], ending, now_ms)
  end
end
if plan.undone then redis.call('ZREM', KEYS[plan.undone[1]], plan.undone[2]) end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', 'job', ARGV[1], 'state', ARGV[4])
return {'ok', now_us, version}
