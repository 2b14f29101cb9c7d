--- Base64 (RFC 4648, section 4).
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- @tparam string bytes
-- @treturn string
return function(bytes)
  local letters, out = {}, {}
  for i = 0, 63 do letters[i] = alphabet:sub(i + 1, i + 1) end
  for i = 1, #bytes - 2, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local n = a << 16 | b << 8 | c
    out[#out + 1] = letters[n >> 18] .. letters[n >> 12 & 63] .. letters[n >> 6 & 63] .. letters[n & 63]
  end
  local rest = #bytes % 3
  if rest > 0 then
    local a, b = bytes:byte(#bytes - rest + 1, #bytes)
    local n = a << 16 | (b or 0) << 8
    out[#out + 1] = letters[n >> 18] .. letters[n >> 12 & 63] .. (rest == 2 and letters[n >> 6 & 63] or "=") .. "="
  end
  return table.concat(out)
end
