--- Which nodes of a graph are computed where: steps in order, and memory for their results.
--
-- A graph is computed row by row: its dimensions at a batch of one, and for posteriors one draw. Steps have a stage: 0
-- for a row, 1 for each draw of a row. A result is in an argument of the function, an array of constants, or the
-- workspace, where memory is used again when the last step that reads it is done.
--
-- Nodes that only describe the same numbers differently are no steps: reshapes, slices of adjacent numbers, expansions
-- to the same count. An element-wise node with one reader of the same kind and shape is computed with that one.
local check = require "simvae.util.check"
local dim = require "simvae.export.support.dim"

local plan = {}

local ONE = { batch = 1, draws = 1 }
local ALIGN = 16 -- floats: buffers begin at multiples of it

--- The elementwise ops: one loop over the result.
plan.elementwise = {}
for op in ("add sub mul div pow atan2 maximum minimum neg exp log sqrt square abs sin cos floor clamp tanh sigmoid "
  .. "softplus relu leaky_relu silu gelu normal_cdf normal_quantile cubic_hermite"):gmatch "%S+" do
  plan.elementwise[op] = true
end

--- The shape of a value for one row.
function plan.shape(value) return dim.all_at(value.shape, ONE) end

--- How many numbers a value has for one row.
function plan.count(value)
  local n = 1
  for _, d in ipairs(plan.shape(value)) do n = n * d end
  return n
end

-- Where in its operand a node's numbers begin, if they are adjacent there; nil: they are not.
local function offset_of(node)
  if node.op == "reshape" then return 0 end
  if node.op == "expand" then return plan.count(node) == plan.count(node.inputs[1]) and 0 or nil end
  if node.op == "permute" then
    local shape, last = plan.shape(node.inputs[1]), 0
    for _, axis in ipairs(node.options.axes) do
      if shape[axis] ~= 1 then
        if axis < last then return nil end
        last = axis
      end
    end
    return 0
  end
  if node.op ~= "slice" then return nil end
  local shape, o = plan.shape(node.inputs[1]), node.options
  local outer, inner = 1, 1
  for i = 1, o.axis - 1 do outer = outer * shape[i] end
  for i = o.axis + 1, #shape do inner = inner * shape[i] end
  local count = plan.shape(node)[o.axis]
  if outer ~= 1 or o.step ~= 1 and count > 1 then return nil end
  return (dim.at(o.first, ONE) - 1) * inner
end

local Plan = {}
Plan.__index = Plan

-- ---- values --------------------------------------------------------------------------------------

--- The value whose numbers a value's are, and where in them they begin.
function Plan:root(value)
  local known = self.roots[value]
  if not known then
    local offset = value.kind == "node" and offset_of(value)
    if offset then
      local root, at = self:root(value.inputs[1])
      known = { root, at + offset }
    else
      known = { value, 0 }
    end
    self.roots[value] = known
  end
  return known[1], known[2]
end

-- The stage of each value: 1 where it depends on an input of draws.
local function find_stages(self, graph)
  self.stage = {}
  for _, input in ipairs(graph.inputs) do
    self.stage[input] = 0
    for _, d in ipairs(input.shape) do
      if dim.is(d) and d.symbols.draws then self.stage[input] = 1 end
    end
  end
  for _, node in ipairs(graph.nodes) do
    self.stage[node] = 0
    for _, input in ipairs(node.inputs) do
      if input then self.stage[node] = math.max(self.stage[node], self.stage[input] or 0) end
    end
  end
end

-- Readers of each root: how many nodes and outputs.
local function find_readers(self, graph)
  local readers, reader = {}, {}
  local function read(value, by)
    local root = self:root(value)
    readers[root] = (readers[root] or 0) + 1
    reader[root] = { node = by, value = value }
  end
  for _, node in ipairs(graph.nodes) do
    if self:root(node) == node then
      for _, input in ipairs(node.inputs) do
        if input then read(input, node) end
      end
    end
  end
  for _, output in ipairs(graph.outputs) do read(output.value, nil) end
  return readers, reader
end

-- Marks elementwise nodes that are computed with their only reader.
local function find_fused(self, graph)
  local readers, reader = find_readers(self, graph)
  for _, node in ipairs(graph.nodes) do
    local by = readers[node] == 1 and reader[node]
    if by and by.node and plan.elementwise[node.op] and plan.elementwise[by.node.op] and by.value == node
      and self.stage[node] == self.stage[by.node]
      and check.same_but_for_ones(plan.shape(node), plan.shape(by.node)) then
      self.fused[node] = true
    end
  end
end

