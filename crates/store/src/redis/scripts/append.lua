-- Stores messages in the logs of topics of one partition and announces them.
-- KEYS: clock gen holes, idem of bucket base-1, base, base+1, per topic: log tip, per fence: sess
-- ARGV: run_id partition floor bucket_ms bucket_base expiring PUBLISH|SPUBLISH topics fences settled
--       stem-channel
--       per topic: channel entries age_ms; per fence: epoch
--       per message: topic fence(0 = none, -1 = does not hold, -2 = gone) digest meta from data
-- Answers: 'stale', ms when the bucket base does not fit the partition's time;
--          'unsettled', ms, run id when another process wrote before and settled is 0; else
--          'ok', ms, per message: ID | 'd'ID duplicate | 'f' fenced | 'g' session gone | 'e'TEXT
--
-- A failing script is not rolled back: the first write is the first XADD, which is refused when
-- memory is full, so nothing claims to be stored that is not. Ids are printed with %.0f: Lua
-- prints numbers with 14 digits.
local call, text, byte, floor, max = redis.call, string.format, string.char, math.floor, math.max
local EPOCH = 1735689600000
local run_id, part, bucket_ms, base = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local publish, topics, fences = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)

local read = {'MGET', KEYS[1], KEYS[2]}
for t = 1, topics do read[t + 3] = KEYS[6 + 2 * t] end
read = call(unpack(read))
local clock, gen = tonumber(read[1] or 0), read[2]

-- Buckets follow the partition's clock, which does not go back when the server's time does.
local ms = max(now, floor(clock / 4096) + EPOCH)
local bucket = floor(ms / bucket_ms) - base
if bucket ~= 0 and bucket ~= 1 then return {'stale', text('%.0f', ms)} end
if gen and gen ~= run_id and ARGV[10] == '0' then return {'unsettled', text('%.0f', ms), gen} end
local newer, older = KEYS[5 + bucket], KEYS[4 + bucket]

local function after(id) return id - id % 16 + part + 16 end
local timely = (now - EPOCH) * 4096 + part
local id = max(timely, after(clock), after(tonumber(ARGV[3])))
local is_birth = not gen and clock == 0 and ARGV[3] == '0'
-- Ids that run ahead of time do not leave those behind that only other nodes have seen: see
-- generation.lua.
if gen ~= run_id and not is_birth and id > timely then id = id + 10000 * 4096 end
local tips, firsts = {}, {}
for t = 1, topics do
  local tip = read[t + 2]
  local first = tip and tonumber(tip) or 0
  if tip then id = max(id, after(first)) else tip = '0' end
  tips[t], firsts[t] = tip, first
end
-- The text of an id: in two parts, as it costs much to print a large number, and the first is mostly
-- the same.
local high, head
local function print_id(number)
  local low = math.fmod(number, 1e7)
  local above = number - low
  if above == 0 then return text('%.0f', number) end
  if above ~= high then high, head = above, text('%.0f', above / 1e7) end
  return head .. text('%07d', low)
end

local arg = 11 + 3 * topics
local holds = {[0] = true, [-1] = 'f', [-2] = 'g'}
for f = 1, fences do
  local epoch, wanted = call('HGET', KEYS[6 + 2 * topics + f], 'ep'), ARGV[arg + f]
  -- An older epoch than the writer's: the store lost the claim. It is to be restored first.
  if epoch == wanted then holds[f] = true
  elseif not epoch or tonumber(epoch) < tonumber(wanted) then holds[f] = 'g'
  else holds[f] = 'f' end
end
arg = arg + fences

