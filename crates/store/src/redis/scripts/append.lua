-- Stores messages in the logs of topics of one partition and announces them.
-- KEYS: clock gen holes, idem of bucket base-1, base, base+1, per topic: log tip, per fence: sess
-- ARGV: run_id partition floor bucket_ms bucket_base expiring PUBLISH|SPUBLISH topics fences settled
--       stem-channel retentions
--       per retention: entries age_ms number of topics; per topic, in their order: channel
--       per fence: epoch
--       places: per message topic(2 bytes, from 1), fence(2 bytes: from 1, 0 = none, 65535 = does not
--       hold, 65534 = gone)
--       per message: digest meta from data
-- Answers: 'stale', ms when the bucket base does not fit the partition's time;
--          'unsettled', ms, run id when another process wrote before and settled is 0;
--          'all', ms, ID of the first when all were stored: those of the others follow in steps of 16; else
--          'ok', ms, per message: ID | 'd'ID duplicate | 'f' fenced | 'g' session gone | 'e'TEXT
--
-- Nearly all of a call's cost is what it does for each message. So: what is looked up often is a
-- local (KEYS and ARGV are globals), numbers come from text by arithmetic (tonumber() reads it twice), and
-- there are few arguments (each becomes an object and a string).
--
-- A failing script is not rolled back: the first write is the first XADD, which is refused when
-- memory is full, so nothing claims to be stored that is not. Ids are printed with %.0f: Lua
-- prints numbers with 14 digits.
local call, pcall, KEYS, ARGV = redis.call, redis.pcall, KEYS, ARGV
local text, char, byte = string.format, string.char, string.byte
local floor, fmod, max = math.floor, math.fmod, math.max
local EPOCH = 1735689600000
local run_id, part, bucket_ms, base = ARGV[1], ARGV[2] + 0, ARGV[4] + 0, ARGV[5] + 0
local publish, topics, fences = ARGV[7], ARGV[8] + 0, ARGV[9] + 0
local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)

local read = {'MGET', KEYS[1], KEYS[2]}
for t = 1, topics do read[t + 3] = KEYS[6 + 2 * t] end
read = call(unpack(read))
local clock, gen = (read[1] or 0) + 0, read[2]

-- Buckets follow the partition's clock, which does not go back when the server's time does.
local ms = max(now, floor(clock / 4096) + EPOCH)
local bucket = floor(ms / bucket_ms) - base
if bucket ~= 0 and bucket ~= 1 then return {'stale', text('%.0f', ms)} end
if gen and gen ~= run_id and ARGV[10] == '0' then return {'unsettled', text('%.0f', ms), gen} end
local newer, older = KEYS[5 + bucket], KEYS[4 + bucket]

local function after(id) return id - id % 16 + part + 16 end
local timely = (now - EPOCH) * 4096 + part
local id = max(timely, after(clock), after(ARGV[3] + 0))
local is_birth = not gen and clock == 0 and ARGV[3] == '0'
-- Ids that run ahead of time do not leave those behind that only other nodes have seen: see
-- generation.lua.
if gen ~= run_id and not is_birth and id > timely then id = id + 10000 * 4096 end
local tips, firsts = {}, {}
for t = 1, topics do
  local tip = read[t + 2] or '0'
  local first = tip + 0
  if first >= id then id = after(first) end
  tips[t], firsts[t] = tip, first
end
-- The text of an id: in two parts, as it costs much to print a large number, and the first is mostly
-- the same.
local high, format = 0, '%.0f'
local function print_id(number)
  local low = number - high
  if low >= 1e7 then
    low = fmod(number, 1e7)
    high = number - low
    format = text('%.0f', high / 1e7) .. '%07d'
  end
  return text(format, low)
end

