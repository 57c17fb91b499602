-- Renews the lease of a node, or gives it up.
-- KEYS: nodes
-- ARGV: node lease_ms(0 = give up) load
local call = redis.call
local lease = tonumber(ARGV[2])
if lease == 0 then return call('HDEL', KEYS[1], ARGV[1]) end
local time = call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + lease
call('HSET', KEYS[1], ARGV[1], string.format('%.0f', ends) .. ' ' .. ARGV[3])
if call('PTTL', KEYS[1]) < 10 * lease then call('PEXPIRE', KEYS[1], 10 * lease) end
return 1
