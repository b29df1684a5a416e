#!lua flags=allow-oom
-- claim_submit: hand one queued job to a worker, with everything that its create call needs.
--
-- Takes, in one step: the permit of the account's create rate, one of its places at the provider, the turn of the batch, the
-- day's allowance. Writes the attempt into the record before a byte is sent, with the time after which nothing may be sent.
-- The permit is for a time, a little ahead: the create is to be sent then, so that what comes between does not bunch creates.
-- The same nonce twice gives the same job, and the same time. Through an open breaker goes one probe, once its wait is over, and the next only
-- when that one was answered or its window has passed.
--
-- A job that may run elsewhere is left to the account that can start it soonest: one that has no place among those processed at once
-- leaves it to one that has, and of two that have, to the one with the smaller share of them taken (by weight). Only an account that
-- could take the job this very moment counts: not paused, its breakers closed, with a permit, with money and images
-- left today for this job, and asking: one that has not asked for 3 s has no worker any more, and nobody waits for it. So some account
-- always takes the job, if any can.
--
-- Whose turn it is goes by virtual time, in images: the lane that had fewest goes first. Three sets of lanes meet here, each with a time of
-- its own: `any`, the region's, the account's. Where accounts differ in speed, or stood still, a set may lie far behind `any`; more
-- than CREDIT of that is no claim to what it has missed: the whole set is then taken as so much further on (`behind`), so that its
-- lanes keep their order, and none starves the others. A lane that begins does so in its own set's time (begin_of in enqueue.lua).
--
-- Budgets are money, in millionths: of a batch for good, of an account and of everything for a UTC day. The most that the job can cost
-- is reserved with its place, in the record (`ar`) and, by the same amount, in `reserved_cost` of the batch, the account and the counts;
-- the commit after which the attempt cannot be billed any more gives it back by what the record says, and books what was billed. Nothing is claimed unless what is
-- booked, what is reserved and this job together stay within each budget: so claims never exceed one. Around midnight the budgets of
-- both days hold, since the day that a commit books on is by a worker's idea of the time.
-- A lane whose next job is too dear for what is left of a day keeps its turn, and others go before it: it is first again when there is room.
-- A lane whose batch has no room for its next job leaves its turns, as in a pause; bring_back.lua brings it back. So a claim
-- looks once at such a lane, whatever number of jobs stands in it.
--
-- Each claim is counted. A worker that has seen a higher counter, or another incarnation, than Redis shows knows that Redis was
-- restored from an older copy: what it lost may have been paid for, so nothing is claimed. After a start of Redis nothing is
-- claimed for a while, so that every worker that lives has looked by then.
--
-- KEYS[1]  keys::permits(account, "create:<model>")
-- KEYS[2]  keys::slots(account, model)
-- KEYS[3]  keys::account(account)
-- KEYS[4]  keys::turns(model, account)
-- KEYS[5]  keys::turns(model, any)
-- KEYS[6]  keys::leases()
-- KEYS[7]  keys::counts()
-- KEYS[8]  keys::reply(nonce)
-- KEYS[9]  keys::ledger(today)
-- KEYS[10] keys::virtual_time(model)
-- KEYS[11] keys::claims()
-- KEYS[12] keys::incarnation()
-- KEYS[13] keys::paused()
-- KEYS[14] keys::turns(model, the account's region), or KEYS[5] again if it has none
-- KEYS[15] keys::ledger(the day of a minute ago)
-- KEYS[16] keys::ledger(the day in a minute)
-- KEYS[17] keys::waiting_batches()
-- KEYS[18..] for each other account: keys::slots(other, model), keys::account(other), keys::permits(other, "create:<model>")
-- ARGV[1]  key prefix                        {imagemill}:
-- ARGV[2]  account                           singapore
-- ARGV[3]  model                             wan2.7-image-pro
-- ARGV[4]  us between permits                210527
-- ARGV[5]  us before which it cannot be sent: what lies between a claim and its create    20000
-- ARGV[6]  places at the provider            10
-- ARGV[7]  lease in ms                       10000
-- ARGV[8]  ms in which it may be sent        5000
-- ARGV[9]  images a day for this account, 0 = no limit
-- ARGV[10] nonce
-- ARGV[11] ms in which a probe is answered   65000
-- ARGV[12] the highest counter of claims that this worker has seen
-- ARGV[13] the incarnation that it knows, empty if none
-- ARGV[14] ms in which nothing is claimed after a start of Redis
-- ARGV[15] as JSON: region (empty if it has none), at_once (places processed at once), weight; others: accounts that have the model,
--          at most 16, each with name, region, at_once, weight, step_us (between its permits), day_max and budget (as ARGV[9] and ARGV[21])
-- ARGV[16] us which a job may be claimed ahead of its time, ARGV[5] among them    120000
-- ARGV[17] ms without a refusal after which more places are tried    60000
-- ARGV[18] the longest such time in ms       600000
-- ARGV[19] what an image costs               75000
-- ARGV[20] the budget of a day for everything, -1 = none
-- ARGV[21] the budget of a day for this account, -1 = none
-- ARGV[22] the budget of a batch that has none of its own, -1 = none
--
-- Returns  {"claimed", time_us, counter, incarnation, at_us, job, spec, field, value, ...}    at_us: when it is to be sent
--          "probe" in place of "claimed": the job goes through an open breaker
--        | {"wait", time_us, counter, incarnation, why, wait_ms}
--          why: empty, permit, slots, paused (also: a breaker is open), by_hand, elsewhere (another account is to take it), day;
--          budget_day, budget_account: there is no room for the next job;
--          restored: see recover.lua; recovering: that, or a
--          start of Redis, is not long enough ago
local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now_us / 1000)
local time_us = string.format('%.0f', now_us)
local function int(number) return string.format('%.0f', number) end
local prefix, account, model = ARGV[1], ARGV[2], ARGV[3]