-- A log is trimmed with every eighth message of a call, as XADD looks for its first block each time;
-- with each where few or large ones are kept.
local channels, entries, every = 12 + 3 * ARGV[12], {}, 8
for r = 13, channels, 3 do
  if ARGV[r] + 0 < 64 then every = 1 end
  for _ = 1, ARGV[r + 2] do entries[#entries + 1] = ARGV[r] end
end
local arg, sessions = channels + topics, 6 + 2 * topics
local holds = {[0] = true, [65535] = 'f', [65534] = 'g'}
for f = 1, fences do
  local epoch, wanted = call('HGET', KEYS[sessions + f], 'ep'), ARGV[arg + f]
  -- An older epoch than the writer's: the store lost the claim. It is to be restored first.
  if epoch == wanted then holds[f] = true
  elseif not epoch or tonumber(epoch) < tonumber(wanted) then holds[f] = 'g'
  else holds[f] = 'f' end
end
arg = arg + fences + 1

local places, count = ARGV[arg], (#ARGV - arg) / 4
local first, second = {'HMGET', newer}, {'HMGET', older}
for m = 1, count do
  local digest = ARGV[arg + 4 * m - 3]
  first[m + 2], second[m + 2] = digest, digest
end
first, second = call(unpack(first)), call(unpack(second))

local answers, digests, known, stored = {'ok', text('%.0f', ms)}, {'HSET', newer}, {}, nil
local newest, widths, kept, begun = {}, {}, 2, id
local turn = byte(ARGV[arg + 1])
for m = 1, count do
  local t, t2, fence, f2 = byte(places, 4 * m - 3, 4 * m)
  t, fence = 256 * t + t2, 256 * fence + f2
  local digest, meta, from, data = ARGV[arg + 1], ARGV[arg + 2], ARGV[arg + 3], ARGV[arg + 4]
  arg = arg + 4
  local before = first[m] or second[m] or known[digest]
  local answer
  if before then
    -- Written again: WAIT after this call then covers it, and it is remembered for longer.
    digests[kept + 1], digests[kept + 2] = digest, before
    kept = kept + 2
    answer = 'd' .. before
  elseif holds[fence] ~= true then
    answer = holds[fence]
  else
    local this = print_id(id)
    local prev = tips[t]
    local log, added = KEYS[5 + 2 * t], nil
    if (turn + m) % every == 0 or #data > 1024 then
      added = pcall('XADD', log, 'MAXLEN', '~', entries[t], this, 'prev', prev, 'data', data,
        'from', from, 'meta', meta)
    else
      added = pcall('XADD', log, this, 'prev', prev, 'data', data, 'from', from, 'meta', meta)
    end
    if added.err then
      answer = 'e' .. added.err
    else
      if not stored and gen ~= run_id then
        local kind = is_birth and 'b' or text('%.0f', clock)
        call('SET', KEYS[2], run_id)
        call('RPUSH', KEYS[3], kind .. ':' .. this)
        call('LTRIM', KEYS[3], -16, -1)
        if kind ~= 'b' then call(publish, ARGV[11], 'H' .. kind .. ':' .. this) end
      elseif not stored and ARGV[3] + 0 > clock then
        -- The node that came first after a loss had seen less than this one: see generation.lua.
        local last = call('LINDEX', KEYS[3], -1)
        local start = last and string.match(last, '^(%d+):') or '0'
        if last then call('LSET', KEYS[3], -1, start .. ':' .. this)
        else call('RPUSH', KEYS[3], start .. ':' .. this) end
        -- Before the first message behind it: who has heard of the smaller one learns the rest.
        call(publish, ARGV[11], 'H' .. start .. ':' .. this)
      end
      local long, wide = #meta, #from
      if not widths[long] then widths[long] = char(long) end
      if not widths[wide] then widths[wide] = char(wide) end
      call(publish, ARGV[channels + t],
        'E' .. this .. ' ' .. prev .. ' ' .. widths[long] .. meta .. widths[wide] .. from .. data)
      tips[t], newest[t], known[digest], stored, answer = this, id, this, this, this
      digests[kept + 1], digests[kept + 2] = digest, this
      kept, id = kept + 2, id + 16
    end
  end
  answers[m + 2] = answer
end

if kept > 2 then
  call(unpack(digests))
  -- The caller names the bucket (plus one) whose expiry it has set lately.
  if ARGV[6] + 0 ~= base + bucket + 1 then call('PEXPIRE', newer, 3 * bucket_ms) end
end
if stored then
  call('SET', KEYS[1], stored)
  -- Expiries are set anew once a minute, or eight times while a message is kept: a tip lives for a
  -- minute more than is needed. Where ids run ahead of time they do not tell when that was.
  local t = 0
  for r = 13, channels, 3 do
    local age = ARGV[r + 1] + 0
    local eighth = floor(age / 8)
    local step = math.min(max(eighth, 1), 60000) * 4096
    -- Numbers that are handed on cost much to print.
    local expiry, log_expiry = text('%.0f', 2 * age + 60000), text('%.0f', age + eighth + 1)
    for _ = 1, ARGV[r + 2] do
      t = t + 1
      local last = newest[t]
      local is_due = last and firsts[t] < last - fmod(last, step)
      if is_due or last and last - timely > 1000 * 4096 then
        call('SET', KEYS[6 + 2 * t], tips[t], 'PX', expiry)
        call('PEXPIRE', KEYS[5 + 2 * t], log_expiry)
      elseif last then
        -- This keeps its expiry, and is cheaper than SET. It needs a right that users of earlier
        -- versions may not have, and a tip that is not longer.
        local tip = tips[t]
        if pcall('SETRANGE', KEYS[6 + 2 * t], '0', tip) ~= #tip then
          call('SET', KEYS[6 + 2 * t], tip, 'KEEPTTL')
        end
      end
      if is_due then
        call('XTRIM', KEYS[5 + 2 * t], 'MINID', '~', text('%.0f', max(0, last - age * 4096)))
      end
    end
  end
end
if id - begun == 16 * count then return {'all', answers[2], answers[3]} end
return answers
