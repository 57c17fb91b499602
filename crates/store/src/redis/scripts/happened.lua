-- In front of the scripts that move members: what backends are told of who comes and leaves.
-- KEYS[2] is the online-stem and KEYS[8] the outbox there.
--
-- `kept` holds 't' where it is kept whether a topic has anybody, and 'p' where it is kept who comes.
local function happened(kept, topic, user, present)
  if kept == '' or string.sub(topic, 1, 1) == '$' then return end
  local function keep(kind, whom)
    redis.call('XADD', KEYS[8], 'MAXLEN', '~', 100000, '*', 'k', kind, 't', topic, 'u', whom)
  end
  local edge = string.find(kept, 't') and redis.call('HLEN', KEYS[2] .. topic) == (present and 1 or 0)
  if edge and present then keep('topic.occupied', '') end
  if string.find(kept, 'p') then keep(present and 'presence.joined' or 'presence.left', user) end
  if edge and not present then keep('topic.vacated', '') end
end

