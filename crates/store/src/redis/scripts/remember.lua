-- Changes a session under its epoch.
-- KEYS: sess hosts detached node-stem user-stem
-- ARGV: session epoch expiry_ms fields-to-remove, their names, then fields and values to set
-- Answers: 'ok' | 'fenced' | 'gone'
--
-- A record with an older epoch than the writer's lost the claim: it counts as gone and is restored.
local call = redis.call
local record = call('HMGET', KEYS[1], 'ep', 'st', 'n', 'u')
local epoch, wanted = tonumber(record[1] or -1), tonumber(ARGV[2])
if epoch < wanted then return 'gone' end
if epoch > wanted then return 'fenced' end
local removed = tonumber(ARGV[4])
if #ARGV > 4 + removed then call('HSET', KEYS[1], unpack(ARGV, 5 + removed)) end
if removed > 0 then call('HDEL', KEYS[1], unpack(ARGV, 5, 4 + removed)) end
if record[2] == 'l' then
  -- Its node's lease had run out, and it lives after all.
  call('HSET', KEYS[1], 'st', 'a')
  call('ZREM', KEYS[3], ARGV[1])
  call('SADD', KEYS[4] .. record[3], ARGV[1])
  call('SADD', KEYS[2], record[3])
end
if record[2] ~= 'd' then
  call('PEXPIRE', KEYS[1], ARGV[3])
  if record[4] then call('PEXPIRE', KEYS[5] .. record[4], ARGV[3]) end
end
return 'ok'
