#!lua flags=no-writes
-- audit_slots: hold the places at the provider against the records of a batch, in one step. Reads only.
--
-- A place is taken by the attempt of each job that is submitting, settling, polling, or held with its attempt unsettled and the
-- place not known to be free. Between two scripts the two must agree, at every moment: a measurement asks again and again.
--
-- KEYS[1]  keys::members(batch), with 500 members at most
-- KEYS[2…] keys::slots(account, model), one for each pair
-- ARGV[1]  key prefix                        {imagemill}:
-- ARGV[2…] account and model of each pair    singapore, wan2.7-image-pro
--
-- Returns  {time_us, jobs, {members of the first pair's places, …}, {line, …}}
--          a line for each difference: "lacks" or "has", the key, the member, the state of its job
local clock = redis.call('TIME')
local time_us = string.format('%.0f', clock[1] * 1000000 + clock[2])
local prefix = ARGV[1]
if redis.call('ZCARD', KEYS[1]) > 500 then return redis.error_reply('ERR audit_slots looks at 500 jobs at most') end

local taken, counts, key_of = {}, {}, {}
for n = 2, #KEYS do
  local members = redis.call('ZRANGE', KEYS[n], 0, -1)
  counts[#counts + 1] = #members
  key_of[ARGV[2 * n - 2] .. ' ' .. ARGV[2 * n - 1]] = KEYS[n]
  taken[KEYS[n]] = {}
  for _, member in ipairs(members) do taken[KEYS[n]][member] = true end
end

local holds = {submitting = true, settling = true, polling = true}
local jobs = redis.call('ZRANGE', KEYS[1], 0, -1)
local lines, states = {}, {}
for _, id in ipairs(jobs) do
  local record = redis.call('HMGET', prefix .. 'job:' .. id, 's', 'aa', 'm', 'an', 'us', 'sf')
  local state = record[1] or 'gone'
  states[id] = state
  if holds[state] or (state == 'held' and record[5] == '1' and record[6] ~= '1') then
    local key = key_of[(record[2] or '') .. ' ' .. (record[3] or '')]
    local member = id .. ':' .. (record[4] or '')
    if key and taken[key][member] then
      taken[key][member] = nil
    else
      lines[#lines + 1] = 'lacks ' .. (key or 'a known account') .. ' ' .. member .. ' ' .. state
    end
  end
end
for n = 2, #KEYS do
  for member in pairs(taken[KEYS[n]]) do
    lines[#lines + 1] = 'has ' .. KEYS[n] .. ' ' .. member .. ' ' .. (states[string.match(member, '^[^:]*')] or 'unknown')
  end
end
return {time_us, tostring(#jobs), counts, lines}
