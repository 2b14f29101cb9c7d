--- The reference as Markdown: a file, with pictures beside it.
local core = require "simvae.core"
local examples = require "simvae.reference.examples"
local groups = require "simvae.reference.groups"
local paragraphs = require "simvae.reference.text".paragraphs

local markdown = {}

-- Text outside of code: signs that Markdown would read are escaped.
local function plain(text)
  local out = {}
  for before, code in (text .. "``"):gmatch "([^`]*)(`[^`]*`)" do
    out[#out + 1] = before:gsub("[*<>\\]", "\\%0"):gsub("_", "\\_")
    if code ~= "``" then out[#out + 1] = code end
  end
  return table.concat(out)
end

local function add_prose(out, text)
  for _, p in ipairs(paragraphs(text)) do
    if p.code then
      out[#out + 1] = "```lua\n" .. p.code .. "\n```\n"
    elseif p.text ~= "" then
      out[#out + 1] = plain(p.text) .. "\n"
    end
  end
end

local function add_list(out, title, rows)
  if #rows == 0 then return end
  out[#out + 1] = "**" .. title .. "**\n"
  for _, r in ipairs(rows) do out[#out + 1] = "- " .. r end
  out[#out + 1] = ""
end

local function named(p)
  local type = p.type == "any" and "anything" or p.type:gsub("|", " or ")
  return string.format("`%s` (%s%s)%s", p.name, plain(type), p.optional and ", optional" or "",
    p.text ~= "" and ": " .. plain(p.text) or "")
end

local function add_options(out, list, indent)
  for _, o in ipairs(list) do
    out[#out + 1] = string.format("%s- `%s` (%s): %s%s", indent, o.name, plain(o.accepts), plain(o.doc or ""),
      o.same and string.format("; fields as of `%s`", o.same) or "")
    if not o.same and (o.fields or o.each) then add_options(out, o.fields or o.each, indent .. "  ") end
  end
end

local function add_entry(out, entry, runs)
  local doc, params, returns = entry.doc, {}, {}
  out[#out + 1] = string.format("### `%s`\n", entry.call)
  add_prose(out, doc.text)
  if entry.about then add_prose(out, entry.about) end
  for i, p in ipairs(doc.params) do params[i] = named(p) end
  for _, f in ipairs(entry.kind == "simulator" and entry.fields or {}) do params[#params + 1] = named(f) end
  for i, r in ipairs(doc.returns) do
    returns[i] = plain((r.type:gsub("|", " or "))) .. (r.optional and " or nil" or "")
      .. (r.text ~= "" and ": " .. plain(r.text) or "")
  end
  add_list(out, "Parameters", params)
  if entry.options then
    out[#out + 1] = "**Options**" .. (entry.options_of and " as of `" .. entry.options_of .. "`" or "") .. "\n"
    if not entry.options_of then add_options(out, entry.options, "") end
    out[#out + 1] = ""
  end
  add_list(out, "Returns", returns)
  local raises = {}
  for i, text in ipairs(doc.raises) do raises[i] = plain(text) end
  add_list(out, "Raises for", raises)
  for _, e in ipairs(runs or {}) do
    out[#out + 1] = "```lua\n" .. e.code .. "\n```\n"
    if e.output ~= "" then out[#out + 1] = "```text\n" .. e.output .. "\n```\n" end
    if e.picture then
      out[#out + 1] = string.format("![What the example of %s draws](%s)\n", entry.name, markdown.picture(entry))
    end
  end
end

--- The path of an entry's picture, beside the file.
-- @tparam table entry
-- @treturn string
function markdown.picture(entry)
  return "pictures/" .. entry.name:gsub("[^%w]", "_") .. ".png"
end

--- The page.
-- @tparam {table,...} run what simvae.reference.examples.run returned
-- @treturn string
function markdown.text(run)
  local of, list = examples.by_entry(run), groups()
  local out = { "# simvae " .. core.version .. ": reference\n",
    "Everything public, made from the documentation in the source. The examples begin with this code:\n",
    "```lua\n" .. examples.prepared(run.steps or 400) .. "```\n" }
  for _, c in ipairs(list) do
    out[#out + 1] = "## " .. plain(c.title) .. "\n"
    add_prose(out, c.text or c.head and c.head.doc.text or "")
    local fields = {}
    for i, f in ipairs(c.head and c.head.fields or {}) do fields[i] = named(f) end
    add_list(out, "Fields", fields)
    for _, entry in ipairs(c.entries) do add_entry(out, entry, of[entry]) end
  end
  return table.concat(out, "\n"):gsub("\n\n\n+", "\n\n") .. "\n"
end

return markdown
