-- Removes a session under its epoch.
-- KEYS: sess detached node-stem user-stem outbox(if events are kept)
-- ARGV: session epoch
-- Answers: 'ok' (also when there is none) | 'fenced'
local call = redis.call
local record = call('HMGET', KEYS[1], 'ep', 'n', 'u')
if not record[1] then return 'ok' end
if tonumber(record[1]) > tonumber(ARGV[2]) then return 'fenced' end
call('DEL', KEYS[1])
call('ZREM', KEYS[2], ARGV[1])
call('SREM', KEYS[3] .. record[2], ARGV[1])
if record[3] then call('HDEL', KEYS[4] .. record[3], ARGV[1]) end
if KEYS[5] then
  call('XADD', KEYS[5], 'MAXLEN', '~', 100000, '*', 'k', 'session.closed', 'n', ARGV[1], 'u', record[3] or '')
end
return 'ok'
