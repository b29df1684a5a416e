#!lua flags=allow-oom
-- close_extra: write down what became of an extra task, and book what it cost.
--
-- The old text is the condition: a repeated call, or another worker's, finds the new one and changes nothing, so that nothing
-- is booked twice. That stands in for a nonce.
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
--
-- Returns  {time_us, 1 if it was written, else 0}
local clock = redis.call('TIME')
local now_us = clock[1] .. string.format('%06d', clock[2])
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return {now_us, 0} end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if tonumber(ARGV[4]) > 0 then
  redis.call('HINCRBY', KEYS[2], 'images:' .. ARGV[6], ARGV[4])
  redis.call('HINCRBY', KEYS[2], 'images:' .. ARGV[7] .. ':-', ARGV[4])
  redis.call('HINCRBY', KEYS[2], 'extra_images:' .. ARGV[7], ARGV[4])
  for _, field in ipairs({'cost:' .. ARGV[7] .. ':-', 'cost:' .. ARGV[6], 'cost', 'extra_cost:' .. ARGV[7]}) do
    redis.call('HINCRBY', KEYS[2], field, ARGV[5])
  end
end
return {now_us, 1}
