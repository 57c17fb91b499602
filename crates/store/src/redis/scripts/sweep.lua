-- Detaches sessions of dead nodes and removes sessions whose deadline passed.
-- KEYS: detached hosts swept sess-stem user-stem node-stem outbox(if events are kept)
-- ARGV: sweep limit window_ms keep_ms expiry_ms dead-nodes, their names, then the living nodes
-- Answers: per expired session: session, last_of_user(0|1), user or ''
--
-- The answer is kept under the sweeper's own key: a sweep whose answer got lost is asked again
-- with the same number and answers the same.
local call, text = redis.call, string.format
local kept = call('LRANGE', KEYS[3], 0, -1)
if kept[1] == ARGV[1] then
  table.remove(kept, 1)
  return kept
end
local limit, dead = tonumber(ARGV[2]), tonumber(ARGV[6])
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local lives, left = {}, limit
for at = 7 + dead, #ARGV do lives[ARGV[at]] = true end
for at = 7, 6 + dead do
  local node = ARGV[at]
  local sessions = left > 0 and call('SPOP', KEYS[6] .. node, left) or {}
  for _, session in ipairs(sessions) do
    local record = call('HMGET', KEYS[4] .. session, 'n', 'st')
    if record[1] == node and record[2] == 'a' then
      call('HSET', KEYS[4] .. session, 'st', 'l')
      call('PEXPIRE', KEYS[4] .. session, text('%.0f', ARGV[3] + ARGV[4]))
      call('ZADD', KEYS[1], text('%.0f', now + ARGV[3]), session)
    end
  end
  left = left - #sessions
  if call('EXISTS', KEYS[6] .. node) == 0 then call('SREM', KEYS[2], node) end
end

local expired = {}
for _, session in ipairs(call('ZRANGEBYSCORE', KEYS[1], '-inf', text('%.0f', now), 'LIMIT', 0, limit)) do
  local key = KEYS[4] .. session
  local record = call('HMGET', key, 'n', 'st', 'u')
  call('ZREM', KEYS[1], session)
  if record[2] == 'l' and lives[record[1]] then
    -- The node's lease had run out, and it lives after all: its connection still stands.
    call('HSET', key, 'st', 'a')
    call('PEXPIRE', key, ARGV[5])
    call('SADD', KEYS[6] .. record[1], session)
    call('SADD', KEYS[2], record[1])
  elseif record[2] and record[2] ~= 'a' then
    local user, last = record[3] or '', '0'
    call('DEL', key)
    if user ~= '' then
      call('HDEL', KEYS[5] .. user, session)
      if call('EXISTS', KEYS[5] .. user) == 0 then last = '1' end
    end
    if KEYS[7] then
      call('XADD', KEYS[7], 'MAXLEN', '~', 100000, '*', 'k', 'session.expired', 'n', session, 'u', user)
    end
    local at = #expired
    expired[at + 1], expired[at + 2], expired[at + 3] = session, last, user
  end
end
if #kept > 0 then call('DEL', KEYS[3]) end
if #expired > 0 then
  call('RPUSH', KEYS[3], ARGV[1], unpack(expired))
  call('PEXPIRE', KEYS[3], 600000)
end
return expired
