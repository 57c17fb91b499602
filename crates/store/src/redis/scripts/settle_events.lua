-- Forgets events that were delivered, or moves them to the dead letters.
-- KEYS: outbox outbox-dead
-- ARGV: dead(0|1) dead_letters_max, then ids
-- Answers: 1
--
-- A repeat finds nothing left to move.
local call = redis.call
if ARGV[1] == '1' then
  for at = 3, #ARGV do
    local found = call('XRANGE', KEYS[1], ARGV[at], ARGV[at])[1]
    if found then
      call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'id', found[1], unpack(found[2]))
    end
  end
end
for at = 3, #ARGV do call('XDEL', KEYS[1], ARGV[at]) end
return 1
