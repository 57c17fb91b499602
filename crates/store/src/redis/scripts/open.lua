-- Creates a session, attached to a node; with only_one other sessions of the user go: 1 all, 2
-- those of the same format.
-- KEYS: sess user-index (or empty stem) node-index hosts detached sess-stem node-stem outbox(if events are kept)
-- ARGV: session node expiry_ms only_one(0|1|2) has_user(0|1) ctl-stem close-stem removed_ms,
--       then fields and values of the record
-- Answers: epoch, then the removed sessions
--
-- A removed session leaves a mark ('x') for removed_ms: its owner must not take the missing record
-- for one that the store lost, and write it again.
-- Stems are keys without their name at the end: the names are only known inside.
local call = redis.call
local session, node, expiry = ARGV[1], ARGV[2], ARGV[3]
local function happened(kind, session, user)
  if KEYS[8] then
    call('XADD', KEYS[8], 'MAXLEN', '~', 100000, '*', 'k', kind, 'n', session, 'u', user or '')
  end
end
local epoch = call('HGET', KEYS[1], 'ep')
if epoch then return {'1'} end
local fields = {}
for at = 9, #ARGV do fields[#fields + 1] = ARGV[at] end
call('HSET', KEYS[1], 'ep', '1', 'st', 'a', 'n', node, unpack(fields))
call('PEXPIRE', KEYS[1], expiry)
call('SADD', KEYS[3], session)
call('SADD', KEYS[4], node)
local answer = {'1'}
local user = call('HGET', KEYS[1], 'u')
happened('session.opened', session, user)
if ARGV[5] == '1' then
  if ARGV[4] ~= '0' then
    local format = call('HGET', KEYS[1], 'f')
    for _, other in ipairs(call('HKEYS', KEYS[2])) do
      local record = call('HMGET', KEYS[6] .. other, 'n', 'st', 'f')
      local ends = ARGV[4] == '1' or not record[1] or record[3] == format
      if ends then
        call('HDEL', KEYS[2], other)
        call('ZREM', KEYS[5], other)
      end
      if record[1] and ends then
        call('DEL', KEYS[6] .. other)
        call('HSET', KEYS[6] .. other, 'ep', '9007199254740991', 'st', 'x')
        call('PEXPIRE', KEYS[6] .. other, ARGV[8])
        call('SREM', KEYS[7] .. record[1], other)
        if record[2] ~= 'd' then call('PUBLISH', ARGV[6] .. record[1], ARGV[7] .. other) end
        happened('session.closed', other, user)
        answer[#answer + 1] = other
      end
    end
  end
  call('HSET', KEYS[2], session, node)
  call('PEXPIRE', KEYS[2], expiry)
end
return answer
