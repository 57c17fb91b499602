-- Moves members of topics: they come, lose their connection, or leave.
-- KEYS: pres-stem online-stem seen-stem pnode-stem phosts leaving channel-stem outbox
-- ARGV: publish-word kept-events, then per move: topic session epoch user node kind(j|a|l) grace_ms
-- Answers: per user who came or left: '1' or '0', topic, user
--
-- A member is a field of its topic's hash, by session: epoch, node, user and the time at which its
-- connection went, apart by zero bytes. A move of an older epoch than the member's is nothing:
-- somebody else has the session by now. Who comes or goes is announced in the same step.
local call, text = redis.call, string.format
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local changes = {}

local function tell(topic, user, present)
  happened(ARGV[2], topic, user, present)
  call(ARGV[1], KEYS[7] .. topic, (present and 'J' or 'L') .. user)
  local at = #changes
  changes[at + 1], changes[at + 2], changes[at + 3] = present and '1' or '0', topic, user
end

for at = 3, #ARGV, 7 do
  local topic, session, epoch, user = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local node, kind, grace = ARGV[at + 4], ARGV[at + 5], tonumber(ARGV[at + 6])
  local members, place = KEYS[1] .. topic, session .. ' ' .. topic
  local held = call('HGET', members, session)
  local of, on, since
  if held then
    of, on, since = string.match(held, '^(%d+)%z([^%z]*)%z[^%z]*%z(%d*)$')
    if not of then return redis.error_reply('ERR member is not understood') end
  end
  if not held or tonumber(of) <= tonumber(epoch) then
    if kind == 'j' then
      if held then
        call('ZREM', KEYS[6], place)
        if on ~= node then call('SREM', KEYS[4] .. on, place) end
      end
      call('HSET', members, session, epoch .. '\0' .. node .. '\0' .. user .. '\0')
      call('SADD', KEYS[4] .. node, place)
      call('SADD', KEYS[5], node)
      if not held and call('HINCRBY', KEYS[2] .. topic, user, 1) == 1 then
        tell(topic, user, true)
      end
    elseif held and kind == 'a' and grace > 0 then
      if on ~= '' then
        call('SREM', KEYS[4] .. on, place)
        call('HSET', members, session, epoch .. '\0\0' .. user .. '\0' .. text('%.0f', now))
        call('ZADD', KEYS[6], text('%.0f', now + grace), place)
      end
    elseif held then
      call('HDEL', members, session)
      call('ZREM', KEYS[6], place)
      call('SREM', KEYS[4] .. on, place)
      if call('HINCRBY', KEYS[2] .. topic, user, -1) <= 0 then
        call('HDEL', KEYS[2] .. topic, user)
        if string.sub(topic, 1, 1) == '$' then
          call('HSET', KEYS[3] .. topic, user, since ~= '' and since or text('%.0f', now))
        end
        tell(topic, user, false)
      end
    end
  end
end
return changes
