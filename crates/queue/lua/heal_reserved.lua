#!lua flags=allow-oom
-- heal_reserved: set sums of what attempts may yet cost, or bring, to nothing where no attempt is under way.
--
-- The scripts keep these sums in step with the records; a worker of a version that knew none of them, or a hand, may leave them too high,
-- and a budget would have less room for ever. Which record is missing in a sum cannot be read at one moment, but where no job is
-- submitting, settling, polling or held, nothing can be reserved: of everything and of the accounts while that holds for all jobs, of a
-- batch while it holds for its own. Only batches that wait for their budget are looked at: of the others the sum does no harm yet. Repeating
-- the call is harmless.
--
-- KEYS[1]  keys::counts()
-- KEYS[2]  keys::waiting_batches()
-- KEYS[3]  keys::repairs()
-- KEYS[4..] keys::account(account) of each account
-- ARGV[1]  key prefix
-- ARGV[2]  the greatest number of batches, at most 500
--
-- Returns  {time_us, how many sums were wrong}
local clock = redis.call('TIME')
local time_us = clock[1] .. string.format('%06d', clock[2])

-- Every read comes before the first write.
local function is_idle(key)
  for _, jobs in ipairs(redis.call('HMGET', key, 'submitting', 'settling', 'polling', 'held')) do
    if tonumber(jobs or 0) ~= 0 then return false end
  end
  return true
end
local wrong = {}
local function look(key, fields)
  for _, field in ipairs(fields) do
    if tonumber(redis.call('HGET', key, field) or 0) ~= 0 then wrong[#wrong + 1] = {key, field} end
  end
end
if is_idle(KEYS[1]) then
  look(KEYS[1], {'reserved_cost'})
  for at = 4, #KEYS do look(KEYS[at], {'reserved', 'reserved_cost'}) end
end
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], 0, math.min(tonumber(ARGV[2]), 500) - 1)) do
  local batch = ARGV[1] .. 'batch:' .. name
  if is_idle(batch) then look(batch, {'reserved_cost'}) end
end

for _, sum in ipairs(wrong) do redis.call('HSET', sum[1], sum[2], '0') end
if #wrong > 0 then redis.call('HINCRBY', KEYS[3], 'reserved', #wrong) end
return {time_us, #wrong}
