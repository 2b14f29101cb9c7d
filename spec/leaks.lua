--- Run by `make sanitize` under LeakSanitizer: repeated use of everything that the C core allocates outside Lua (the
-- thread pool, files, images). It ends without closing the Lua state, so that the core stays loaded: reachable memory
-- is no leak, and leaks have a readable stack.
local sv = require "simvae"

local path = os.tmpname()
for i = 1, 20 do
  sv.threads(1 + i % 2)
  do
    local tape <close> = sv.tape()
    local w = sv.parameter(sv.rng(i):normal { 8, 8 })
    tape:backward((w:matmul(w)):sum())
  end
  local z, x = sv.simulate(require "simvae.simulators.box", 4, sv.rng(i))
  assert(sv.io.save_npy(path, z))
  assert(sv.io.load_npy(path))
  assert(sv.io.save_png(path, x[1]))
  assert(sv.io.load_png(path))
  assert(not sv.io.load_npy(path), "a picture is no .npy file")
end
os.remove(path)
os.exit(true, false)
