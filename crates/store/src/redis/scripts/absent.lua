-- Takes out members whose time is over, and gives those of dead nodes a time.
-- KEYS: pres-stem online-stem seen-stem pnode-stem phosts leaving channel-stem outbox
-- ARGV: publish-word kept-events limit grace_ms dead-nodes, per dead node: name, unix ms of its last
--       renewal or '', then the living nodes
-- Answers: handled(count), then per user who left: topic, user
--
-- A member whose node is dead keeps the node's name: if that lives again in time, it stays.
local call, text = redis.call, string.format
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, grace, dead = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local lives, left, handled = {}, limit, 0
for at = 6 + 2 * dead, #ARGV do lives[ARGV[at]] = true end

local function member(place)
  local session, topic = string.sub(place, 1, 36), string.sub(place, 38)
  local held = call('HGET', KEYS[1] .. topic, session)
  if not held then return session, topic end
  return session, topic, string.match(held, '^(%d+)%z([^%z]*)%z([^%z]*)%z(%d*)$')
end

for at = 6, 5 + 2 * dead, 2 do
  local node, renewed = ARGV[at], ARGV[at + 1]
  local places = left > 0 and call('SPOP', KEYS[4] .. node, left) or {}
  for _, place in ipairs(places) do
    local session, topic, epoch, on, user = member(place)
    if epoch and on == node then
      local since = renewed ~= '' and renewed or text('%.0f', now)
      call('HSET', KEYS[1] .. topic, session, epoch .. '\0' .. node .. '\0' .. user .. '\0' .. since)
      call('ZADD', KEYS[6], text('%.0f', now + grace), place)
    end
  end
  left, handled = left - #places, handled + #places
  if call('EXISTS', KEYS[4] .. node) == 0 then call('SREM', KEYS[5], node) end
end

local late = call('ZRANGEBYSCORE', KEYS[6], '-inf', text('%.0f', now), 'LIMIT', 0, limit)
local answer = { math.max(handled, #late) }
for _, place in ipairs(late) do
  local session, topic, epoch, on, user, since = member(place)
  call('ZREM', KEYS[6], place)
  if epoch and on ~= '' and lives[on] then
    call('HSET', KEYS[1] .. topic, session, epoch .. '\0' .. on .. '\0' .. user .. '\0')
    call('SADD', KEYS[4] .. on, place)
    call('SADD', KEYS[5], on)
  elseif epoch then
    call('HDEL', KEYS[1] .. topic, session)
    if call('HINCRBY', KEYS[2] .. topic, user, -1) <= 0 then
      call('HDEL', KEYS[2] .. topic, user)
      if string.sub(topic, 1, 1) == '$' then
        call('HSET', KEYS[3] .. topic, user, since ~= '' and since or text('%.0f', now))
      end
      happened(ARGV[2], topic, user, false)
      call(ARGV[1], KEYS[7] .. topic, 'L' .. user)
      answer[#answer + 1], answer[#answer + 2] = topic, user
    end
  end
end
return answer
