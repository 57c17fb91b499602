-- Takes a session over: a newer epoch, attached to this node; its former owner is told.
-- KEYS: sess hosts detached node-stem user-stem
-- ARGV: session node generation nonce expiry_ms ctl-stem
-- Answers: 'unknown' | 'generation' | 'ok', former owner or '', then fields and values of the record
--
-- A repeat with the same nonce answers as the first time and tells the former owner once more: a
-- repeated claim would otherwise find itself as the owner and never kick.
--
-- The epoch is the time in microseconds: after a store went back behind a claim, the next one must
-- not be given the epoch of the one that is lost, whose owner would pass every fence. Of two owners that
-- each believe to be the last one the later is, where the servers' clocks agree to within a failover.
local call = redis.call
local session, node, shown = ARGV[1], ARGV[2], tonumber(ARGV[3])
local record = call('HMGET', KEYS[1], 'ep', 'n', 'st', 'gn', 'gc', 'no', 'fo', 'u')
local epoch, owner, state = record[1], record[2], record[3]
if not epoch or state == 'x' then return {'unknown'} end
local former, told = '', ''
if record[6] == ARGV[4] and owner == node and state == 'a' then
  former = record[7] or ''
  told = former
else
  -- A genuine token of a generation above the recorded one was issued and its write lost.
  if shown < tonumber(record[5]) then return {'generation'} end
  -- A node whose lease ran out ('l') may still hold the connection.
  if state == 'a' then former = owner end
  if state ~= 'd' then told = owner end
  local time = call('TIME')
  epoch = string.format('%.0f', math.max(epoch + 1, time[1] * 1000000 + time[2]))
  call('HSET', KEYS[1], 'ep', epoch, 'n', node, 'st', 'a', 'gc', ARGV[3],
    'gn', string.format('%.0f', shown + 1), 'no', ARGV[4], 'fo', former)
  call('ZREM', KEYS[3], session)
  if owner ~= node then call('SREM', KEYS[4] .. owner, session) end
end
call('SADD', KEYS[4] .. node, session)
call('SADD', KEYS[2], node)
call('PEXPIRE', KEYS[1], ARGV[5])
if record[8] then
  call('HSET', KEYS[5] .. record[8], session, node)
  call('PEXPIRE', KEYS[5] .. record[8], ARGV[5])
end
if told ~= '' then call('PUBLISH', ARGV[6] .. told, 's:' .. epoch .. ':' .. session) end
return {'ok', former, unpack(call('HGETALL', KEYS[1]))}
