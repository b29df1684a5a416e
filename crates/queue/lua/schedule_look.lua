#!lua flags=allow-oom
-- schedule_look: a scheduler looks at a schedule, and says by which expression it follows it.
--
-- An expression is known from the first look on. One by which nobody has looked for a while, when somebody does by another, was given up,
-- and is forgotten: should it come back, it has missed nothing meanwhile. While no scheduler is there at all nothing is forgotten, so
-- that what is missed then can be caught up; and during an update, when some look by the old one and some by the new one, neither is.
--
-- The same call twice changes nothing the second time, and needs no nonce.
--
-- KEYS[1]  keys::schedule(name)
-- ARGV[1]  the expression
-- ARGV[2]  ms without a look, after which another expression is forgotten
--
-- Returns  {time_us, field, value, ...}   the schedule as it stands then
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local time_us = clock[1] .. string.format('%06d', clock[2])
local ours, while_ms = ARGV[1], tonumber(ARGV[2])

local fields = redis.call('HGETALL', KEYS[1])
local at = {}
for i = 1, #fields, 2 do at[fields[i]] = fields[i + 1] end
local given_up = {}
for field, since in pairs(at) do
  local other = string.match(field, '^since:(.*)$')
  if other and other ~= ours and now_ms - tonumber(at['seen:' .. other] or since) > while_ms then
    given_up[#given_up + 1] = other
  end
end

local now = string.format('%.0f', now_ms)
local reply = {time_us, unpack(fields)} -- some ten fields, and two for each expression of the last minutes
if not at['since:' .. ours] then
  redis.call('HSET', KEYS[1], 'since:' .. ours, now)
  reply[#reply + 1] = 'since:' .. ours
  reply[#reply + 1] = now
end
-- Not at every look: each is written to disk.
if now_ms - tonumber(at['seen:' .. ours] or 0) > while_ms / 10 then redis.call('HSET', KEYS[1], 'seen:' .. ours, now) end
for _, other in ipairs(given_up) do redis.call('HDEL', KEYS[1], 'since:' .. other, 'seen:' .. other) end
return reply
