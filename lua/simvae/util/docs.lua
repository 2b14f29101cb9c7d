--- Help of the functions written in C that are not ops: name -> { arguments, text }.
return {
  tensor = { "nested_tables", "A tensor from numbers in nested tables of equal length." },
  zeros = { "shape", "A tensor of zeros: sv.zeros(2, 3) or sv.zeros {2, 3}." },
  ones = { "shape", "A tensor of ones." },
  full = { "value, shape", "A tensor of one value." },
  arange = { "first, last, step", "The numbers first, first + step, … up to last (1-d); arange(n) counts 1 to n." },
  parameter = { "t", "A copy of a tensor, or of numbers in nested tables, that outlives every tape and collects a "
    .. "gradient." },
  buffer = { "t", "A copy of a tensor that outlives every tape, without gradient." },
  tape = { "", "Opens a tape: local tape <close> = sv.tape(). Ops are recorded for "
    .. "tape:backward(loss, {retain = false}); what was made under it is released when it closes, save "
    .. "tape:keep(t, …)." },
  scope = { "", "A tape that records nothing: only gives memory back when it closes." },
  no_grad = { "f, …", "Returns f(…), with nothing recorded while f runs." },
  memory = { "", "Bytes under open tapes (live), in free lists (pooled), and the most of both (peak)." },
  release_memory = { "", "Drops the free lists; the collector gives the memory back." },
  threads = { "n", "Sets (if given) and returns the number of threads, 1 to 64. Results do not depend on it." },
  rng = { "seed, stream", "A random number generator (Philox, counter-based): uniform, normal, integer, choice, "
    .. "permutation, at, rewind, take, state, restore." },
  -- methods of a tensor
  item = { "", "The number of a tensor of one number." },
  totable = { "", "Nested tables of the numbers." },
  get = { "i, j, …", "One number; indices count from 1, or from -1 back." },
  set = { "value, i, j, …", "Sets one number in place." },
  fill = { "value", "Sets every number in place." },
  copy = { "from", "Takes the numbers of another tensor of equal count, in place." },
  clone = { "", "A copy with memory of its own." },
  detach = { "", "The same numbers without a gradient; shares memory where it can." },
  requires_grad = { "on", "Makes a tensor that no op has made a leaf that collects a gradient; false: no longer." },
  zero_grad = { "", "Forgets the gradient; the next backward writes a new one." },
  within = { "low, high", "True, or false and the row-major index of the first number outside [low, high]." },
  finite = { "", "True, or false and the row-major index of the first number that is not finite." },
  broadcast_to = { "shape", "A copy repeated to a shape: another name of expand." },
  show = { "options", "Prints an image in the terminal (24-bit half blocks) or a vector as a plot; {print = false} "
    .. "only returns the text." },
}
