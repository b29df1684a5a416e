#!lua flags=allow-oom
-- seal: say that nothing more will be enqueued into a batch, so that it can end.
--
-- A batch that has ended already does not end again: repeating the call is harmless.
--
-- KEYS[1]  keys::batch(batch)
-- KEYS[2]  keys::ended()
-- KEYS[3]  keys::outbox()
-- KEYS[4]  keys::outbox_entries()
-- ARGV[1]  batch
--
-- Returns  {time_us, left}   left: jobs that are not final; -1 if there is no such batch
local clock = redis.call('TIME')
local time_us = clock[1] .. string.format('%06d', clock[2])
-- include end_batch
-- include seal_batch

local member = 'batch:' .. ARGV[1]
local before = before_seal(KEYS[1], KEYS[2], member)
if not before then return {time_us, -1} end

local now_ms = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
seal_batch(before, KEYS[1], KEYS[2], KEYS[3], KEYS[4], member, now_ms)
return {time_us, before.left}
