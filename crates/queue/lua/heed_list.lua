#!lua flags=allow-oom
-- heed_list: let what the provider's list shows decide when tasks are asked by themselves.
--
-- A task that is over is due now, unless its own answers have denied that again and again; one that goes on and is not due yet is put
-- off, and only ever put off: a list is read a moment ago. Only the index
-- moves, no record: whatever the list says, a task is over when its own answer says so. So repeating a call is harmless. Where a task
-- became due, one hint wakes every worker: whoever reads the list may have no hand free.
--
-- KEYS[1]  keys::tasks(account)
-- KEYS[2]  keys::due_poll(account)
-- KEYS[3]  keys::events()
-- ARGV[1]  key prefix
-- ARGV[2..] for each task, at most 500: task, ms from now until which it need not be asked; 0 = it is over
--
-- Returns  {time_us, waiting, brought}   waiting: how many of them are jobs that wait to be asked; brought: how many are due now and were not
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function int(number) return string.format('%.0f', number) end

-- Every read comes before the first write.
local moves, waiting, brought = {}, 0, 0
local tasks, ids, waits = {}, {}, {}
for i = 2, math.min(#ARGV, 1001), 2 do tasks[#tasks + 1] = ARGV[i] end
if #tasks == 0 then return {clock[1] .. string.format('%06d', clock[2]), 0, 0} end
-- Most of a list is long over: one call for all of them, and one for those that are ours.
local owners = redis.call('HMGET', KEYS[1], unpack(tasks)) -- at most 500
for n, owner in ipairs(owners) do
  if owner then ids[#ids + 1], waits[#waits + 1] = string.match(owner, '^[^:]+'), n end
end
local dues = #ids > 0 and redis.call('ZMSCORE', KEYS[2], unpack(ids)) or {} -- at most 500
for k, id in ipairs(ids) do
  local n, due = waits[k], dues[k]
  -- Another attempt's task says nothing about the one that the job waits for.
  local record = due and redis.call('HMGET', ARGV[1] .. 'job:' .. id, 'ti', 'po', 'un') or {}
  if record[1] == tasks[n] then
    waiting = waiting + 1
    -- Asked again and again in vain: what its own answers say decides when it is asked next.
    local contested = record[3] or tonumber(record[2] or 0) >= 4
    local wait = tonumber(ARGV[2 * n + 1])
    local is_over = wait == 0
    -- What is due already is asked: a list that is wrong for ever must not put it off for ever, nor a cancel.
    local moves_on = not is_over and tonumber(due) < now_ms + wait
    if tonumber(due) > now_ms and (moves_on or is_over and not contested) then
      moves[#moves + 1] = {id, int(now_ms + wait)}
      if is_over then brought = brought + 1 end
    end
  end
end

for _, move in ipairs(moves) do redis.call('ZADD', KEYS[2], 'XX', move[2], move[1]) end
if brought > 0 then redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'polls', brought) end
return {clock[1] .. string.format('%06d', clock[2]), waiting, brought}
