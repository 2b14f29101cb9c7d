--- Keys as a terminal sends them (xterm's control sequences).
local keys = {}

local sequences = {
  ["[A"] = "up", ["[B"] = "down", ["[C"] = "right", ["[D"] = "left", ["[H"] = "home", ["[F"] = "end",
  ["OA"] = "up", ["OB"] = "down", ["OC"] = "right", ["OD"] = "left", ["OH"] = "home", ["OF"] = "end",
  ["[1~"] = "home", ["[4~"] = "end", ["[7~"] = "home", ["[8~"] = "end", ["[5~"] = "page up", ["[6~"] = "page down",
  ["[1;2C"] = "fine right", ["[1;2D"] = "fine left",
}

--- The keys in what was read.
-- @tparam string bytes
-- @treturn {string,...} names of keys, or their characters
-- @treturn string the beginning of a sequence at the end, whose rest has not come
function keys.read(bytes)
  local list, i = {}, 1
  while i <= #bytes do
    local c = bytes:sub(i, i)
    if c ~= "\27" then
      list[#list + 1] = c == "\t" and "tab" or c
      i = i + 1
    else
      local rest = bytes:match("^%[[%d;]*[%a~]", i + 1) or bytes:match("^O%a", i + 1)
      if not rest then
        if bytes:find("^%[?[%d;]*$", i + 1) or bytes:find("^O$", i + 1) then return list, bytes:sub(i) end
        rest = ""
      end
      list[#list + 1] = rest == "" and "escape" or sequences[rest] or "unknown"
      i = i + 1 + #rest
    end
  end
  return list, ""
end

return keys
