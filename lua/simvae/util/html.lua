--- Text in HTML.
local html = {}

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

--- Text whose characters stand for themselves, also within attributes.
-- @param v a string, or anything else as tostring writes it
-- @treturn string
function html.escape(v)
  return (tostring(v):gsub("[&<>\"']", entities))
end

return html
