--- What a folder of shards holds: its logs by shard, with the header that they share.
local files = require "simvae.sampler.shards.files"

--- Reads the headers of a folder's logs and compares them.
-- @tparam string folder
-- @tparam ?boolean changed as of files.difference
-- @treturn table header of the set, as of files.about
-- @treturn {{table,...},...} logs of each shard, as of files.list; or nil, message
return function(folder, changed)
  local list, why = files.list(folder)
  if not list then return nil, why end
  local first, about, shards = nil, nil, {}
  for _, one in ipairs(list) do
    local header, refused = files.header(one)
    if header == nil then return nil, refused end
    if header then
      first, about = first or one, about or header
      local differs = files.difference(about, header, changed)
      if differs then
        return nil, string.format("%s and %s are of different data sets: %s", first.log, one.log, differs)
      end
      shards[one.shard] = shards[one.shard] or {}
      table.insert(shards[one.shard], one)
    end
  end
  if not about then return nil, folder .. ": there are no shards; simvae simulate --shard writes them" end
  for shard = 1, about.set.of do shards[shard] = shards[shard] or {} end
  return about, shards
end
