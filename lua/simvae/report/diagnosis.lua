--- The section of a report that says what is learned well, what is not, why, and what to try (sv.diagnose).
local page = require "simvae.report.page"

local escape = page.escape

local function learned(list, well, title)
  local items = {}
  for _, one in ipairs(list) do
    local within = one.within and string.format(", %s of the truths within 68%% intervals", page.percent(one.within))
    if one.well == well then
      items[#items + 1] = string.format("<b>%s</b> (error %s of its range%s)", escape(one.name),
        page.percent(one.share), within or "")
    end
  end
  return #items > 0 and "<p>" .. title .. ": " .. table.concat(items, ", ") .. ".</p>" or ""
end

--- @tparam table d what sv.diagnose returned
-- @treturn string HTML
return function(d)
  local rows = {}
  for i, f in ipairs(d.findings) do
    rows[i] = string.format("<li><p><b>%s%s</b></p><p>%s</p><p class=\"soft\">Try: %s</p></li>",
      escape((f.kind:gsub("^%l", string.upper))), f.parameters and ": " .. escape(table.concat(f.parameters, ", "
        .. "")) or "",
      escape(f.text), escape(f.try))
  end
  return "<h2>What is learned, and what is not</h2>" .. learned(d.learned, true, "Learned well")
    .. learned(d.learned, false, "Known less precisely")
    .. (#rows > 0 and "<ol class=\"findings\">" .. table.concat(rows) .. "</ol>"
      or "<p>No parameter without effect or with several values, constant or badly scaled output, failing region, weak "
        .. "decoder or encoder, or interval that does not hold was found.</p>")
end
