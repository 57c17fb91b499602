-- Marks a session as without a connection: it expires after its window.
-- KEYS: sess detached node-stem user-stem
-- ARGV: session epoch window_ms keep_ms, then fields and values to set
-- Answers: 'ok' | 'fenced' | 'gone'
--
-- The record outlives its deadline by keep_ms, so that the sweep which finds it can still tell
-- whose it was.
local call = redis.call
local record = call('HMGET', KEYS[1], 'ep', 'n', 'u')
local epoch, wanted = tonumber(record[1] or -1), tonumber(ARGV[2])
if epoch < wanted then return 'gone' end
if epoch > wanted then return 'fenced' end
call('HSET', KEYS[1], 'st', 'd', unpack(ARGV, 5))
local time = call('TIME')
local deadline = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3]
call('ZADD', KEYS[2], string.format('%.0f', deadline), ARGV[1])
call('SREM', KEYS[3] .. record[2], ARGV[1])
local kept = string.format('%.0f', ARGV[3] + ARGV[4])
call('PEXPIRE', KEYS[1], kept)
if record[3] and call('PTTL', KEYS[4] .. record[3]) < tonumber(kept) then
  call('PEXPIRE', KEYS[4] .. record[3], kept)
end
return 'ok'
