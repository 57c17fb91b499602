-- Changes a session under its epoch.
-- KEYS: sess hosts detached node-stem user-stem
-- ARGV: session epoch expiry_ms newest-generation-or-'' oldest-valid-generation fields-to-remove, their
-- names, then fields and values to set
-- Answers: 'ok' | 'fenced' | 'gone'
--
-- A record with an older epoch than the writer's lost the claim: it counts as gone and is restored.
-- Generations only rise: an earlier change of them that is repeated comes behind a later one.
local call = redis.call
local record = call('HMGET', KEYS[1], 'ep', 'st', 'n', 'u', 'gn', 'gc')
local epoch, wanted = tonumber(record[1] or -1), tonumber(ARGV[2])
if epoch < wanted then return 'gone' end
if epoch > wanted then return 'fenced' end
if ARGV[4] ~= '' then
  call('HSET', KEYS[1], 'gn', string.format('%.0f', math.max(record[5] or 0, ARGV[4])),
    'gc', string.format('%.0f', math.max(record[6] or 0, ARGV[5])))
end
local removed = tonumber(ARGV[6])
if #ARGV > 6 + removed then call('HSET', KEYS[1], unpack(ARGV, 7 + removed)) end
if removed > 0 then call('HDEL', KEYS[1], unpack(ARGV, 7, 6 + removed)) end
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
