--- What names typed in a session stand for: variables, their fields and methods.
local look_up = {}

local function index(v, key)
  local ok, inner = pcall(function() return v[key] end)
  if ok then return inner end
end

--- The value of a path of keys.
-- @tparam {string|integer,...} path
-- @tparam table env global variables
-- @return nil where there is none
function look_up.path(path, env)
  local v = env
  for _, key in ipairs(path) do
    v = index(v, key)
    if v == nil then return nil end
  end
  return v
end

--- The value of a name: "z" -> a tensor, "m:encode" -> the method.
-- @tparam string name
-- @tparam table env global variables
-- @return nil where there is none
function look_up.name(name, env)
  local path = {}
  for part in name:gmatch "[^.:]+" do path[#path + 1] = part end
  return look_up.path(path, env)
end

return look_up
