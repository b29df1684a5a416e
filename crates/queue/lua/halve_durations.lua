#!lua flags=allow-oom
-- halve_durations: make what was learned long ago count less.
--
-- A series with more ends than the most is halved. A repeat halves at most what is still too
-- long: that only makes the past count less again, so that no nonce is needed.
--
-- KEYS[1]  keys::durations()
-- ARGV[1]  the most ends in one series     2000
--
-- Returns  {time_us, series}   series: how many were halved
local clock = redis.call('TIME')
local counts = redis.call('HGETALL', KEYS[1])
local ends, halved, number = {}, {}, 0
for i = 1, #counts, 2 do
  local series = string.match(counts[i], '^(.*):')
  if series then ends[series] = (ends[series] or 0) + tonumber(counts[i + 1]) end
end
for i = 1, #counts, 2 do
  local series = string.match(counts[i], '^(.*):')
  if not series or ends[series] > tonumber(ARGV[1]) then
    if series and not halved[series] then halved[series], number = true, number + 1 end
    local half = series and math.floor(tonumber(counts[i + 1]) / 2) or 0
    if half > 0 then
      redis.call('HSET', KEYS[1], counts[i], string.format('%.0f', half))
    else
      redis.call('HDEL', KEYS[1], counts[i])
    end
  end
end
return {clock[1] .. string.format('%06d', clock[2]), number}
