#!lua flags=allow-oom
-- repair: put right the index entries of jobs that do not stand where their records say.
--
-- The caller computed each job's places from the record that it read (queue/src/repair.rs). A job whose version is another one by now
-- is left alone: it moved meanwhile, and whoever moved it put it where it belongs. Repeating the call is harmless, and counts
-- nothing twice: what the first one put right is in order for the second.
--
-- KEYS[1]   keys::repairs()
-- KEYS[2..] the index keys that a job's entries name by their place in KEYS
-- ARGV[1]   key prefix
-- ARGV[2]   lease in ms: a lease that is lost is granted anew, and runs out unless its worker lives
-- ARGV[3]   jobs as JSON, at most 500; every score is a string:
--             id       the job
--             version  the version that was read; empty: there was no such record
--             want     {{kind, {{key, score, member, from ms}, ...}}, ...}   one of them must be there; if none is, the first whose
--                      `from` has come is put there; the score "lease" is one lease from now
--             ban      {{kind, key, member}, ...}   must not be there
--             turn     {lane key, turns key, batch key, virtual time key, lane, place, lanes key, lane's name there}   if the job is
--                      in the lane, that is known among its batch's, and has its turn if and only if the batch is not paused, and does not
--                      wait for its budget with this lane
--
-- Returns   {time_us, {job, kind}, ...}   what was put right
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function int(number) return string.format('%.0f', number) end
local PRIORITY_SPAN = 4398046511104 -- 2^42, as in commit
-- include begin_of
local jobs = cjson.decode(ARGV[3])

-- Every read comes before the first write.
local adds, removals, lanes, reply, kinds = {}, {}, {}, {clock[1] .. string.format('%06d', clock[2])}, {}
local function note(job, kind)
  reply[#reply + 1] = {job.id, kind}
  kinds[kind] = (kinds[kind] or 0) + 1
end
for at, job in ipairs(jobs) do
  if at > 500 then break end
  local version = redis.call('HGET', ARGV[1] .. 'job:' .. job.id, 'v') or ''
  if version == job.version then
    local in_lane = false
    for _, want in ipairs(job.want or {}) do
      local found, target
      for _, entry in ipairs(want[2]) do
        if redis.call('ZSCORE', KEYS[entry[1]], entry[3]) then found = found or entry end
        if not target and tonumber(entry[4]) <= now_ms then target = entry end
      end
      if not found then
        found = target
        adds[#adds + 1] = target
        note(job, want[1])
      end
      if job.turn and found[1] == job.turn[1] then in_lane = true end
    end
    for _, ban in ipairs(job.ban or {}) do
      if redis.call('ZSCORE', KEYS[ban[2]], ban[3]) then
        removals[#removals + 1] = ban
        note(job, ban[1])
      end
    end
    local turn = job.turn
    if in_lane and not lanes[turn[1]] then
      local lane = {known = redis.call('ZSCORE', KEYS[turn[7]], turn[8]), turn = turn}
      local score = redis.call('ZSCORE', KEYS[turn[2]], turn[5])
      local batch = redis.call('HMGET', KEYS[turn[3]], 'paused', 'waits_since')
      lane.paused = batch[1] == '1'
      -- Out of its turns by a claim that found no room in the budget: bring_back brings it back.
      local waits = batch[2] and tonumber(lane.known or 0) > 0
      if not lane.known then note(job, 'lane') end
      if lane.paused and score then
        -- A pause that did not know of the lane: it keeps the time that it had come to, as in pause_batch.
        lane.kept = int(tonumber(score) + 1)
        note(job, 'extra_turn')
      elseif not lane.paused and not score and not waits then
        lane.begins = begin_of(KEYS[turn[2]], KEYS[turn[4]], turn[6], string.sub(turn[5], 1, 1))
        note(job, 'turn')
      end
      lanes[turn[1]] = lane
    end
  end
end

for _, ban in ipairs(removals) do redis.call('ZREM', KEYS[ban[2]], ban[3]) end
for _, entry in ipairs(adds) do
  local score = entry[2]
  if score == 'lease' then score = int(now_ms + tonumber(ARGV[2])) end
  redis.call('ZADD', KEYS[entry[1]], score, entry[3])
end
for _, lane in pairs(lanes) do
  local turn = lane.turn
  -- One that stood out of its turns for a reason that is no more is as if it were new.
  if not lane.known or lane.kept or lane.begins then redis.call('ZADD', KEYS[turn[7]], lane.kept or (lane.paused and '1' or '0'), turn[8]) end
  if lane.kept then redis.call('ZREM', KEYS[turn[2]], turn[5]) end
  if lane.begins then redis.call('ZADD', KEYS[turn[2]], lane.begins, turn[5]) end
end
for kind, number in pairs(kinds) do redis.call('HINCRBY', KEYS[1], kind, number) end
return reply
