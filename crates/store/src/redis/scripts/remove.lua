-- Removes a session against its owner's will, and tells the owner in the same step.
-- KEYS: sess detached node-stem user-stem outbox(if events are kept)
-- ARGV: session nonce ctl-stem close-stem removed_ms
-- Answers: 1, or 0 when there is no such session
--
-- The mark 'x' stays for removed_ms: the owner must not take the missing record for one that the
-- store lost, and write it again. A repeat with the same nonce answers as the first time.
local call = redis.call
local record = call('HMGET', KEYS[1], 'ep', 'n', 'st', 'u', 'no')
if not record[1] then return 0 end
if record[3] == 'x' then return record[5] == ARGV[2] and 1 or 0 end
call('DEL', KEYS[1])
call('HSET', KEYS[1], 'ep', '9007199254740991', 'st', 'x', 'no', ARGV[2])
call('PEXPIRE', KEYS[1], ARGV[5])
call('ZREM', KEYS[2], ARGV[1])
call('SREM', KEYS[3] .. record[2], ARGV[1])
if record[4] then call('HDEL', KEYS[4] .. record[4], ARGV[1]) end
if KEYS[5] then
  call('XADD', KEYS[5], 'MAXLEN', '~', 100000, '*', 'k', 'session.closed', 'n', ARGV[1], 'u', record[4] or '')
end
if record[3] ~= 'd' then call('PUBLISH', ARGV[3] .. record[2], ARGV[4] .. ARGV[1]) end
return 1
