--- Shared by the commands about shards: simulate, merge, status, slurm.
local core = require "simvae.core"
local outcome = require "simvae.cli.outcome"
local source = require "simvae.cli.source"

local shards = {}

--- What --allow-changed does, for help.
shards.changed_text = "Allows shards of another version of simvae or of the script, whose samples are the same."

--- The simulator of shards, by name or script, and what their headers say of it.
-- @tparam string name
-- @treturn table settings of its experiment: simulator, max_failures, timeout
-- @treturn string what finds it again: the name, or the absolute path of the script
-- @treturn ?string checksum of the script; nil: a built-in one
function shards.settings(name)
  local settings, from = source.settings(name)
  if core.system.kind(from) ~= "file" then return settings, from, nil end
  local file <close> = outcome.need(io.open(from, "rb"))
  return settings, from, string.format("%08x", core.io.crc32 { outcome.need(file:read "a") })
end

--- A converter for argparse: a folder, which need not exist. Names with a suffix are those of files.
-- @tparam string text
-- @treturn string its path without a slash at the end, or nil and what is wrong with it
function shards.folder(text)
  local path = #text > 1 and text:gsub("/+$", "") or text
  if path == "" then return "/" end
  local name = path:match "[^/]*$"
  if core.system.kind(path) == "folder" then return path end
  if core.system.kind(path) then return nil, string.format("'%s' is not a folder", text) end
  if name:find "%w%.%a%w*$" and path == text then
    return nil, string.format("a folder's name has no suffix, or ends in /; got '%s'", text)
  end
  return path
end

return shards
