--- What each MPI rank of a training draws (simvae.train.ranks): a block of every batch.
--
-- The n-th sample that a rank draws has the place n, from which its number among all samples follows. One process alone
-- draws all: places are numbers.
local division = {}

--- Divides what a sampler returns: `next` returns this rank's rows of a batch; all ranks have the samples of all other
-- methods.
-- @tparam Sampler made
-- @tparam Ranks world
function division.set(made, world)
  made.ranks = { world = world }
  if made.source then made.source.ranks = made.ranks end
end

--- Divides the samples after a number of them, in batches.
-- @tparam table ranks of a sampler
-- @tparam integer drawn
-- @tparam integer batch
function division.start(ranks, drawn, batch)
  ranks.base, ranks.batch, ranks.taken = drawn, batch, 0
  ranks.first, ranks.own = ranks.world:block(batch)
end

--- The number of the sample at a place, and how many from there on are consecutive: none of a rank without any.
-- @tparam Sampler self
-- @tparam integer place
-- @treturn integer
-- @treturn number
function division.number(self, place)
  local ranks = self.ranks
  if not ranks then return place, math.huge end
  if ranks.own == 0 then return 0, 0 end
  local at = place - 1
  return ranks.base + at // ranks.own * ranks.batch + ranks.first + at % ranks.own + 1, ranks.own - at % ranks.own
end

--- The last place whose number is not above one.
-- @tparam Sampler self
-- @tparam integer number the last of a batch
-- @treturn integer
function division.place(self, number)
  local ranks = self.ranks
  return ranks and (number - ranks.base) // ranks.batch * ranks.own or number
end

return division