-- Every read comes before the first write.
local claims = tonumber(redis.call('GET', KEYS[11]) or 0)
local known = redis.call('HMGET', KEYS[12], 'word', 'held', 'run')
local incarnation = known[1] or ''
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local function wait(why, wait_ms) return {'wait', time_us, int(claims), incarnation, why, wait_ms} end
if claims < tonumber(ARGV[12]) or (ARGV[13] ~= '' and incarnation ~= ARGV[13]) then return wait('restored', -1) end
local calls = {'create', 'create:' .. model}
local function answer(word, id, at_us, spec, record)
  local reply = {word, time_us, int(claims), incarnation, at_us, id, spec}
  for field, value in pairs(record) do reply[#reply + 1] = field reply[#reply + 1] = value end
  return reply
end
local function record_of(id)
  local record, items = {}, redis.call('HGETALL', prefix .. 'job:' .. id)
  for at = 1, #items, 2 do record[items[at]] = items[at + 1] end
  return record
end
local function spec_of(id) return redis.call('GET', prefix .. 'spec:' .. id) or '' end

local reply = redis.call('GET', KEYS[8])
if reply then
  -- An older version kept no time: then it is overdue.
  local before, at_us = string.match(reply, '^(%S+) ?(%d*)$')
  if at_us == '' then at_us = '0' end
  -- The same call again: the same job, if it still is where this call put it. Also after a start of Redis: the claim is there,
  -- and whoever made it knows best whether it may still be sent.
  local record = record_of(before)
  if record.n == ARGV[10] then
    local probes = redis.call('HMGET', KEYS[3], 'probe:' .. calls[1], 'probe:' .. calls[2])
    local token = before .. ':' .. (record.k or '0')
    return answer((probes[1] == token or probes[2] == token) and 'probe' or 'claimed', before, at_us, spec_of(before), record)
  end
  return wait('empty', 0)
end
if known[3] and known[3] ~= run then
  local held = math.max(now_ms + tonumber(ARGV[14]), tonumber(known[2] or 0))
  redis.call('HSET', KEYS[12], 'run', run, 'held', int(held))
  return wait('recovering', held - now_ms)
end
-- A time beyond an hour is a clock that jumped.
local held_ms = tonumber(known[2] or 0) - now_ms
if held_ms > 0 and held_ms <= 3600000 then return wait('recovering', held_ms) end

local by_hand = redis.call('HMGET', KEYS[13], 'all', 'model:' .. model, 'account:' .. account, 'account:' .. account .. ':' .. model)
if by_hand[1] or by_hand[2] or by_hand[3] or by_hand[4] then return wait('by_hand', -1) end
local paused = redis.call('HMGET', KEYS[3], 'pause:create:' .. model, 'reserved', 'open:create', 'open:create:' .. model,
  'places:' .. model, 'places_at:' .. model, 'places_row:' .. model, 'places_up:' .. model, 'reserved_cost')
-- No pause is for more than an hour: one that lasts longer was written before a clock was set back.
local function pause_until(ms)
  ms = tonumber(ms or 0)
  return ms - now_ms <= 3600000 and ms or 0
end
local paused_until = math.max(pause_until(paused[1]), tonumber(paused[3] or 0), tonumber(paused[4] or 0))
if paused_until > now_ms then return wait('paused', paused_until - now_ms) end
local me = cjson.decode(ARGV[15])
-- Fewer places than configured, where the provider refused more (lower_places.lua); with all of them taken, an eighth more is tried
-- after a quiet time: as many, and as late, as the rule in src/allowed.rs says.
local places, used = tonumber(ARGV[6]), redis.call('ZCARD', KEYS[2])
local most, tries_more = places, false
if paused[5] and tonumber(paused[5]) < places then
  local quiet_ms = math.min(tonumber(ARGV[17]) * 2 ^ math.min(tonumber(paused[7] or 0), 16), tonumber(ARGV[18]))
  places = tonumber(paused[5])
  -- A time that lies ahead is of a clock that was set back.
  local quiet_for_ms = now_ms - tonumber(paused[6] or 0)
  tries_more = used == places and (quiet_for_ms < 0 or quiet_for_ms >= quiet_ms)
end
local is_full = used >= places and not tries_more
-- GCRA: the key holds the time at which the allowance is full again. A time beyond a minute is a clock that jumped: held to that
-- minute it would be that far away at each call.
local function full_at(key, step_us)
  local full_us = math.max(now_us, tonumber(redis.call('GET', key) or 0))
  return full_us > now_us + 60000000 + step_us and now_us or full_us
end
local full_us = full_at(KEYS[1], tonumber(ARGV[4]))
local wait_us = full_us - tonumber(ARGV[16]) - now_us
-- The sign that this account would take a job if it could. One that stands alone need not give it.
local seen_ms = #me.others > 0 and tonumber(redis.call('HGET', KEYS[3], 'seen:' .. model) or 0)
local function give_sign()
  if seen_ms and math.abs(now_ms - seen_ms) >= 1000 then redis.call('HSET', KEYS[3], 'seen:' .. model, int(now_ms)) end
end
-- Which of the day's limits of an account has no room for so many images, if any. A minute after a day's end its ledger is looked at no more.
-- `of`: its name, day_max and budget, and what it has reserved (images, cost).
local price, day_budget = tonumber(ARGV[19]), tonumber(ARGV[20])
local mine = {name = account, day_max = tonumber(ARGV[9]), budget = tonumber(ARGV[21]), images = tonumber(paused[2] or 0), cost = tonumber(paused[9] or 0)}
local ledgers, all_reserved = {}, nil
local function short_of(of, images)
  if of.day_max <= 0 and day_budget < 0 and of.budget < 0 then return nil end
  local known = ledgers[of.name]
  if not known then
    known = {images = tonumber(of.day_max > 0 and redis.call('HGET', KEYS[9], 'images:' .. of.name) or 0)}
    for n = 15, KEYS[15] == KEYS[16] and 15 or 16 do
      local booked = redis.call('HMGET', KEYS[n], 'cost', 'cost:' .. of.name)
      known[#known + 1] = {all = tonumber(booked[1] or 0), own = tonumber(booked[2] or 0)}
    end
    ledgers[of.name] = known
    all_reserved = all_reserved or tonumber(redis.call('HGET', KEYS[7], 'reserved_cost') or 0)
  end
  if of.day_max > 0 and known.images + of.images + images > of.day_max then return 'day' end
  for _, booked in ipairs(known) do
    if day_budget >= 0 and booked.all + all_reserved + images * price > day_budget then return 'budget_day' end
    if of.budget >= 0 and booked.own + of.cost + images * price > of.budget then return 'budget_account' end
  end
end
-- The share of an account's places processed at once that is taken, by its weight; none where it could not start a job this moment.
-- How long its own workers need before a create is not known here: what every worker may claim ahead counts, and no lead.
local ahead_us = tonumber(ARGV[16]) - tonumber(ARGV[5])
local function share_of(n, other)
  local slots, state, permits = KEYS[15 + 3 * n], KEYS[16 + 3 * n], KEYS[17 + 3 * n]
  local fields = redis.call('HMGET', state, 'seen:' .. model, 'open:create', 'open:create:' .. model, 'pause:create:' .. model,
    'places:' .. model, 'reserved', 'reserved_cost')
  local stopped = redis.call('HMGET', KEYS[13], 'account:' .. other.name, 'account:' .. other.name .. ':' .. model)
  if not fields[1] or math.abs(now_ms - tonumber(fields[1])) > 3000 or fields[2] or fields[3] or stopped[1] or stopped[2] then return nil end
  if pause_until(fields[4]) > now_ms then return nil end
  local taken = redis.call('ZCARD', slots)
  if taken >= math.min(other.at_once, tonumber(fields[5] or other.at_once)) or full_at(permits, other.step_us) - ahead_us > now_us then return nil end
  return {
    taken = taken / (other.at_once * other.weight),
    day = {name = other.name, day_max = tonumber(other.day_max or 0), budget = tonumber(other.budget or -1), images = tonumber(fields[6] or 0), cost = tonumber(fields[7] or 0)},
  }
end
local shares
local function goes_elsewhere(place, id)
  if place == account or is_full or wait_us > 0 then return false end
  if not shares then
    shares = {}
    for n, other in ipairs(me.others) do shares[n] = share_of(n, other) or false end
  end
  local my_share = used < me.at_once and used / (me.at_once * me.weight) or math.huge
  local images
  for n, other in ipairs(me.others) do
    if shares[n] and shares[n].taken < my_share and (place == 'any' or place == '@' .. other.region) then
      images = images or tonumber(redis.call('HGET', prefix .. 'job:' .. id, 'x') or 1)
      if not short_of(shares[n].day, images) then return true end
    end
  end
  return false
end
-- Whose turn it is: the lane of the lowest score that has a job. A lane that ran empty keeps its place until its turn has come;
-- coming back before, it has not gained a turn.
-- In images. Source: ours; lanes that are served in turn are as far apart as the images of a job, at most 12, and this is well above.
local CREDIT = 64
local function field_of(place, class) return place == 'any' and class or place .. ':' .. class end
local by_day = mine.day_max > 0 or day_budget >= 0 or mine.budget >= 0
-- More where the first may be passed over. Source: ours; a lane that is looked at costs some microseconds.
local HEADS = by_day and 50 or 10
local turns, sets, come_to = {}, {{key = KEYS[5], place = 'any', rank = 1}}, {}
if me.region ~= '' then sets[2] = {key = KEYS[14], place = '@' .. me.region, rank = 2} end
sets[#sets + 1] = {key = KEYS[4], place = account, rank = 0}
for _, set in ipairs(sets) do
  set.behind = {}
  local heads = redis.call('ZRANGE', set.key, 0, HEADS - 1, 'WITHSCORES')
  for at = 1, #heads, 2 do
    local lane, score = heads[at], tonumber(heads[at + 1])
    local class = string.sub(lane, 1, 1)
    if not set.behind[class] then -- the lowest of its class
      local behind = set.place ~= 'any' and redis.call('HGET', KEYS[10], field_of(set.place, class) .. ':behind')
      set.behind[class] = math.max(tonumber(behind or 0), (come_to[class] or -math.huge) - CREDIT - score)
      come_to[class] = math.max(come_to[class] or 0, score + set.behind[class])
    end
    turns[#turns + 1] = {lane = lane, score = score + set.behind[class], own = score, key = set.key, place = set.place, order = set.rank + at / (2 * HEADS)}
  end
end
table.sort(turns, function(a, b)
  if a.score ~= b.score then return a.score < b.score end
  return a.order < b.order
end)
-- Whether the job's batch has room for it. A lane of a batch that is paused by hand has no turn; one that came by all the same is out
-- of order: whoever joined it found it waiting for the budget.
local function batch_of(record)
  if not record.b then return {room = true} end
  local fields = redis.call('HMGET', prefix .. 'batch:' .. record.b, 'budget', 'cost', 'reserved_cost', 'paused', 'extra_cost')
  if fields[4] == '1' then return {paused = true} end
  -- What is no number is `none`.
  local budget = tonumber(fields[1] or ARGV[22]) or -1
  local spent = tonumber(fields[2] or 0) + tonumber(fields[3] or 0) + tonumber(fields[5] or 0)
  return {room = budget < 0 or spent + tonumber(record.x or 1) * price <= budget}
end
local turn, lane_key, id, record, short
local left_to_others = false
local ran_empty, no_room = {}, {}
for _, candidate in ipairs(turns) do
  lane_key = prefix .. 'ready:' .. model .. ':' .. candidate.place .. ':' .. candidate.lane
  id = redis.call('ZRANGE', lane_key, 0, 0)[1]
  if not id then
    ran_empty[#ran_empty + 1] = candidate
  elseif goes_elsewhere(candidate.place, id) then
    left_to_others = true
  elseif is_full or wait_us > 0 then
    turn = candidate
    break
  else
    record = record_of(id)
    local batch = record.s == 'queued' and batch_of(record) or {room = true}
    local short_here = batch.room and record.s == 'queued' and short_of(mine, tonumber(record.x or 1))
    if short_here then
      short = short or short_here
    elseif batch.room then
      turn = candidate
      break
    else
      candidate.batch, candidate.paused = record.b, batch.paused
      no_room[#no_room + 1] = candidate
    end
  end
end
local function take_away()
  for _, gone in ipairs(ran_empty) do redis.call('ZREM', gone.key, gone.lane) end
  for _, lane in ipairs(no_room) do
    redis.call('ZREM', lane.key, lane.lane)
    local name = model .. ':' .. lane.place .. ':' .. string.sub(lane.lane, 1, 1)
    redis.call('ZADD', prefix .. 'lanes:' .. lane.batch, int(lane.own + 1), name)
    if not lane.paused then
      redis.call('HSETNX', prefix .. 'batch:' .. lane.batch, 'waits_since', int(now_ms))
      redis.call('ZADD', KEYS[17], 'NX', int(now_ms), lane.batch)
    end
  end
end
if not turn then
  take_away()
  if short and not left_to_others then
    -- Nobody is to leave a job to an account that has none left today.
    if seen_ms and seen_ms > 0 then redis.call('HDEL', KEYS[3], 'seen:' .. model) end
    return wait(short, 86400000 - (now_ms - (short == 'day' and 0 or 60000)) % 86400000)
  end
  give_sign()
  if left_to_others then return wait('elsewhere', 100) end
  return wait('empty', #turns >= HEADS and 0 or -1)
end
if is_full then
  give_sign()
  return wait('slots', -1)
end
if wait_us > 0 then
  give_sign()
  return wait('permit', math.ceil(wait_us / 1000))
end
local job_key = prefix .. 'job:' .. id
if record.s ~= 'queued' then
  redis.call('ZREM', lane_key, id) -- a lane entry without its job: what the record says counts
  return wait('empty', 0)
end
local spec = spec_of(id)
local images = tonumber(record.x or 1)
local cost_max = images * price
-- How far the sets have come that this account claims from: whoever comes, or comes back, into an empty one begins there.
local class = string.sub(turn.lane, 1, 1)
local fields, moved = {}, {}
for _, set in ipairs(sets) do
  local field = field_of(set.place, class)
  fields[#fields + 1] = field
  fields[#fields + 1] = field .. ':behind'
end
local times = redis.call('HMGET', KEYS[10], unpack(fields)) -- at most 6
for n, set in ipairs(sets) do
  local was, was_behind = tonumber(times[2 * n - 1] or 0), tonumber(times[2 * n] or 0)
  local behind = set.behind[class] or was_behind
  local is = turn.score - behind
  if is > was then moved[#moved + 1] = fields[2 * n - 1] moved[#moved + 1] = int(is) end
  if behind > was_behind then moved[#moved + 1] = fields[2 * n] moved[#moved + 1] = int(behind) end
end
take_away()
give_sign()
redis.call('ZREM', lane_key, id)
redis.call('ZINCRBY', turn.key, images, turn.lane)
if #moved > 0 then redis.call('HSET', KEYS[10], unpack(moved)) end -- at most 12 values
local at_us = math.max(full_us, now_us + tonumber(ARGV[5]))
full_us = at_us + tonumber(ARGV[4])
redis.call('SET', KEYS[1], int(full_us), 'PX', math.ceil((full_us - now_us) / 1000))
-- Never lower than the time, so that a Redis restored from an older copy hands out no fence and no version twice.
local fence = int(math.max(tonumber(record.f or 0) + 1, now_ms))
local version = int(math.max(tonumber(record.v) + 1, now_ms))
local attempt = int(tonumber(record.k or 0) + 1)
local changes = {'s', 'submitting', 'v', version, 'f', fence, 'n', ARGV[10], 'c', '1',
  'k', attempt, 'an', attempt, 'aa', account, 'ac', int(now_ms), 'as', int(now_ms + tonumber(ARGV[8]))}
if cost_max > 0 then changes[#changes + 1] = 'ar' changes[#changes + 1] = int(cost_max) end
redis.call('HDEL', job_key, 'du', 'ca', 'ar')
redis.call('HSET', job_key, unpack(changes)) -- at most 24 values
record.du, record.ca, record.ar = nil, nil, nil
for at = 1, #changes, 2 do record[changes[at]] = changes[at + 1] end
redis.call('ZADD', KEYS[2], int(now_ms), id .. ':' .. attempt)
redis.call('ZADD', KEYS[6], int(now_ms + tonumber(ARGV[7])), id .. ':' .. fence)
redis.call('HINCRBY', KEYS[3], 'reserved', images)
local batch_key = prefix .. 'batch:' .. (record.b or '-')
if cost_max > 0 then
  for _, key in ipairs({KEYS[3], KEYS[7], batch_key}) do redis.call('HINCRBY', key, 'reserved_cost', int(cost_max)) end
end
if tries_more then
  -- Kept at the most as well: should that be refused, it was this try.
  local more = math.min(math.max(1, math.floor(places / 8)), most - places)
  redis.call('HSET', KEYS[3], 'places:' .. model, int(places + more), 'places_at:' .. model, int(now_ms),
    'places_row:' .. model, paused[8] and '0' or paused[7] or '0', 'places_up:' .. model, int(more))
end
local word = 'claimed'
for n, call in ipairs(calls) do
  if paused[2 + n] then
    word = 'probe'
    redis.call('HSET', KEYS[3], 'open:' .. call, int(now_ms + tonumber(ARGV[11])), 'probe:' .. call, id .. ':' .. attempt)
  end
end
redis.call('HINCRBY', batch_key, 'queued', -1)
redis.call('HINCRBY', batch_key, 'submitting', 1)
redis.call('HINCRBY', KEYS[7], 'queued', -1)
redis.call('HINCRBY', KEYS[7], 'submitting', 1)
claims = claims + 1
redis.call('SET', KEYS[11], int(claims))
if incarnation == '' then
  incarnation = ARGV[10]
  redis.call('HSET', KEYS[12], 'word', incarnation, 'since', int(now_ms))
end
if not known[3] then redis.call('HSET', KEYS[12], 'run', run) end
redis.call('SET', KEYS[8], id .. ' ' .. int(at_us), 'PX', 600000)
return answer(word, id, int(at_us), spec, record)
