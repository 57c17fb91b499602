-- Lists the leases that hold; forgets those that ran out long ago.
-- KEYS: nodes
-- ARGV: forget_ms
-- Answers: node, load, node, load, ...
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all, holding = call('HGETALL', KEYS[1]), {}
for at = 1, #all, 2 do
  local ends, load = string.match(all[at + 1], '^(%d+) (.*)$')
  if ends and tonumber(ends) > now then
    holding[#holding + 1] = all[at]
    holding[#holding + 1] = load
  elseif not ends or tonumber(ends) < now - ARGV[1] then
    call('HDEL', KEYS[1], all[at])
  end
end
return holding