local count = (#ARGV - arg) / 6
local first, second = {'HMGET', newer}, {'HMGET', older}
for m = 1, count do
  local digest = ARGV[arg + 6 * m - 3]
  first[m + 2], second[m + 2] = digest, digest
end
first, second = call(unpack(first)), call(unpack(second))

local answers, digests, known, stored = {'ok', text('%.0f', ms)}, {'HSET', newer}, {}, nil
local newest = {}
for m = 1, count do
  local t, fence, digest = tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2]), ARGV[arg + 3]
  local meta, from, data = ARGV[arg + 4], ARGV[arg + 5], ARGV[arg + 6]
  arg = arg + 6
  local before = first[m] or second[m] or known[digest]
  local answer
  if before then
    -- Written again: WAIT after this call then covers it, and it is remembered for longer.
    digests[#digests + 1], digests[#digests + 2] = digest, before
    answer = 'd' .. before
  elseif holds[fence] ~= true then
    answer = holds[fence]
  else
    local this = print_id(id)
    local log, channel, prev = KEYS[5 + 2 * t], ARGV[9 + 3 * t], tips[t]
    local added = redis.pcall('XADD', log, 'MAXLEN', '~', ARGV[10 + 3 * t], this .. '-0',
      'prev', prev, 'data', data, 'from', from, 'meta', meta)
    if type(added) == 'table' then
      answer = 'e' .. added.err
    else
      if not stored and gen ~= run_id then
        local kind = is_birth and 'b' or text('%.0f', clock)
        call('SET', KEYS[2], run_id)
        call('RPUSH', KEYS[3], kind .. ':' .. this)
        call('LTRIM', KEYS[3], -16, -1)
        if kind ~= 'b' then call(publish, ARGV[11], 'H' .. kind .. ':' .. this) end
      elseif not stored and tonumber(ARGV[3]) > clock then
        -- The node that came first after a loss had seen less than this one: see generation.lua.
        local last = call('LINDEX', KEYS[3], -1)
        local start = last and string.match(last, '^(%d+):') or '0'
        if last then call('LSET', KEYS[3], -1, start .. ':' .. this)
        else call('RPUSH', KEYS[3], start .. ':' .. this) end
        -- Before the first message behind it: who has heard of the smaller one learns the rest.
        call(publish, ARGV[11], 'H' .. start .. ':' .. this)
      end
      call(publish, channel,
        'E' .. this .. ' ' .. prev .. ' ' .. byte(#meta) .. meta .. byte(#from) .. from .. data)
      tips[t], newest[t], known[digest], stored, answer = this, id, this, this, this
      digests[#digests + 1], digests[#digests + 2] = digest, this
      id = id + 16
    end
  end
  answers[m + 2] = answer
end

if #digests > 2 then
  call(unpack(digests))
  -- The caller names the bucket (plus one) whose expiry it has set lately.
  if tonumber(ARGV[6]) ~= base + bucket + 1 then call('PEXPIRE', newer, 3 * bucket_ms) end
end
if stored then
  call('SET', KEYS[1], stored)
  -- Most topics are kept for the same time, and numbers that are handed on cost much to print.
  -- Expiries are set anew once a minute, or eight times while a message is kept: a tip lives for a
  -- minute more than is needed. Where ids run ahead of time they do not tell when that was.
  local times = {}
  for t = 1, topics do
    local last, given = newest[t], ARGV[11 + 3 * t]
    local kept = times[given]
    if last and not kept then
      local age = tonumber(given)
      local often = math.min(max(floor(age / 8), 1), 60000)
      kept = {age, text('%.0f', 2 * age + 60000), often * 4096}
      times[given] = kept
    end
    if last then
      local age, expiry, step = kept[1], kept[2], kept[3]
      local log, is_due = KEYS[5 + 2 * t], floor(firsts[t] / step) ~= floor(last / step)
      if is_due or last - timely > 1000 * 4096 then
        call('SET', KEYS[6 + 2 * t], tips[t], 'PX', expiry)
        call('PEXPIRE', log, text('%.0f', age + floor(age / 8) + 1))
      else
        call('SET', KEYS[6 + 2 * t], tips[t], 'KEEPTTL')
      end
      if is_due then
        call('XTRIM', log, 'MINID', '~', text('%.0f', max(0, last - age * 4096)))
      end
    end
  end
end
return answers
