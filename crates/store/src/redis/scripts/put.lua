-- Writes a record if it is at the version that the writer saw.
-- KEYS: rec
-- ARGV: key version value
-- Answers: 1, or 0 when somebody else was faster
--
-- A record is a field: its version, a space, its value. A repeat finds its own work.
local call = redis.call
local held = call('HGET', KEYS[1], ARGV[1])
local wanted = string.format('%.0f', ARGV[2] + 1) .. ' ' .. ARGV[3]
if held == wanted then return 1 end
local version = held and string.match(held, '^(%d+) ') or '0'
if version ~= ARGV[2] then return 0 end
call('HSET', KEYS[1], ARGV[1], wanted)
return 1