-- What a step reads: its operands' roots, through fused ones.
local function reads_of(self, node, list)
  for _, input in ipairs(node.inputs) do
    if input then
      local root = self:root(input)
      if self.fused[root] then reads_of(self, root, list) else list[#list + 1] = root end
    end
  end
  return list
end

-- ---- memory ---------------------------------------------------------------------------------------

local function aligned(n) return (n + ALIGN - 1) // ALIGN * ALIGN end

-- First-fit allocation: free pieces { at, size } in order.
local function allocate(self, size)
  size = aligned(size)
  for i, piece in ipairs(self.free) do
    if piece[2] >= size then
      local at = piece[1]
      piece[1], piece[2] = piece[1] + size, piece[2] - size
      if piece[2] == 0 then table.remove(self.free, i) end
      return at
    end
  end
  local last, at = self.free[#self.free], self.size
  if last and last[1] + last[2] == self.size then
    at = last[1]
    table.remove(self.free)
  end
  self.size = at + size
  return at
end

local function release(self, at, size)
  size = aligned(size)
  local i = 1
  while self.free[i] and self.free[i][1] < at do i = i + 1 end
  table.insert(self.free, i, { at, size })
  for k = #self.free - 1, 1, -1 do
    local a, b = self.free[k], self.free[k + 1]
    if a[1] + a[2] == b[1] then
      a[2] = a[2] + b[2]
      table.remove(self.free, k + 1)
    end
  end
end

-- Results that are written to an argument at once: those that are all of an output.
local function find_outputs(self, graph)
  for _, output in ipairs(graph.outputs) do
    local root, offset = self:root(output.value)
    if root.kind == "node" and not self.places[root] and offset == 0 and plan.count(root) == plan.count(output)
      and self.stage[root] == self.output_stage[output] then
      self.places[root] = { argument = output.name, at = 0 }
    else
      self.copies[#self.copies + 1] = output
    end
  end
end

-- The last step that reads each result; of a row's result that draws read, the last of all.
local function last_reads(self)
  local last = {}
  for i, step in ipairs(self.steps) do
    for _, root in ipairs(step.reads) do
      last[root] = step.stage > (self.stage[root] or 0) and #self.steps + 1 or math.max(last[root] or 0, i)
    end
  end
  for _, output in ipairs(self.copies) do last[self:root(output.value)] = #self.steps + 1 end
  return last
end

-- Whether a step's result may lie where one of its operands does: both are read and written in the same order.
local function overlays(self, step, root)
  if not plan.elementwise[step.node.op] or plan.count(root) ~= plan.count(step.node) then return false end
  local function fits(node)
    for _, input in ipairs(node.inputs) do
      if input then
        local of, offset = self:root(input)
        if self.fused[of] then
          if not fits(of) then return false end
        elseif of == root and (offset ~= 0 or plan.count(input) ~= plan.count(node)) then
          return false
        end
      end
    end
    return true
  end
  return fits(step.node)
end

local function place_results(self, scratch_of)
  local last = last_reads(self)
  for i, step in ipairs(self.steps) do
    local dying = {}
    for _, root in ipairs(step.reads) do
      local place = self.places[root]
      dying[root] = last[root] == i and place ~= nil and place.argument == "work"
    end
    for _, root in ipairs(self.places[step.node] and {} or step.reads) do
      if dying[root] and overlays(self, step, root) then -- its memory is the result's from now on
        self.places[step.node], dying[root] = self.places[root], false
        break
      end
    end
    if not self.places[step.node] then
      self.places[step.node] = { argument = "work", at = allocate(self, plan.count(step.node)) }
    end
    local scratch = scratch_of(step.node)
    if scratch > 0 then
      step.scratch = allocate(self, scratch)
      release(self, step.scratch, scratch)
    end
    for _, root in ipairs(step.reads) do
      if dying[root] then
        release(self, self.places[root].at, plan.count(root))
        dying[root] = false
      end
    end
  end
end

--- Plans a graph.
-- @tparam Graph graph
-- @tparam function scratch_of (node) -> floats that the step needs while it runs
-- @treturn table steps: { node, stage, scratch }; size: floats of the workspace; copies: outputs that are copied at the
-- end; root, place(value) -> argument and offset; fused
function plan.of(graph, scratch_of)
  local self = setmetatable({ roots = {}, fused = {}, places = {}, copies = {}, steps = {}, free = {}, size = 0,
    output_stage = {} }, Plan)
  find_stages(self, graph)
  find_fused(self, graph)
  for k, input in ipairs(graph.inputs) do self.places[input] = { argument = graph.inputs[k].name, at = 0 } end
  for _, output in ipairs(graph.outputs) do
    self.output_stage[output] = 0
    for _, d in ipairs(output.shape) do
      if dim.is(d) and d.symbols.draws then self.output_stage[output] = 1 end
    end
  end
  for stage = 0, 1 do
    for _, node in ipairs(graph.nodes) do
      if self.stage[node] == stage and self:root(node) == node and not self.fused[node] then
        self.steps[#self.steps + 1] = { node = node, stage = stage, reads = reads_of(self, node, {}) }
      end
    end
  end
  find_outputs(self, graph)
  place_results(self, scratch_of)
  return self
end

--- The argument that holds a value, and where in it it begins; nil of a constant.
function Plan:place(value)
  local root, offset = self:root(value)
  local place = self.places[root]
  if not place then return nil end
  return place.argument, place.at + offset
end

return plan
