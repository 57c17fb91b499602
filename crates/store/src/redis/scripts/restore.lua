-- Writes a whole record again after the store lost it, with its epoch raised by one.
-- KEYS: sess user-index (or empty stem) node-index hosts detached
-- ARGV: session node epoch expiry_ms has_user(0|1) ctl-stem, then fields of the record
-- Answers: the new epoch | 'fenced'
--
-- Who owns an older record is told: the store went back behind a claim, and that owner may not
-- know that it has lost the session.
local call = redis.call
local record = call('HMGET', KEYS[1], 'ep', 'n', 'ro')
local raised = string.format('%.0f', ARGV[3] + 1)
if record[1] then
  -- A repeat of the same restore finds its own work.
  if record[1] == raised and record[2] == ARGV[2] and record[3] == ARGV[3] then return raised end
  if tonumber(record[1]) >= tonumber(ARGV[3]) then return 'fenced' end
  call('DEL', KEYS[1])
end
call('HSET', KEYS[1], 'ep', raised, 'st', 'a', 'n', ARGV[2], 'ro', ARGV[3], unpack(ARGV, 7))
call('PEXPIRE', KEYS[1], ARGV[4])
call('ZREM', KEYS[5], ARGV[1])
call('SADD', KEYS[3], ARGV[1])
call('SADD', KEYS[4], ARGV[2])
if ARGV[5] == '1' then
  call('HSET', KEYS[2], ARGV[1], ARGV[2])
  call('PEXPIRE', KEYS[2], ARGV[4])
end
if record[2] and record[2] ~= ARGV[2] then
  call('PUBLISH', ARGV[6] .. record[2], 's:' .. raised .. ':' .. ARGV[1])
end
return raised
