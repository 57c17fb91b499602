-- Hands out the oldest events of a partition, unless another node delivers them.
-- KEYS: outbox outbox-turn
-- ARGV: node hold_ms limit
-- Answers: how many wait ('0' when it is another node's turn), then per event: id kind session
--          user topic
local call = redis.call
local holder = call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return {'0'} end
local count = call('XLEN', KEYS[1])
if count == 0 then
  if holder then call('DEL', KEYS[2]) end
  return {'0'}
end
call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
local answer = {string.format('%.0f', count)}
for _, entry in ipairs(call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[3])) do
  local fields = {}
  for at = 1, #entry[2], 2 do fields[entry[2][at]] = entry[2][at + 1] end
  local at = #answer
  answer[at + 1], answer[at + 2] = entry[1], fields.k or ''
  answer[at + 3], answer[at + 4], answer[at + 5] = fields.n or '', fields.u or '', fields.t or ''
end
return answer
