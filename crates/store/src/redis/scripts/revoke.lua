-- Keeps a revocation of tokens until its time is over, and tells all nodes.
-- KEYS: revoked
-- ARGV: what until_ms count_max channel
-- Answers: 1 | 0 when too many are kept
--
-- What is over is dropped first, so that the set is bounded by what still counts.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local known = call('ZSCORE', KEYS[1], ARGV[1])
if not known and call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
if not known or tonumber(known) < tonumber(ARGV[2]) then
  call('ZADD', KEYS[1], ARGV[2], ARGV[1])
end
local last = call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if last[2] then call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(last[2]))) end
call('PUBLISH', ARGV[4], 'r:' .. ARGV[2] .. ':' .. ARGV[1])
return 1
