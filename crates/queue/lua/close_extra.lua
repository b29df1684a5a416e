#!lua flags=allow-oom
-- close_extra: write down what became of an extra task, and book what it cost.
--
-- The old text is the condition: a repeated call, or another worker's, finds the new one and changes nothing, so that nothing
-- is booked twice. That stands in for a nonce. It is booked to the batch of the job that it came from, and counts for its budget; where the
-- job has none, or is gone by now, to none.
--
-- KEYS[1]  keys::extras(account)
-- KEYS[2]  keys::ledger(day)
-- ARGV[1]  the task
-- ARGV[2]  its entry as it was read
-- ARGV[3]  its entry from now on
-- ARGV[4]  images to book
-- ARGV[5]  their cost in millionths
-- ARGV[6]  account
-- ARGV[7]  <account>:<model>
-- ARGV[8]  key prefix
-- ARGV[9]  the job
--
-- Returns  {time_us, 1 if it was written, else 0}
local clock = redis.call('TIME')
local now_us = clock[1] .. string.format('%06d', clock[2])

-- Every read comes before the first write.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return {now_us, 0} end
local batch = redis.call('HGET', ARGV[8] .. 'job:' .. ARGV[9], 'b')
local batch_key = batch and ARGV[8] .. 'batch:' .. batch
if batch_key and redis.call('HEXISTS', batch_key, 'created_at') == 0 then batch, batch_key = false, false end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if tonumber(ARGV[4]) > 0 then
  local line = ARGV[7] .. ':' .. (batch or '-')
  for _, field in ipairs({'images:' .. ARGV[6], 'images:' .. line, 'extra_images:' .. line}) do
    redis.call('HINCRBY', KEYS[2], field, ARGV[4])
  end
  for _, field in ipairs({'cost', 'cost:' .. ARGV[6], 'cost:' .. line, 'extra_cost:' .. line}) do
    redis.call('HINCRBY', KEYS[2], field, ARGV[5])
  end
  if batch_key then
    redis.call('HINCRBY', batch_key, 'extra_images', ARGV[4])
    redis.call('HINCRBY', batch_key, 'extra_cost', ARGV[5])
  end
end
return {now_us, 1}
