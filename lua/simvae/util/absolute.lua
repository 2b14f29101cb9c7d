--- The path of a file from the root, whatever the current folder will be.
local core = require "simvae.core"

-- @tparam string path
-- @tparam ?string folder that it is relative to; default: the current one
-- @treturn string
return function(path, folder)
  if path:sub(1, 1) == "/" then return path end
  return (folder or core.system.cwd() or ".") .. "/" .. path:gsub("^%./", "")
end
