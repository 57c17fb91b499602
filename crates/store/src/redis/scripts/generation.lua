-- Notes that another server process holds the partition now: what it may have lost becomes a hole.
-- KEYS: clock gen holes
-- ARGV: run_id partition floor(highest id this node knows) seen(newest id before the reconnect) settled
--       PUBLISH|SPUBLISH stem-channel elsewhere(newest id this node knows of any other process)
-- Answers: clock, then the holes as 'S:F', oldest first; or
--          'unsettled', run id when another process wrote before and settled is 0
--
-- The very first process of a partition leaves a birth mark 'b:F' instead of a hole. A node that
-- has seen ids from before that birth proves that something was lost: the mark becomes a hole.
local call, text = redis.call, string.format
local part, known, seen = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local elsewhere = tonumber(ARGV[8])
local function after(id) return id - id % 16 + part + 16 end
local clock, gen = tonumber(call('GET', KEYS[1]) or 0), call('GET', KEYS[2])
if gen and gen ~= ARGV[1] and ARGV[5] == '0' then return {'unsettled', gen} end
if gen ~= ARGV[1] then
  local time = call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000) - 1735689600000
  local timely = now * 4096 + part
  local id = math.max(timely, after(clock), after(known))
  local is_birth = not gen and clock == 0 and known == 0
  -- Time moves on, and leaves behind whatever the former process gave out, where clocks agree.
  -- Where its ids ran ahead of time, other nodes may know newer ones, or its clients: ten seconds
  -- of ids are left out, so that none of them is given out twice.
  if not is_birth and id > timely then id = id + 10000 * 4096 end
  local this = text('%.0f', id)
  call('SET', KEYS[1], this)
  call('SET', KEYS[2], ARGV[1])
  local kind = is_birth and 'b' or text('%.0f', clock)
  call('RPUSH', KEYS[3], kind .. ':' .. this)
  call('LTRIM', KEYS[3], -16, -1)
  if kind ~= 'b' then call(ARGV[6], ARGV[7], 'H' .. kind .. ':' .. this) end
  clock = id
else
  local last = call('LINDEX', KEYS[3], -1)
  local ended = last and tonumber(string.match(last, ':(%d+)$')) or 0
  if known > clock or elsewhere > ended then
    -- The node that came first had seen less of the former process: what this one knows was given
    -- out before, and may have been given out again since. The hole grows, up to here, so that
    -- whoever follows is told, however far it is.
    local this = text('%.0f', after(math.max(known, elsewhere, clock)))
    local start = last and string.match(last, '^(%d+):') or '0'
    call('SET', KEYS[1], this)
    if last then call('LSET', KEYS[3], -1, start .. ':' .. this)
    else call('RPUSH', KEYS[3], start .. ':' .. this) end
    -- Whoever came before has heard of less. What is stored from now on has higher ids.
    call(ARGV[6], ARGV[7], 'H' .. start .. ':' .. this)
    clock = tonumber(this)
  end
end
local holes = call('LRANGE', KEYS[3], 0, -1)
for at, hole in ipairs(holes) do
  if seen > 0 and string.sub(hole, 1, 2) == 'b:' and seen < tonumber(string.sub(hole, 3)) then
    holes[at] = '0' .. string.sub(hole, 2)
    call('LSET', KEYS[3], at - 1, holes[at])
    call(ARGV[6], ARGV[7], 'H' .. holes[at])
  end
end
return {text('%.0f', clock), unpack(holes)}
