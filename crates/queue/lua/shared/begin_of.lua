-- A new turn begins beside the lowest of its class in that very set, else at the time that the set had come to.
--
-- Written into each script where it says so (src/scripts.rs); needs its int and PRIORITY_SPAN.
local function begin_of(turns, virtual_time, place, class)
  local base = tonumber(class) * PRIORITY_SPAN
  local lowest = redis.call('ZRANGEBYSCORE', turns, int(base), '(' .. int(base + PRIORITY_SPAN), 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local field = place == 'any' and class or place .. ':' .. class
  return int(tonumber(lowest or redis.call('HGET', virtual_time, field) or base))
end
